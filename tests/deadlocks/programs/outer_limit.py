"""The time limit is not the waiter's own: its caller set it, three frames up and long before.

Deadlock: none
"""

from face import LIMIT, Lock, Timeout, here, join, leave, sleep, spawn


def deep(lock, depth):
    if depth:
        deep(lock, depth - 1)
    else:
        with lock:
            pass


def limited(own, other):
    with own, Timeout(LIMIT, False):
        sleep(0)
        deep(other, 3)


def patient(own, other):
    with own:
        sleep(0)
        with other:
            pass


a, b = Lock(), Lock()
threads = [spawn(limited, a, b), spawn(patient, b, a)]
here()
for thread in threads:
    join(thread)
leave()
