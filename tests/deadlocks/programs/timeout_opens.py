"""A cycle of two, of whom one has a time limit around its wait.

Deadlock: none
"""

from face import LIMIT, Lock, Timeout, here, join, leave, sleep, spawn


def carol(c, d):
    with c:
        sleep(0)
        with Timeout(LIMIT, False), d:
            raise AssertionError("carol got both")


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
