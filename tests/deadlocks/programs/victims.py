"""A deadlock of two, and twenty who wait behind it: some for its locks, some for one another, some for its members to end.

Deadlock: left, right
Victims: 10 behind, 5 joining, 5 far
"""

from face import Lock, here, join, leave, never, sleep, spawn


def left(a, b):
    with a:
        sleep(0)
        with b:
            never("left")


def right(a, b):
    with b:
        sleep(0)
        with a:
            never("right")


def behind(lock):
    sleep(0)
    with lock:
        never("behind")


def joining(thread):
    join(thread)
    never("joining")


def far(mine, other):
    with mine:
        sleep(0)
        with other:
            never("far")


a, b = Lock(), Lock()
pair = [spawn(left, a, b), spawn(right, a, b)]
chain = [Lock() for _ in range(5)]
threads = [spawn(behind, pair_lock) for pair_lock in (a, b) * 5]
threads += [spawn(joining, thread) for thread in (pair * 3)[:5]]
threads += [spawn(far, lock, other) for lock, other in zip(chain, [*chain[1:], a], strict=True)]
here()
leave()
