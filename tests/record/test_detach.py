"""Detach: after `stop` the program is what it was, in all threads, however often, and whoever asks for it."""

from __future__ import annotations

import json

import pytest

from greentrace.events import Kind
from greentrace.ring import Phase

from .conftest import PROGRAMS, Runner
from .grammar import walk

WHERE = {
    "plain": ("plain", None),
    "hub": ("hub", None),
    "eventlet": ("eventlet", None),
    "gevent": ("gevent", None),
    "gevent, libev through cffi": ("gevent", "libev-cffi"),
    "gevent, libuv": ("gevent", "libuv-cffi"),
}
MAY_GROW = {"objects": 40, "traced bytes": 300_000, "resident bytes": 3_000_000}

FACE = f"""
import sys
sys.path.insert(0, {str(PROGRAMS)!r})
directory, sys.argv[1:] = sys.argv[1], sys.argv[2:]
from pathlib import Path
import greenlet
import face
from greentrace.record.session import Session
from greentrace.record.tables import TAG
session = Session(Path(directory), 1 << 20)
# A busy machine's hubs may take their time.
from greentrace.record import threads
threads.WAIT_SECONDS = 30
"""


@pytest.mark.parametrize("where", WHERE)
def test_after_many_recordings_everything_is_as_before_and_the_program_went_on(
    bare: Runner, where: str, core: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, loop = WHERE[where]
    if loop:
        monkeypatch.setenv("GEVENT_LOOP", loop)
    done = bare("detach.py", runtime, "100" if loop is None and core == "native" else "25")
    found = json.loads(done.ok.stdout)
    grown = found.pop("grown")
    assert found == {
        "changed": [],
        "changed in the end": [],
        "words": True,
        "idle": True,
        "left": [],
        "cycles in which a thread was not traced": 0,
        "faults": [],
        "their tracer missed": 0,
        "is a ring": True,
    }
    assert {what: count for what, count in grown.items() if count > MAY_GROW[what]} == {}
    assert done.ring.follower.phase == Phase.STOPPED
    walk(done.ring)


PARKED = f"""
{FACE}
lock, semaphore, rlock, event, queue, full = face.Lock(), face.Semaphore(1), face.RLock(), face.Event(), face.Queue(), face.Queue(1)
full.put(0)
results = []
def first():
    lock.acquire(); semaphore.acquire(); rlock.acquire()
    event.wait()
    lock.release(); semaphore.release(); rlock.release()
    return 1
def second(taken):
    with taken:
        results.append("taken")
def third():
    results.append(queue.get())
def fourth():
    full.put(1)
    results.append("put")
def fifth(joined):
    face.join(joined)
    results.append("joined")
def everybody():
    holder = face.spawn(first)
    face.sleep(0)
    takers = [face.spawn(second, each) for each in (lock, semaphore, rlock)]
    all = [holder, *takers, face.spawn(third), face.spawn(fourth), face.spawn(fifth, holder)]
    for _ in range(5):
        face.sleep(0)
    return all
def finish(all):
    results.clear()
    face.fire(event)
    queue.put("got")
    full.get()
    for each in all:
        face.join(each)
    full.get()
    full.put(0)
    face.unfire(event)
    return sorted(results)
bare = finish(everybody())
"""


def test_who_was_parked_in_a_hook_ends_its_wait_as_without_us_whatever_has_become_of_the_recording(bare: Runner, runtime: str) -> None:
    program = f"""
{PARKED}
session.start()
all = everybody()
print(session.stop(), finish(all) == bare, bare == ["got", "joined", "put", "taken", "taken", "taken"])
session.start()
all = everybody()
left = session.stop()
session.start()
print(left, finish(all) == bare)
all = everybody()
print(finish(all) == bare, session.stop())
"""
    done = bare(program, runtime)
    assert done.said == (0, "[] True True\n[] True\nTrue []\n", "")
    walk(done.ring)


def test_nothing_of_ours_is_left_in_a_greenlet(bare: Runner, runtime: str) -> None:
    program = f"""
{PARKED}
import gc
fresh = face.spawn(face.sleep, 0)
session.start()
all = everybody()
old = [g for g in gc.get_objects() if isinstance(g, greenlet.greenlet)]
during = sum(TAG in vars(g) for g in old)
session.stop()
print(during > 6, sum(TAG in vars(g) for g in old))
finish(all)
"""
    assert bare(program, runtime).said == (0, "True 0\n", "")


def test_a_copy_of_a_greenlets_dict_that_outlives_it_means_nothing_to_the_end(bare: Runner, runtime: str) -> None:
    program = f"""
{FACE}
import gc
session.start()
g = face.spawn(face.sleep, 0)
face.join(g)
kept = dict(vars(g))
del g
gc.collect()
print(session.stop())
session.start()
other = face.spawn(face.sleep, 0)
vars(other).update({{key: value for key, value in kept.items() if key == TAG}})
face.join(other)
print(session.stop())
del kept
"""
    assert bare(program, runtime).said == (0, "[]\n[]\n", "")


def test_another_thread_than_the_one_that_started_may_stop(bare: Runner, runtime: str) -> None:
    program = f"""
{FACE}
import threading
session.start()
face.sleep(0)
said = []
stopper = threading.Thread(target=lambda: said.append(session.stop()))
stopper.start()
while stopper.is_alive():
    face.sleep(0.001)
face.sleep(0.001)
print(said, greenlet.gettrace())
session.start()
print(greenlet.gettrace() is not None, session.stop(), greenlet.gettrace())
"""
    done = bare(program, runtime)
    assert done.said == (0, "[[]] None\nTrue [] None\n", "")
    walk(done.ring)


IN_HUB = {
    "hub": "face.the_hub().call_soon(act)",
    "eventlet": "face.the_hub().schedule_call_global(0, act)",
    "gevent": "face.the_hub().loop.run_callback(act)",
}


def test_the_hub_itself_may_start_and_stop(bare: Runner, runtime: str) -> None:
    program = f"""
{FACE}
import threading
stop, said = [], []
def other():
    face.join(face.spawn(beat))
def beat():
    while not stop:
        face.sleep(0.001)
thread = threading.Thread(target=other)
thread.start()
def in_hub(call):
    def act():
        said.append(call())
    {IN_HUB[runtime]}
    before = len(said)
    while len(said) == before:
        face.sleep(0.001)
for _ in range(3):
    in_hub(session.start)
    face.sleep(0.01)
    in_hub(session.stop)
stop.append(1)
thread.join()
print(said, greenlet.gettrace())
"""
    done = bare(program, runtime)
    assert done.said == (0, "[None, [], None, [], None, []] None\n", "")
    walk(done.ring)


def test_the_child_of_a_fork_stops_for_itself_and_its_parent_goes_on(bare: Runner, runtime: str) -> None:
    program = f"""
{FACE}
import os, threading, warnings
warnings.simplefilter("ignore")
stop = []
def other():
    face.join(face.spawn(beat))
def beat():
    while not stop:
        face.sleep(0.001)
thread = threading.Thread(target=other)
thread.start()
face.sleep(0.001)
session.start()
face.sleep(0.001)
child = os.fork()
if not child:
    print(session.stop(), greenlet.gettrace(), flush=True)
    face.sleep(0.001)
    session.start()
    face.sleep(0.001)
    print(session.stop(), greenlet.gettrace(), flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1], greenlet.gettrace() is not None)
session.mark("still")
print(session.stop(), greenlet.gettrace())
stop.append(1)
thread.join()
"""
    done = bare(program, runtime)
    assert done.said == (0, "[] None\n[] None\n0 True\n[] None\n", "")
    assert [len(ring.of(Kind.MARK)) for ring in done.rings] in ([0, 1], [1, 0])
    for ring in done.rings:
        assert ring.follower.phase == Phase.STOPPED
        walk(ring)


def test_an_observer_of_the_programs_own_hears_all_the_time_and_is_back_afterwards(bare: Runner) -> None:
    program = f"""
{FACE}
from greentrace import hub
from greentrace.hub import instrument
heard = []
class Own(instrument.Instrument):
    def acquire(self, obj, kind):
        heard.append(kind)
own = Own()
instrument.install(own)
lock = hub.Lock()
for act in (session.start, session.stop):
    with lock:
        act()
with lock:
    pass
print(len(heard), instrument.observer is own)
"""
    done = bare(program, "hub")
    assert done.said == (0, "3 True\n", "")
    held, taken = done.ring.of(Kind.ACQUIRE)
    assert held.site == 0, "that it was held already was found"
    assert taken.site
