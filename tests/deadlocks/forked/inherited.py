"""The child waits for a lock that a green thread held at the fork: that one lives in the child too, and anybody there may wake it.

Deadlock in the child: none
"""

import os

import family
from face import Event, Lock, fire, spawn, turns


def keeper(lock, event):
    with lock:
        event.wait()


def waiter(lock):
    with lock:
        family.only_in_parent("waiter")


lock, event = Lock(), Event()
threads = [spawn(keeper, lock, event)]
turns()
child = family.fork() == 0
threads += [spawn(waiter, lock)]
turns()
if child:
    os._exit(0)
family.wait()
fire(event)
turns()
os._exit(0)
