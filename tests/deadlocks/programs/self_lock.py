"""A plain lock, taken twice by one greenlet.

Deadlock: twice
"""

from face import Lock, here, leave, never, spawn


def twice(lock):
    with lock, lock:
        never("twice")


thread = spawn(twice, Lock())
here()
leave()
