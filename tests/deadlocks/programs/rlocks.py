"""Two rlocks in opposite order, each entered three times and left once: they are still held.

Deadlock: alice, bob
"""

from face import RLock, here, leave, never, sleep, spawn


def both(first, second, who):
    with first, first:
        with first:
            sleep(0)
        sleep(0)
        with second:
            never(who)


def alice(a, b):
    both(a, b, "alice")


def bob(a, b):
    both(b, a, "bob")


a, b = RLock(), RLock()
threads = [spawn(alice, a, b), spawn(bob, a, b)]
here()
leave()
