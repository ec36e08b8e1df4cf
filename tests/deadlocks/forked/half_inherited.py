"""One half of a deadlock is inherited: who waits at the fork in both is let go in the parent, and closes the ring in the child.

Deadlock in the child: keeper, closer
"""

import os

import family
from face import Event, Lock, fire, never, sleep, spawn, turns


def keeper(a, b):
    with a, b:
        family.only_in_parent("keeper")


def closer(a, b, event):
    with b:
        event.wait()
        if family.is_child():
            with a:
                never("closer")


a, b, event = Lock(), Lock(), Event()
threads = [spawn(closer, a, b, event)]
turns()
threads += [spawn(keeper, a, b)]
turns()
child = family.fork() == 0
fire(event)
turns()
if child:
    os._exit(0)
family.wait()
sleep(0)
os._exit(0)
