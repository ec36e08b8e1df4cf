"""The child deadlocks with locks of its own; the parent, and what both had at the fork, goes on.

Deadlock in the child: carol, dave
"""

import os
import sys

import family
from face import Lock, never, sleep, spawn, turns


def takes(first, second, name):
    with first:
        sleep(0)
        with second:
            never(name)


def carol(a, b):
    takes(a, b, "carol")


def dave(a, b):
    takes(b, a, "dave")


def alice(lock):
    with lock:
        sleep(0.2)


def bob(lock):
    with lock:
        print("bob", flush=True)


lock = Lock()
# At the fork alice sleeps and holds it, and bob waits: so it is in both processes, and in both it opens.
threads = [spawn(alice, lock), spawn(bob, lock)]
turns()
if family.fork() == 0:
    a, b = Lock(), Lock()
    threads += [spawn(carol, a, b), spawn(dave, a, b)]
    turns()
    os._exit(0)
family.wait()
turns()
sys.stdout.flush()
os._exit(0)
