"""What already hangs is found at once: recording that begins in the middle of a program, on each runtime and both cores.

The rows of all primitives stand in test_discovery_rows.py, the deadlocks in tests/deadlocks. Here is what becomes of what was found.
"""

from __future__ import annotations

import pytest

from greentrace.events import FLAG_INFERRED, FLAG_KEY, RELEASE_FOREIGN, Kind, ResourceKind, State
from greentrace.replay import reader
from tests.record.conftest import Runner
from tests.record.grammar import walk
from tests.record.reading import Ring

FACE = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from greentrace.record.session import Session
from greentrace.ring import MIN_BYTES
runtime = {runtime!r}
if runtime == "gevent":
    from gevent import monkey
    monkey.patch_all()
    import gevent
    from gevent import sleep, spawn
    from gevent.lock import RLock, Semaphore
    from gevent.event import Event
    from gevent.queue import Queue
    from gevent.thread import LockType as Lock
elif runtime == "eventlet":
    import eventlet
    eventlet.monkey_patch()
    from eventlet import sleep, spawn
    from eventlet.event import Event
    from eventlet.lock import Lock
    from eventlet.queue import Queue
    from eventlet.semaphore import Semaphore
    from threading import _RLock as RLock
else:
    from greentrace.hub import Event, Lock, Queue, RLock, Semaphore, sleep, spawn
session = Session(Path(sys.argv[1]), MIN_BYTES * 4)
def turns(count=8):
    for _ in range(count):
        sleep(0)
"""


def face(runtime: str, text: str) -> str:
    return FACE.format(runtime=runtime) + text


def at_mark(ring: Ring, text: str) -> int:
    return next(r.at for r in ring.of(Kind.MARK) if ring.strings[r.arg] == text)


HAND_OVER = """
lock = Lock()
def holder():
    with lock:
        turns(3)
    session.mark("given back")
    turns(3)
def waiter():
    with lock:
        session.mark("taken")
        turns(3)
    session.mark("done")
threads = [spawn(holder), spawn(waiter)]
turns(2)
session.start()
turns(20)
assert not lock.locked()
"""


def test_who_held_a_lock_gives_it_back_to_who_was_found_waiting(bare: Runner, runtime: str) -> None:
    ring = bare(face(runtime, HAND_OVER)).ok.ring
    walk(ring)
    holder, waiter = ring.number("holder"), ring.number("waiter")
    lock = ring.of(Kind.ACQUIRE, greenlet=holder)[0].other
    story = [(r.kind, r.greenlet, r.arg if r.kind == Kind.RELEASE else 0) for r in ring.of(Kind.ACQUIRE, Kind.RELEASE, other=lock)]
    assert story == [
        (Kind.ACQUIRE, holder, 0),
        (Kind.RELEASE, holder, holder),
        (Kind.ACQUIRE, waiter, 0),
        (Kind.RELEASE, waiter, waiter),
    ]
    assert not any(r.flags & RELEASE_FOREIGN for r in ring.of(Kind.RELEASE, other=lock))
    found, later = ring.of(Kind.ACQUIRE, other=lock)
    # The interpreter's own stack shows the first; that the second came out of its acquire is concluded where nobody tells it.
    assert not found.flags & FLAG_INFERRED
    assert bool(later.flags & FLAG_INFERRED) == (runtime != "hub")


TIMED_OUT = """
lock = Lock()
def waiter():
    assert not lock.acquire(timeout=0.02)
    session.mark("gave up")
    turns(3)
lock.acquire()
thread = spawn(waiter)
turns(2)
session.start()
sleep(0.1)
lock.release()
turns(5)
"""


def test_who_gives_up_waiting_was_found_waiting_and_holds_nothing(bare: Runner, runtime: str) -> None:
    ring = bare(face(runtime, TIMED_OUT)).ok.ring
    walk(ring)
    waiter = ring.number("waiter")
    assert not ring.of(Kind.ACQUIRE, greenlet=waiter)
    (park,) = [r for r in ring.of(Kind.PARK, greenlet=waiter) if r.flags & FLAG_INFERRED and not r.flags & FLAG_KEY]
    assert park.arg, "it is known until when it waits"


UNSEEN = """
places, lock = Semaphore(2), Lock()
def unseen():
    places.acquire(); lock.acquire()
    turns(60)
    lock.release(); places.release()
def seen():
    with places:
        turns(2)
        wanted()
def wanted():
    with lock:
        pass
def third():
    turns(1)
    with places:
        with lock:
            pass
threads = [spawn(unseen), spawn(seen), spawn(third)]
turns(12)
session.start()
turns(10)
session.mark("parked")
turns(70)
session.mark("over")
"""


def test_who_holds_without_showing_it_leaves_the_thing_open(bare: Runner, runtime: str) -> None:
    ring = bare(face(runtime, UNSEEN)).ok.ring
    walk(ring)
    with reader.open(ring.path) as trace:
        assert trace.deadlocks() == []
        world = trace.at_position(0, at_mark(ring, "parked"))
        parked = {world.label(now.key).rpartition(".")[2] for now in world.greenlets.values() if now.state == State.PARKED}
        assert {"seen", "third"} <= parked
        assert not trace.graph(trace.end_ns).doomed


GONE = """
import gc, weakref
class Thing:
    pass
def keeps():
    thing, lock = Thing(), Lock()
    known.append(weakref.ref(thing))
    with lock:
        known.append(weakref.ref(lock))
        queue.get()
    del thing, lock
    known.append(sys._getframe().f_code)
    sleep(1000)
known = []
queue = Queue()
thread = spawn(keeps)
turns(3)
session.start()
turns(3)
queue.put(1)
turns(5)
gc.collect()
assert len(known) == 3, known
alive = [reference() for reference in known[:2]]
assert alive == [None, None], alive
if {stop}:
    session.stop()
"""


@pytest.mark.parametrize("stop", [False, True])
def test_nothing_of_the_program_lives_longer_for_having_been_looked_at(bare: Runner, runtime: str, stop: bool) -> None:
    walk(bare(face(runtime, GONE.replace("{stop}", str(stop)))).ok.ring)


CONDITION = """
import threading
condition = threading.Condition(threading.Lock())
before = dict(vars(condition))
def waiter():
    with condition:
        condition.wait()
        session.mark("woken")
        turns(2)
thread = spawn(waiter)
turns(3)
session.start()
condition.acquire()
condition.notify()
session.mark("notified")
turns(2)
condition.release()
turns(10)
session.stop()
assert {k: v for k, v in vars(condition).items() if k != "_waiters"} == {k: v for k, v in before.items() if k != "_waiters"}
assert all(type(v).__name__ != "hook" for v in vars(condition).values())
"""


@pytest.mark.parametrize("runtime", ["eventlet", "gevent"])
def test_a_condition_that_kept_the_methods_of_its_lock_is_seen_and_given_back(bare: Runner, runtime: str) -> None:
    ring = bare(face(runtime, CONDITION)).ok.ring
    walk(ring)
    waiter, main = ring.number("waiter"), ring.number("main")
    lock = ring.of(Kind.ACQUIRE, greenlet=waiter)[0].other
    story = [(r.kind, r.greenlet) for r in ring.of(Kind.ACQUIRE, Kind.RELEASE, other=lock)]
    assert story == [(Kind.ACQUIRE, main), (Kind.RELEASE, main), (Kind.ACQUIRE, waiter), (Kind.RELEASE, waiter)]


PLAIN = """
import sys
from pathlib import Path
import greenlet
from greentrace.record.session import Session
from greentrace.ring import MIN_BYTES
session = Session(Path(sys.argv[1]), MIN_BYTES)
main = greenlet.getcurrent()
def ping():
    while True:
        main.switch()
def unborn():
    pass
first, second = greenlet.greenlet(ping), greenlet.greenlet(unborn)
first.switch()
session.start()
session.mark("found")
first.switch()
second.switch()
"""


def test_plain_greenlets_are_found_too(bare: Runner) -> None:
    ring = bare(PLAIN).ok.ring
    walk(ring)
    with reader.open(ring.path) as trace:
        world = trace.at_position(0, at_mark(ring, "found"))
        states = {world.label(now.key): now.state for now in world.greenlets.values()}
        assert states.pop("main") == State.RUNNING
        assert sorted(states.values()) == [State.CREATED, State.PARKED]
        ping = next(now for now in world.greenlets.values() if now.state == State.PARKED)
        assert world.label(ping.key) == "ping"
        (wait,) = ping.waits
        assert world.resources[wait.resource].kind == ResourceKind.SWITCH


FROZEN = """
import gc
def hidden():
    Event().wait()
thread = spawn(hidden)
turns(3)
gc.collect(); gc.freeze()
lock = Lock()
def late():
    with lock:
        sleep(1000)
def behind():
    with lock:
        pass
others = [spawn(late), spawn(behind)]
turns(3)
session.start()
turns(2)
session.mark("found")
assert gc.get_freeze_count()
"""


def test_what_gc_freeze_hides_is_said_to_be_hidden(bare: Runner, runtime: str) -> None:
    ring = bare(face(runtime, FROZEN)).ok.ring
    walk(ring)
    assert any("gc.freeze" in ring.strings[r.arg] for r in ring.of(Kind.PATCH))
    with reader.open(ring.path) as trace:
        world = trace.at_position(0, at_mark(ring, "found"))
        by_name = {world.label(now.key): now for now in world.greenlets.values()}
        assert by_name["late"].holds
        assert by_name["behind"].state == State.PARKED


RUNNABLE = """
def begun():
    sleep(0)
    session.mark("goes on")
def unbegun():
    session.mark("begins")
threads = [spawn(begun)]
sleep(0)
threads.append(spawn(unbegun))
session.start()
session.mark("found")
turns(4)
"""


def test_who_is_in_line_is_runnable_and_waits_for_nothing(bare: Runner, runtime: str) -> None:
    ring = bare(face(runtime, RUNNABLE)).ok.ring
    walk(ring)
    with reader.open(ring.path) as trace:
        world = trace.at_position(0, at_mark(ring, "found"))
        others = [now for now in world.greenlets.values() if not now.is_hub and world.label(now.key) != "main"]
        assert [now.state for now in others] == [State.RUNNABLE] * 2, [(world.label(now.key), now.state) for now in others]
        assert not any(now.waits for now in others)


CALLBACK = """
lock = Lock()
def holder():
    with lock:
        Event().wait()
def waiter():
    with lock:
        pass
threads = [spawn(holder), spawn(waiter)]
turns(3)
def begin():
    session.start()
    session.mark("found")
if runtime == "gevent":
    gevent.get_hub().loop.run_callback(begin)
elif runtime == "eventlet":
    eventlet.hubs.get_hub().schedule_call_global(0, begin)
else:
    from greentrace.hub import get_hub
    get_hub().call_soon(begin)
sleep(0.01)
"""


def test_it_may_begin_in_a_function_that_the_hub_calls(bare: Runner, runtime: str) -> None:
    ring = bare(face(runtime, CALLBACK)).ok.ring
    walk(ring)
    with reader.open(ring.path) as trace:
        world = trace.at_position(0, at_mark(ring, "found"))
        by_name = {world.label(now.key): now for now in world.greenlets.values()}
        hub = next(now for now in world.greenlets.values() if now.is_hub)
        assert (hub.state, by_name["main"].state) == (State.RUNNING, State.PARKED)
        (hold,) = by_name["holder"].holds
        assert hold.observed
        assert [wait.resource for wait in by_name["waiter"].waits] == [hold.resource]
