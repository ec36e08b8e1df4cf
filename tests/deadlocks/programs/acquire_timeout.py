"""A cycle of two, of whom one asks for its second lock with a time limit in `acquire`.

Deadlock: none
"""

from face import LIMIT, Lock, here, join, leave, sleep, spawn


def carol(c, d):
    with c:
        sleep(0)
        assert not d.acquire(timeout=LIMIT)


def dave(c, d):
    with d:
        sleep(0)
        with c:
            pass


c, d = Lock(), Lock()
threads = [spawn(carol, c, d), spawn(dave, c, d)]
here()
for thread in threads:
    join(thread)
leave()
