"""One waits, with a lock in hand, for what a worker thread computes; another waits for the lock.

Deadlock: none
"""

import time

import face
from face import LIMIT, Lock, here, join, leave, sleep, spawn


def slowly():
    time.sleep(LIMIT)
    return 1


def computing():
    with lock:
        assert in_thread(slowly) == 1


def wanting():
    sleep(0)
    with lock:
        pass


if face.name == "gevent":
    in_thread = face.gevent.get_hub().threadpool.apply
elif face.name == "eventlet":
    from eventlet.tpool import execute as in_thread
else:
    from greentrace.hub.threads import execute as in_thread
lock = Lock()
threads = [spawn(computing), spawn(wanting)]
here()
for thread in threads:
    join(thread)
leave()
