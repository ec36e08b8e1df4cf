"""Many: a server that spawns and ends greenlets by the thousand, each with a lock, an event and a nap of its own.

Prints how many bytes of memory of its own (no mapped file: the ring is one) it has more at the end than after a warm-up.
    many.py RUNTIME WARM_UP COUNT
"""

import gc
import sys

import face

BATCH = 200
shared = face.Lock()


def request(done):
    own = face.Semaphore(1)
    with own, shared:
        face.sleep(0)
    face.fire(done)


def serve(count):
    for _ in range(count // BATCH):
        events = [face.Event() for _ in range(BATCH)]
        greenlets = [face.spawn(request, done) for done in events]
        for done in events:
            done.wait()
        for each in greenlets:
            face.join(each)


def own_bytes():
    gc.collect()
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


warm_up, count = map(int, sys.argv[2:])
serve(warm_up)
before = own_bytes()
serve(count)
print(own_bytes() - before)
