"""Queues that are full: each stage waits for the next one, and the last is merely slow.

Deadlock: none
"""

from face import LIMIT, Queue, here, join, leave, sleep, spawn


def stage(source, sink):
    for _ in range(12):
        sink.put(source.get())


def head(sink):
    for number in range(12):
        sink.put(number)


def slow(source):
    sleep(LIMIT)
    for _ in range(12):
        source.get()


lines = [Queue(1) for _ in range(3)]
threads = [spawn(head, lines[0]), spawn(stage, lines[0], lines[1]), spawn(stage, lines[1], lines[2]), spawn(slow, lines[2])]
here()
for thread in threads:
    join(thread)
leave()
