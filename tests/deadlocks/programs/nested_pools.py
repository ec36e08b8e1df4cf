"""Pools in pools: each member of the outer one feeds the inner one, which is full but moves on.

Deadlock: none
"""

from face import LIMIT, GreenPool, here, join, leave, sleep, spawn


def small():
    sleep(LIMIT / 2)


def large():
    for _ in range(3):
        inner.spawn(small)


def feeder():
    for _ in range(4):
        outer.spawn(large)


outer, inner = GreenPool(2), GreenPool(2)
thread = spawn(feeder)
here()
join(thread)
leave()
