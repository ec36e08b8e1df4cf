"""gevent: its static types, several alternatives at once, threads of its pool, and the standard library as it patches it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greentrace import events as e
from greentrace.events import Kind, Op

from ..conftest import Run, Runner
from ..grammar import walk
from ..reading import Ring, expect

PROGRAM = """
import gevent, gevent.event, gevent.queue
from gevent import joinall, sleep, spawn
def result_waiter(result):
    result.get()
def result_setter(result):
    sleep(0.001)
    result.set(1)
def channel_getter(channel):
    channel.get()
def channel_putter(channel):
    sleep(0.001)
    channel.put(1)
def short():
    sleep(0.001)
def longer():
    sleep(0.004)
def every(*ones):
    joinall(ones)
def either(one, event):
    gevent.wait([one, event], count=1)
def pooled():
    gevent.get_hub().threadpool.apply(len, ("abc",))
result, channel = gevent.event.AsyncResult(), gevent.queue.Channel()
joinall([spawn(result_waiter, result), spawn(result_setter, result)])
joinall([spawn(channel_getter, channel), spawn(channel_putter, channel)])
first, second = spawn(short), spawn(longer)
joinall([spawn(every, first, second)])
joinall([spawn(either, spawn(short), gevent.event.Event())])
joinall([spawn(pooled)])
"""

CREATED = """
import gevent.event, gevent.lock, gevent.queue, gevent.thread
def here():
    return [gevent.lock.Semaphore(3), gevent.lock.BoundedSemaphore(2), gevent.lock.RLock(), gevent.thread.LockType(),
        gevent.event.Event(), gevent.event.AsyncResult(), gevent.queue.Queue(1), gevent.queue.PriorityQueue(),
        gevent.queue.LifoQueue(), gevent.queue.SimpleQueue(), gevent.queue.Channel()]
kept = here()
"""


@pytest.fixture
def ring(run: Runner) -> Ring:
    found = run(PROGRAM).ok.ring
    walk(found)
    return found


@pytest.fixture
def patched(record_once: Callable[..., Run], core: str) -> Ring:
    found = record_once("patched.py", core, "gevent").ring
    walk(found)
    return found


def test_a_result_wakes_who_waits_for_it(ring: Ring) -> None:
    waiter = expect(ring).greenlet("result_waiter").parks_on("result", op=Op.GET).then.is_woken_by("result_setter").then.runs(after="hub")
    assert expect(ring).greenlet("result_setter").sets("result").resource == ring.of(Kind.PARK, greenlet=waiter.number)[0].other


def test_both_sides_of_a_channel_wait_on_it(ring: Ring) -> None:
    getter = expect(ring).greenlet("channel_getter").parks_on("channel", op=Op.GET)
    putter = expect(ring).greenlet("channel_putter").parks_on("sleep").then.parks_on("channel", op=Op.PUT, resource=getter.resource)
    putter.then.is_woken_by("channel_getter").then.puts("channel")
    getter.then.is_woken_by("channel_putter").then.gets("channel")


def test_a_wait_for_several_names_them_all_and_the_one_that_ended_it(ring: Ring) -> None:
    short, longer = ring.numbers("short")[0], ring.number("longer")
    life = expect(ring).greenlet("every").parks_on("greenlet", "greenlet", op=Op.JOIN, where="every")
    joined = [ring.resources()[r.other].arg for r in ring.of(Kind.PARK, greenlet=life.number)]
    assert joined[:2] == [short, longer]
    life.then.is_woken_by("short").then.runs(after="hub").then.parks_on("greenlet").then.is_woken_by("longer").then.finishes()
    expect(ring).greenlet("either").parks_on("greenlet", "event").then.is_woken_by("short").then.runs(after="hub").then.finishes()


def test_who_waits_for_a_thread_of_the_pool_waits_on_its_result(ring: Ring) -> None:
    expect(ring).greenlet("pooled").parks_on("result").then.is_woken_by("thread").then.finishes()


def test_the_native_core_sees_the_creation_of_every_primitive(run: Runner, core: str) -> None:
    ring = run(CREATED).ok.ring
    if core == "python":
        assert "channel" not in {ring.what(r.other) for r in ring.of(Kind.RESOURCE)}, "the twin meets it when it is used"
        return
    made = [r for r in ring.of(Kind.RESOURCE) if ring.functions(r.site)[:1] == ["here"] and not r.flags & e.FLAG_INFERRED]
    kinds = [ring.what(r.other) for r in made]
    assert [kinds.count(kind) for kind in ("rlock", "lock", "result", "channel")] == [1, 1, 1, 1]
    assert kinds.count("queue") == 4
    assert {r.arg for r in made if ring.what(r.other) == "semaphore"} >= {3, 2}


def test_who_waits_for_a_condition_does_not_hold_its_lock(patched: Ring) -> None:
    life = expect(patched).greenlet("notified").acquires("rlock")
    lock = life.resource
    life.then.parks_on("condition", op=Op.WAIT).then.is_woken_by("notifier").then.runs(after="hub")
    [given, back] = [r for r in patched.of(Kind.RELEASE, greenlet=life.number) if r.other == lock]
    parked = patched.of(Kind.PARK, greenlet=life.number)[0]
    assert given.at < parked.at < back.at
    assert not any(r.flags & e.RELEASE_FOREIGN for r in (given, back))


def test_a_condition_that_was_notified_still_waits_for_its_lock(patched: Ring) -> None:
    life = expect(patched).greenlet("notified").acquires("rlock")
    lock = life.resource
    life.then.parks_on("condition").then.is_woken_by("notifier").then.parks_on("rlock", op=Op.ACQUIRE, resource=lock)
    life.then.is_woken_by("notifier").then.runs().then.acquires("rlock").then.releases("rlock").then.finishes()


def test_a_patched_lock_and_queue_are_gevents(patched: Ring) -> None:
    lock = (
        expect(patched).greenlet("locked").parks_on("lock", op=Op.ACQUIRE, where="locked").then.is_woken_by("locker").then.acquires("lock")
    )
    assert patched.of(Kind.ACQUIRE, greenlet=patched.number("locker"))[0].other == lock.resource
    expect(patched).greenlet("getter").parks_on("queue", op=Op.GET).then.is_woken_by("putter").then.gets()


def test_a_patched_thread_is_a_greenlet_that_main_waits_for(patched: Ring) -> None:
    assert len(patched.of(Kind.THREAD)) == 1
    (name,) = {name for name in patched.names().values() if name.startswith("Thread-1")}
    expect(patched).greenlet(name).parks_on("sleep").then.is_woken_by("timer").then.finishes()


LIVES = """
import gevent, gevent.hub, gevent.event
def quick():
    pass
def late():
    pass
def raw():
    pass
class Mine(gevent.Greenlet):
    def _run(self):
        pass
class Loud(gevent.event.Event):
    def __init__(self):
        super().__init__()
def here():
    return Loud()
kept = here()
gevent.joinall([gevent.spawn(quick), gevent.spawn_later(0.001, late), Mine.spawn()])
gevent.spawn_raw(raw)
gevent.sleep(0)
"""

ITERATED = """
import gevent
from gevent.event import AsyncResult, Event
event, result = Event(), AsyncResult()
def consumer():
    for ready in gevent.iwait([event, result]):
        pass
def producer():
    gevent.sleep(0)
    event.set()
    gevent.sleep(0)
    gevent.sleep(0)
    result.set(1)
gevent.joinall([gevent.spawn(consumer), gevent.spawn(producer)])
"""

POLLS = """
import gevent
from gevent.lock import DummySemaphore
def sleeper():
    gevent.sleep(0.01)
def dummy():
    with DummySemaphore() as semaphore:
        DummySemaphore().acquire()
        DummySemaphore().wait()
gevent.joinall([gevent.spawn(sleeper), gevent.spawn(dummy)])
"""

HUBS = """
import threading, gevent
from gevent.event import Event
def worker(event):
    event.wait()
def thread():
    event = Event()
    task = gevent.spawn(worker, event)
    gevent.sleep(0.001)
    event.set()
    task.join()
    gevent.get_hub().destroy()
threads = [threading.Thread(target=thread) for _ in range(3)]
for one in threads: one.start()
thread()
for one in threads: one.join()
"""

STOPPED = """
import sys, greentrace, gevent
from gevent.queue import Channel, Queue
from pathlib import Path
def types():
    return [(cls, name, cls.__dict__.get(name)) for cls in (Queue, Queue.__mro__[1], Channel) for name in ("__next__", "__init__", "get")]
before = types()
greentrace.start(Path(sys.argv[1]) / "trace.gtrace")
queue = Queue()
def reader():
    for item in queue:
        pass
task = gevent.spawn(reader)
gevent.sleep(0)
greentrace.stop()
assert types() == before
queue.put(1)
queue.put(StopIteration)
task.join(5)
print(task.successful(), list(iter([1])), next(iter(Queue(items=[3]))))
"""

LOOPS = {"libev": {}, "libev-cffi": {"GEVENT_LOOP": "libev-cffi"}, "libuv-cffi": {"GEVENT_LOOP": "libuv-cffi"}}


def test_who_never_parks_has_the_name_of_its_function(run: Runner, core: str) -> None:
    ring = run(LIVES).ok.ring
    walk(ring)
    for name in ("quick", "late", "_run"):
        expect(ring).greenlet(name).starts().then.runs(after="hub").then.finishes()
    assert len(ring.numbers("raw")) == (core == "native"), "the twin sees no creation, and a plain greenlet forgets its function"


def test_who_is_spawned_for_later_is_woken_by_its_timer(run: Runner) -> None:
    expect(run(LIVES).ok.ring).greenlet("late").is_woken_by("timer").then.runs(after="hub")


def test_a_subclass_with_an_init_of_its_own_is_seen_when_it_is_made(run: Runner) -> None:
    ring = run(LIVES).ok.ring
    made = [r for r in ring.of(Kind.RESOURCE) if ring.what(r.other) == "event" and not r.flags & e.FLAG_INFERRED]
    assert any("here" in ring.functions(r.site) for r in made)


def test_what_an_iwait_has_delivered_is_waited_for_no_more(run: Runner) -> None:
    life = expect(run(ITERATED).ok.ring).greenlet("consumer").parks_on("event", "result").then.is_woken_by("producer")
    life.then.runs(after="hub").then.parks_on("result").then.is_woken_by("producer").then.runs(after="hub").then.finishes()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_poll_says_how_long_it_may_last_and_ends_before_anybody_runs(run: Runner, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if loop.endswith("cffi"):
        pytest.importorskip("cffi")
    for name, value in LOOPS[loop].items():
        monkeypatch.setenv(name, value)
    ring = run(POLLS).ok.ring
    polling, timeouts = False, []
    for r in ring.of(Kind.POLL_BEGIN, Kind.POLL_END, Kind.SWITCH, Kind.THROW):
        assert (r.kind == Kind.POLL_END) == polling, ring.say(r)
        polling = r.kind == Kind.POLL_BEGIN
        if polling:
            timeouts.append(r.arg)
    assert timeouts
    assert all(timeout <= 10_000_000 or timeout == e.NO_CAPACITY for timeout in timeouts)
    assert any(timeout <= 10_000_000 for timeout in timeouts)


def test_a_semaphore_without_bounds_parks_nobody(run: Runner) -> None:
    ring = run(POLLS).ok.ring
    [number] = ring.numbers("dummy")
    assert not ring.of(Kind.PARK, greenlet=number)


def test_every_threads_hub_polls_for_itself(run: Runner) -> None:
    ring = run(HUBS).ok.ring
    walk(ring)
    for number in ring.numbers("worker"):
        expect(ring).greenlet(number).parks_on("event").then.runs(after="hub").then.finishes()
    assert {r.thread for r in ring.of(Kind.POLL_BEGIN)} == {0, 1, 2, 3}


def test_after_a_stop_the_slots_of_iteration_are_as_they_were(bare: Runner) -> None:
    assert bare(STOPPED).ok.stdout == "True [1] 3\n"
