"""Two semaphores of two: whoever has a place of one wants a place of the other.

Deadlock: 2 east, 2 west
Unknown on late: of a Semaphore that was there before nobody can say how many places it has
"""

from face import Semaphore, here, leave, never, sleep, spawn


def east(a, b):
    with a:
        sleep(0)
        with b:
            never("east")


def west(a, b):
    with b:
        sleep(0)
        with a:
            never("west")


a, b = Semaphore(2), Semaphore(2)
threads = [spawn(east, a, b), spawn(west, a, b), spawn(east, a, b), spawn(west, a, b)]
here()
leave()
