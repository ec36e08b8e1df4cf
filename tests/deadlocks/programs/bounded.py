"""Bounded semaphores, taken by `acquire` and given back by `release`, half of them by way of `try` and `finally`.

Deadlock: 2 cross
Unknown on late: whoever took a semaphore by `acquire` alone does not show that it holds it
"""

import face
from face import here, leave, never, sleep, spawn

if face.name == "gevent":
    from gevent.lock import BoundedSemaphore
elif face.name == "eventlet":
    from eventlet.semaphore import BoundedSemaphore
else:
    from greentrace.hub import BoundedSemaphore


def cross(first, second):
    for _ in range(3):
        first.acquire()
        try:
            second.acquire(blocking=True)
            second.release()
        finally:
            first.release()
    first.acquire()
    sleep(0)
    second.acquire()
    never("cross")


a, b = BoundedSemaphore(1), BoundedSemaphore(1)
threads = [spawn(cross, a, b), spawn(cross, b, a)]
here()
leave()
