"""A cycle that exists for 200 ms, over a semaphore of which somebody outside has a place; then it dissolves.

Deadlock: none
"""

from face import Semaphore, here, join, leave, sleep, spawn


def north(a, b):
    with a:
        sleep(0.001)
        with b:
            pass


def south(a, b):
    with b:
        sleep(0.001)
        with a:
            pass


def guest(a):
    with a:
        sleep(0.2)


a, b = Semaphore(2), Semaphore(1)
threads = [spawn(guest, a), spawn(north, a, b), spawn(south, a, b)]
for thread in threads:
    join(thread)
here()
leave()
