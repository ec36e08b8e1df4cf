"""Whoever has the only place of a pool wants another one from it, and waits for it.

Deadlock: outer
Not on eventlet: its GreenPool lets a member run the function itself when the pool is full
Not on hub: it does as eventlet does
"""

from face import GreenPool, here, leave, never, sleep, spawn


def inner():
    never("inner")


def outer():
    sleep(0)
    pool.spawn(inner)
    never("outer")


def starter():
    pool.spawn(outer)


pool = GreenPool(1)
thread = spawn(starter)
here()
leave()
