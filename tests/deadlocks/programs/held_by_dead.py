"""A greenlet ended with the lock in hand; the two who want it wait for ever, and for nobody.

Deadlock: none
Doomed: 2 waiting
Unknown on late: whoever has ended is not there any more to show what it held
"""

from face import Lock, here, leave, never, sleep, spawn


def careless(lock):
    lock.acquire()
    sleep(0)


def waiting(lock):
    with lock:
        never("waiting")


lock = Lock()
threads = [spawn(careless, lock), spawn(waiting, lock), spawn(waiting, lock)]
here()
leave()
