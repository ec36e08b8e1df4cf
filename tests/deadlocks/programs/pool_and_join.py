"""A member of a full pool joins a greenlet that wants a place in the pool.

Deadlock: member, outsider
"""

from face import GreenPool, here, join, leave, never, sleep, spawn


def outsider():
    sleep(0)
    sleep(0)
    pool.spawn(never, "a place")


def member():
    sleep(0)
    join(threads[0])
    never("member")


pool = GreenPool(1)
threads = [spawn(outsider)]
pool.spawn(member)
here()
leave()
