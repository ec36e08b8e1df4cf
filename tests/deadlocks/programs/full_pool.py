"""A pool of two that is full: whoever starts the third waits until a member, who sleeps, has ended.

Deadlock: none
"""

from face import LIMIT, GreenPool, here, join, leave, sleep, spawn


def member():
    sleep(LIMIT)


def feeder():
    for _ in range(6):
        pool.spawn(member)


pool = GreenPool(2)
thread = spawn(feeder)
here()
join(thread)
leave()
