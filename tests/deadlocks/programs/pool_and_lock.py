"""A full pool, fed by who holds a lock that its members do not want.

Deadlock: none
"""

from face import LIMIT, GreenPool, Lock, here, join, leave, sleep, spawn


def member():
    sleep(LIMIT)


def feeder():
    with lock:
        for _ in range(4):
            pool.spawn(member)


def waiting():
    with lock:
        pass


pool, lock = GreenPool(1), Lock()
threads = [spawn(feeder), spawn(waiting)]
here()
for thread in threads:
    join(thread)
leave()
