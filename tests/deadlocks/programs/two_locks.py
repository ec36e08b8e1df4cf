"""Two locks, taken in opposite order.

Deadlock: alice, bob
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


a, b = Lock(), Lock()
threads = [spawn(alice, a, b), spawn(bob, a, b)]
here()
leave()
