"""Five philosophers, each with the left fork in hand.

Deadlock: 5 dine
"""

from face import Lock, here, leave, never, sleep, spawn


def dine(left, right):
    with left:
        sleep(0)
        with right:
            never("a philosopher")


forks = [Lock() for _ in range(5)]
table = [spawn(dine, forks[i], forks[(i + 1) % 5]) for i in range(5)]
here()
leave()
