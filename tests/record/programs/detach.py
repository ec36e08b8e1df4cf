"""Detach: a program of several threads that goes on while it is recorded and let go again, and looks at itself before and after.

    detach.py DIRECTORY RUNTIME CYCLES

Prints one JSON object: what is another one than before, what has grown, what `stop` named, and whether the work was right.
"""

# ruff: noqa: E402

import ctypes
import gc
import json
import os
import signal
import sys
import threading
import time
import tracemalloc
import weakref
from pathlib import Path

directory, runtime, cycles = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.argv[1:] = ["hub" if runtime == "plain" else runtime]
import face
import greenlet

from greentrace.record import threads as record_threads
from greentrace.record.session import ADAPTERS, Session
from greentrace.record.tables import TAG

# Of a type object, the words that say nothing of what it does: references, flags (one of them says whether lookups are remembered),
# the caches of subclasses and weak references, the version.
PASSING = {0, 21, 44, 45, 46, 48}
WORDS = 51


def family(owner):
    found = [owner]
    for each in found:
        found += type.__subclasses__(each)
    return found


def owners():
    rows = [(row.module, row.owner) for adapter in ADAPTERS for row in (*adapter.hooks, *adapter.kinds)]
    rows += [pair for adapter in ADAPTERS for pair in (*adapter.hub_types, *adapter.named_types)]
    found = [greenlet.greenlet]
    for module, path in rows:
        owner = sys.modules.get(module)
        for name in path.split("."):
            owner = getattr(owner, name, None)
        if isinstance(owner, type):
            found.append(owner)
    return dict.fromkeys(each for owner in found for each in family(owner))


def types_now():
    now = {}
    for owner in owners():
        words = (ctypes.c_size_t * WORDS).from_address(id(owner))
        now[f"{owner.__module__}.{owner.__qualname__} slots"] = [word for at, word in enumerate(words) if at not in PASSING]
        now[f"{owner.__module__}.{owner.__qualname__} dict"] = [(name, id(value)) for name, value in owner.__dict__.items()]
    return now


def surroundings():
    instrument = sys.modules.get("greentrace.hub.instrument")
    watchers = [type(each).__name__ for each in gc.get_objects() if str(type(each).__module__).startswith(("gevent.libev", "gevent.libuv"))]
    return {
        **types_now(),
        "finders": [id(finder) for finder in sys.meta_path],
        "path": list(sys.path),
        "modules": sorted(sys.modules),
        "observer": id(getattr(instrument, "observer", None)),
        "signals": [str(signal.getsignal(number)) for number in range(1, 32)],
        "descriptors": sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) != listing_fd()),
        "rings mapped": sum(".ring" in line for line in Path("/proc/self/maps").read_text().splitlines()),
        "threads": sorted(os.listdir("/proc/self/task")),
        "tags": sum(isinstance(each, greenlet.greenlet) and TAG in each.__dict__ for each in gc.get_objects()),
        "watchers": [watchers.count("check"), watchers.count("prepare")],
        "tracer here": id(greenlet.gettrace()),
        "profiler here": id(sys.getprofile()),
        "weak references": [weakref.getweakrefcount(each) for each in (things.lock, things.queue, things.event)],
        "references": [sys.getrefcount(each) for each in (things.lock, things.queue, things.event, worker)],
    }


def listing_fd():
    """The descriptor by which a directory is listed is there in none of the two listings, or in both."""
    fd = os.open("/proc/self/fd", os.O_RDONLY)
    os.close(fd)
    return fd


class things:
    lock, queue, event = face.Lock(), face.Queue(), face.Event()


# A busy machine's hubs may take their time.
record_threads.WAIT_SECONDS = 30
done = False
said = {}
"""Thread -> (how often it has said this, its tracer, its profiler)."""
faults = []
pairs = [0, 0]


def say(name):
    said[name] = (said.get(name, (0,))[0] + 1, id(greenlet.gettrace()), id(sys.getprofile()))


def worker(name, lock, queue, out):
    while not done:
        with lock:
            queue.put(name)
            face.sleep(0)
        out.append(queue.get())
        if len(out) > 50:
            del out[:40]
        say(name)
        face.sleep(0.001)


def parked(event, lock):
    """Waits inside of a hook while recordings come and go."""
    with lock:
        event.wait()


def green_thread(name):
    try:
        lock, queue, out, event = face.Lock(), face.Queue(), [], face.Event()
        greenlets = [face.spawn(worker, name, lock, queue, out) for _ in range(3)]
        while not done:
            event = face.Event()
            waiting = face.spawn(parked, event, face.Lock())
            for _ in range(40):
                face.sleep(0.001)
                if done:
                    break
            face.fire(event)
            face.join(waiting)
        for each in greenlets:
            face.join(each)
        if set(out) != {name}:
            faults.append([name, out])
    except BaseException as error:
        faults.append([name, repr(error)])
        raise


def raw_thread(name, tracer):
    """Plain greenlets, whose switches every tracer must see in pairs."""
    greenlet.settrace(tracer)
    home = greenlet.getcurrent()

    def away():
        while True:
            home.switch()

    other = greenlet.greenlet(away)
    while not done:
        other.switch()
        if tracer is not None:
            pairs[1] += 2
        say(name)
        time.sleep(0.001)
    greenlet.settrace(None)


def theirs(event, arguments):
    pairs[0] += 1


def idle_thread(name, wake):
    """Knows greenlets and does nothing."""
    greenlet.getcurrent()
    idle.set()
    wake.wait()
    say(name)


def fresh_word():
    """Return what every thread says after now."""
    before = {name: word[0] for name, word in list(said.items())}
    for name, count in before.items():
        while said[name][0] < count + 2:
            time.sleep(0.0005)
    return {name: said[name][1:] for name in before}


idle, wake = threading.Event(), threading.Event()
threads = [threading.Thread(target=raw_thread, args=("traced", theirs)), threading.Thread(target=raw_thread, args=("plain", None))]
if runtime != "plain":
    threads += [threading.Thread(target=green_thread, args=(f"green {number}",)) for number in range(2)]
    # The own thread has a hub too.
    face.join(face.spawn(face.sleep, 0))
idler = threading.Thread(target=idle_thread, args=("idle", wake))
for thread in (*threads, idler):
    thread.start()
idle.wait()
while len(said) < len(threads):
    time.sleep(0.001)

left, during, count = [], 0, 0


def cycle():
    global during, count
    session = Session(directory, 1 << 20)
    session.start()
    words = fresh_word()
    during += len(words) == len(threads) and all(word[0] != id(None) and word[0] != id(theirs) for word in words.values())
    left.extend(session.stop())
    count += 1


def settle():
    for _ in range(3):
        gc.collect()


def living():
    """Return how many objects live, at the least: the threads have more of them in some moments than in others."""
    found = []
    for _ in range(30):
        fresh_word()
        gc.collect()
        found.append(len(gc.get_objects()))
    return min(found)


# The first time, what Python imports and remembers by itself.
cycle()
settle()
before, words_before = surroundings(), fresh_word()
cycle()
settle()
after, words_after = surroundings(), fresh_word()
changed = [key for key in before if before[key] != after.get(key)]
ring = bytes(next(directory.glob("*.ring")).read_bytes()[:8])

tracemalloc.start()
for _ in range(min(10, cycles)):
    cycle()
settle()
objects, (memory, _) = living(), tracemalloc.get_traced_memory()
resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
for _ in range(cycles):
    cycle()
settle()
grown = {
    "objects": living() - objects,
    "traced bytes": tracemalloc.get_traced_memory()[0] - memory,
    "resident bytes": int(Path("/proc/self/statm").read_text().split()[1]) * 4096 - resident,
}
tracemalloc.stop()
last = surroundings()
wake.set()
idler.join()
idle_word = said["idle"][1:]
done = True
for thread in threads:
    thread.join()
print(
    json.dumps(
        {
            "changed": changed,
            "changed in the end": [key for key in before if before[key] != last.get(key)],
            "words": words_before == words_after,
            "idle": idle_word == (id(None), id(None)),
            "grown": grown,
            "left": left,
            "cycles in which a thread was not traced": count - during,
            "faults": faults,
            "their tracer missed": pairs[1] - pairs[0],
            "is a ring": ring == b"GTRING\0\n",
        }
    )
)
