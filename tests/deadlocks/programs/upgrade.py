"""A semaphore of three: three greenlets took a place each, and each wants one more before it gives any back.

Deadlock: 3 upgrade
Victims: late
Unknown on late: of a Semaphore that was there before nobody can say how many places it has
"""

from face import Semaphore, here, leave, never, sleep, spawn


def upgrade(places):
    with places:
        sleep(0)
        with places:
            never("upgrade")


def late(places):
    sleep(0)
    sleep(0)
    with places:
        never("late")


places = Semaphore(3)
threads = [spawn(upgrade, places) for _ in range(3)] + [spawn(late, places)]
here()
leave()
