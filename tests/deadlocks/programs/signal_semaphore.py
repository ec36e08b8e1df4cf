"""A semaphore that begins at nought is a signal: each of two waits for the other's, and a third gives both.

Deadlock: none
"""

from face import Semaphore, here, join, leave, spawn


def ping():
    first.acquire()
    second.release()


def pong():
    second.acquire()


first, second = Semaphore(0), Semaphore(0)
threads = [spawn(ping), spawn(pong)]
here()
first.release()
for thread in threads:
    join(thread)
leave()
