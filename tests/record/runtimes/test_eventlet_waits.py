"""eventlet: births, what may be proven of its pools, and what changes in mid-program. Single waits: tests/primitives/."""

from __future__ import annotations

import pytest

from greentrace.events import Kind, Op, ResourceKind, State, Waker
from greentrace.replay import reader, waits

from ..conftest import Run, Runner
from ..grammar import walk
from ..reading import Ring, expect

HEAD = """
import warnings
warnings.simplefilter("ignore")
import eventlet
import eventlet.hubs
from eventlet import GreenPool, sleep, spawn, spawn_after, spawn_n
from eventlet.event import Event
from eventlet.greenthread import spawn_after_local
from eventlet.semaphore import Semaphore
"""

BIRTHS = """
def at_once(): pass
def nameless(): pass
def late(): pass
def local(): pass
def parent():
    spawn(at_once)
    spawn_n(nameless)
    spawn_after(0.001, late)
    spawn_after_local(0.001, local)
    sleep(0.01)
spawn(parent).wait()
"""

POOL_DEADLOCK = """
import os
pool = GreenPool({size})
lock = Semaphore(1)
gone = Event()
def worker():
    with lock:
        gone.wait()
def owner():
    lock.acquire()
    {spawn}(worker)
    {resize}
    sleep(0)
    {wait}
def main():
    spawn(owner)
    for _ in range(5):
        sleep(0)
    os._exit(0)
spawn(main).wait()
"""

TWO_HUBS = """
def waits_for(event): event.wait()
def before(): waits_for(Event())
spawn(before)
sleep(0)
eventlet.hubs.use_hub("{hub}")
first = eventlet.hubs.get_hub()
def after(event): event.wait()
event = Event()
greenlet = spawn(after, event)
def sender():
    sleep(0.001)
    event.send()
spawn(sender)
greenlet.wait()
"""

MANY = """
import gc
from eventlet.dagpool import DAGPool
from eventlet import tpool
from greentrace.record.recorder import load
def counts():
    gc.collect()
    sleep(0)
    gc.collect()
    return load()[1].counts()["resources"]
def main():
    tpool.execute(int)
    before = counts()
    for turn in range(50):
        dag = DAGPool()
        for key in range(20):
            dag.post(key, turn)
        assert len(dag.waitall()) == 20
        pile = eventlet.GreenPile(3)
        for key in range(5):
            pile.spawn(int, key)
        assert list(pile) == [0, 1, 2, 3, 4]
        tpool.execute(int)
        del dag, pile
    print(counts() - before)
spawn(main).wait()
"""


def deadlocks(run: Run) -> list[tuple[set[str], set[ResourceKind]]]:
    """Return the names and kinds of each deadlock at the end."""
    with reader.open(run.directory) as trace:
        world = trace.last_world(0)
        return [
            ({world.label(key).rpartition(".")[2] for key in found.greenlets}, {world.resources[key].kind for key in found.resources})
            for found in trace.deadlocks()
        ]


def wakes(ring: Ring, name: str) -> list[Waker]:
    return [Waker(r.flags & 7) for r in ring.of(Kind.WAKE, greenlet=ring.number(name))]


DAG_DEADLOCK = """
import os
from eventlet.dagpool import DAGPool
dag = DAGPool()
def one(key, results): return dict(results)
def two(key, results): return dict(results)
def reader(): dag.wait(["b"])
def main():
    dag.spawn("a", ["b"], one)
    dag.spawn("b", ["a"{more}], two)
    spawn(reader)
    for _ in range(5):
        sleep(0)
    os._exit(0)
spawn(main).wait()
"""

CAPPED_DEADLOCK = """
import os
from eventlet.semaphore import CappedSemaphore
left, right = CappedSemaphore(1, 2), CappedSemaphore(1, 2)
def one():
    with left:
        sleep(0)
        right.acquire()
def two():
    with right:
        sleep(0)
        left.acquire()
def main():
    {stranger}
    spawn(one)
    spawn(two)
    for _ in range(5):
        sleep(0)
    os._exit(0)
spawn(main).wait()
"""

FUNCTIONS = """
import copy, pickle
import greentrace
from eventlet import tpool
from eventlet.green import os
before = os.waitpid
print(all(copy.deepcopy(f) is f and copy.copy(f) is f for f in (before, tpool.execute)))
print(pickle.loads(pickle.dumps(tpool.execute)) is tpool.execute)
greentrace.stop()
print(os.waitpid is before)
print(type(os.waitpid) is type(tpool.execute) is type(lambda: 0))
"""


def test_who_spawned_a_greenlet_and_what_begins_it_is_told(run: Runner, core: str) -> None:
    ring = run(HEAD + BIRTHS).ok.ring
    walk(ring)
    for name, waker in (("at_once", "parent"), ("nameless", "parent"), ("late", "timer"), ("local", "timer")):
        life = expect(ring).greenlet(name)
        if core == "native":
            life = life.is_spawned(by="parent", where="parent").then
        life.is_woken_by(waker).then.starts().then.finishes()


@pytest.mark.parametrize("spawn", ["pool.spawn", "pool.spawn_n"])
def test_who_waits_for_a_pool_whose_workers_wait_for_it_is_in_a_deadlock(run: Runner, spawn: str) -> None:
    full = run(HEAD + POOL_DEADLOCK.format(size=1, spawn=spawn, resize="pass", wait="pool.spawn(worker)")).ok
    end = run(HEAD + POOL_DEADLOCK.format(size=9, spawn=spawn, resize="pass", wait="pool.waitall()")).ok
    for done in (full, end):
        assert deadlocks(done) == [({"owner", "worker"}, {ResourceKind.POOL, ResourceKind.SEMAPHORE})]


@pytest.mark.parametrize("strange", [False, True])
def test_keys_of_a_dagpool_that_wait_for_each_other_are_in_a_deadlock_unless_anybody_may_post_one(run: Runner, strange: bool) -> None:
    done = run(HEAD + DAG_DEADLOCK.format(more=", 'c'" if strange else "")).ok
    walk(done.ring)
    assert deadlocks(done) == ([] if strange else [({"one", "two"}, {ResourceKind.GREENLET})])
    with reader.open(done.directory) as trace:
        doomed = waits.graph(trace.last_world(0)).doomed
        labels = {trace.last_world(0).label(key).rpartition(".")[2] for key in doomed}
    assert labels == (set() if strange else {"one", "two", "reader"})


def test_holders_of_capped_semaphores_who_wait_for_each_other_are_in_a_deadlock_until_a_stranger_gives_one_back(run: Runner) -> None:
    held = run(HEAD + CAPPED_DEADLOCK.format(stranger="pass")).ok
    given = run(HEAD + CAPPED_DEADLOCK.format(stranger="left.release(); left.acquire()")).ok
    assert deadlocks(held) == [({"one", "two"}, {ResourceKind.SEMAPHORE})]
    assert deadlocks(given) == []


def test_a_function_of_the_runtime_is_copied_and_pickled_by_its_name_and_given_back(run: Runner) -> None:
    assert run(HEAD + FUNCTIONS).ok.stdout.split() == ["True", "True", "False", "True"]


def test_a_pool_that_was_made_larger_is_not_full(run: Runner) -> None:
    wait = "gate = Event(); pool.spawn(gate.wait); sleep(0); pool.spawn(gate.wait)"
    done = run(HEAD + POOL_DEADLOCK.format(size=1, spawn="pool.spawn", resize="pool.resize(2)", wait=wait)).ok
    # The gate may still be opened: three are too many for two places, but no holder waits for a holder alone.
    assert deadlocks(done) == []
    [pool] = [number for number, r in done.ring.resources().items() if ResourceKind(r.flags & 0x1F) == ResourceKind.POOL]
    assert [r.arg for r in done.ring.of(Kind.RESOURCE, other=pool)] == [1, 2]


def test_what_a_function_waits_for_that_runs_in_the_place_of_its_spawner_is_its_own_affair(run: Runner) -> None:
    text = """
def inner(event): event.wait()
def outer():
    pool.spawn(inner, event)
def sender():
    sleep(0); sleep(0)
    event.send()
pool, event = GreenPool(1), Event()
pool.spawn(outer)
spawn(sender)
pool.waitall()
"""
    ring = run(HEAD + text).ok.ring
    walk(ring)
    expect(ring).greenlet("outer").parks_on("event", op=Op.WAIT).then.is_woken_by("sender").then.finishes()
    [acquired] = ring.of(Kind.ACQUIRE)
    assert acquired.greenlet == ring.number("outer")


@pytest.mark.parametrize("hub", ["poll", "selects", "asyncio"])
def test_a_hub_that_is_chosen_in_mid_program_is_followed(run: Runner, hub: str) -> None:
    done = run(HEAD + TWO_HUBS.format(hub=hub)).ok
    walk(done.ring)
    expect(done.ring).greenlet("after").parks_on("event", op=Op.WAIT).then.is_woken_by("sender").then.finishes()
    assert len(done.ring.of(Kind.HUB)) == 2
    with reader.open(done.directory) as trace:
        world = trace.last_world(0)
    [stranded] = [now for now in world.greenlets.values() if now.label.rpartition(".")[2] == "before"]
    assert stranded.state == State.PARKED


def test_what_stood_for_something_goes_with_it(run: Runner) -> None:
    done = run(HEAD + MANY)
    assert (done.returncode, done.stderr) == (0, "")
    assert abs(int(done.stdout)) < 10
    walk(done.ring)
