"""The standard library's Condition, Semaphore, Event, Barrier and Queue, monkey-patched, all waited for at once.

Deadlock: none
Not on hub: nothing patches the standard library for it
"""

import queue

import patched
from face import here, join, leave, sleep


def consumer():
    with condition:
        while not ready:
            condition.wait()


def gated():
    gate.wait()
    with places:
        sleep(0)


def meeting():
    barrier.wait()


def taking():
    line.get()


condition, places = patched.threading.Condition(), patched.threading.Semaphore(2)
gate, barrier = patched.threading.Event(), patched.threading.Barrier(4)
line, ready = queue.Queue(), []
threads = [patched.run(function) for function in [consumer] * 3 + [gated] * 5 + [meeting] * 3 + [taking]]
here()
with condition:
    ready.append(True)
    condition.notify_all()
gate.set()
line.put(1)
barrier.wait()
for thread in threads:
    join(thread)
leave()
