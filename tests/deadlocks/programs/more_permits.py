"""Whoever holds all of a semaphore waits for one more place, and somebody who never held any gives one, as before.

Deadlock: none
"""

from face import Semaphore, here, join, leave, sleep, spawn


def greedy():
    with places, places, places:
        sleep(0)


places = Semaphore(1)
places.release()
threads = [spawn(greedy)]
here()
places.release()
join(threads[0])
leave()
