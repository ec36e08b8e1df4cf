"""A cycle over semaphores of two, of which an outsider has a place, too: he sleeps, and gives it back.

Deadlock: none
"""

from face import LIMIT, Semaphore, here, join, leave, sleep, spawn


def cross(first, second):
    with first:
        sleep(0)
        with second:
            pass


def outsider(place):
    with place:
        sleep(LIMIT)


a, b = Semaphore(2), Semaphore(1)
threads = [spawn(outsider, a), spawn(cross, a, b), spawn(cross, b, a)]
here()
for thread in threads:
    join(thread)
leave()
