"""Two deadlocks that have nothing to do with each other.

Deadlock: alice, bob
Deadlock: twice
"""

from face import Lock, here, leave, never, sleep, spawn


def alice(a, b):
    with a:
        sleep(0)
        with b:
            never("alice")


def bob(a, b):
    with b:
        sleep(0)
        with a:
            never("bob")


def twice(lock):
    sleep(0)
    with lock, lock:
        never("twice")


a, b = Lock(), Lock()
threads = [spawn(alice, a, b), spawn(bob, a, b), spawn(twice, Lock())]
here()
leave()
