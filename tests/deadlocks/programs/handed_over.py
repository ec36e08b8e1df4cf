"""A semaphore that one greenlet takes and another gives back, as it has done before: a baton, and no lock.

Deadlock: none
"""

from face import Semaphore, here, join, leave, sleep, spawn


def taker():
    for _ in range(3):
        baton.acquire()
        sleep(0)
    baton.acquire()


def giver():
    for _ in range(3):
        sleep(0)
        sleep(0)
        if baton.locked():
            baton.release()


baton = Semaphore(1)
baton.acquire()
spawned = spawn(baton.release)
join(spawned)
threads = [spawn(taker), spawn(giver)]
here()
while not threads[0].dead:
    if baton.locked():
        baton.release()
    sleep(0.01)
leave()
