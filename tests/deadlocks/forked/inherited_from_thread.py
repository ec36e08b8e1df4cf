"""The child waits for a lock that another thread held at the fork: that thread is not there, and nobody will ever release it.

Deadlock in the child: none
Doomed in the child: waiter
"""

import os
import threading

import family
from face import Lock, never, spawn, turns


def waiter(lock):
    with lock:
        never("waiter")


def holds(lock, begin, end):
    lock.acquire()
    os.write(begin, b"x")
    os.read(end, 1)


lock = Lock()
begin, end = os.pipe(), os.pipe()
thread = threading.Thread(target=holds, args=(lock, begin[1], end[0]))
thread.start()
os.read(begin[0], 1)
child = family.fork() == 0
if child:
    threads = [spawn(waiter, lock)]
    turns()
    os._exit(0)
family.wait()
turns()
os._exit(0)
