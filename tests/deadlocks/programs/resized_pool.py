"""A pool that was made larger: two members are deadlocked, but the third has a place that it will give back.

Deadlock: 2 member
Not on gevent: the size of its Pool is given once and for all
"""

from face import LIMIT, GreenPool, Lock, here, join, leave, never, sleep, spawn


def member(first, second):
    with first:
        sleep(0)
        with second:
            never("member")


def third():
    sleep(LIMIT)


def feeder():
    pool.spawn(third)
    # Before it has begun: of three places two are known to be taken.
    pool.spawn(sleep)


a, b, pool = Lock(), Lock(), GreenPool(2)
pool.spawn(member, a, b)
pool.spawn(member, b, a)
sleep(0)
sleep(0)
pool.resize(3)
thread = spawn(feeder)
here()
join(thread)
leave()
