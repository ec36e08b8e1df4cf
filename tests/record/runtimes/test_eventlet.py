"""eventlet: pools, and the copies of threading that its `monkey_patch` makes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greentrace import events as e
from greentrace.events import Kind, Op

from ..conftest import Run, Runner
from ..grammar import walk
from ..reading import Ring, expect

POOL = """
import warnings
warnings.simplefilter("ignore")
import eventlet
def in_pool():
    eventlet.sleep(0.001)
def filler():
    pool = eventlet.GreenPool(1)
    pool.spawn(in_pool)
    pool.spawn(in_pool)
    pool.waitall()
eventlet.spawn(filler).wait()
"""


@pytest.fixture
def patched(record_once: Callable[..., Run], core: str) -> Ring:
    ring = record_once("patched.py", core, "eventlet").ring
    walk(ring)
    return ring


def test_a_full_pool_parks_who_spawns_and_so_does_an_end_that_is_waited_for(run: Runner) -> None:
    ring = run(POOL).ok.ring
    walk(ring)
    filler = expect(ring).greenlet("filler").parks_on("pool")
    pool = filler.resource
    filler.then.parks_on("pool", op=Op.JOIN, resource=pool).then.is_woken_by("in_pool").then.finishes()


def test_who_waits_for_a_condition_does_not_hold_its_lock(patched: Ring) -> None:
    life = expect(patched).greenlet("notified").acquires("rlock")
    lock = life.resource
    life.then.parks_on("condition", op=Op.WAIT).then.is_woken_by("notifier").then.runs()
    [given, back] = [r for r in patched.of(Kind.RELEASE, greenlet=life.number) if r.other == lock]
    taken = patched.of(Kind.ACQUIRE, greenlet=life.number, other=lock)
    assert taken[0].at < given.at < taken[1].at < back.at
    assert not any(r.flags & e.RELEASE_FOREIGN for r in (given, back))
    expect(patched).greenlet("notifier").acquires("rlock").then.sets("condition")


def test_a_patched_lock_and_queue_are_eventlets(patched: Ring) -> None:
    lock = (
        expect(patched).greenlet("locked").parks_on("lock", op=Op.ACQUIRE, where="locked").then.is_woken_by("locker").then.acquires("lock")
    )
    assert patched.of(Kind.ACQUIRE, greenlet=patched.number("locker"))[0].other == lock.resource
    expect(patched).greenlet("getter").parks_on("queue", op=Op.GET).then.is_woken_by("putter").then.gets()


def test_a_patched_thread_is_a_greenlet_that_main_waits_for(patched: Ring) -> None:
    assert len(patched.of(Kind.THREAD)) == 1
    [name] = {name for name in patched.names().values() if name.startswith("Thread-1")}
    expect(patched).greenlet(name).parks_on("sleep").then.is_woken_by("timer").then.finishes()
    main = expect(patched).greenlet("main")
    joins = [r for r in patched.of(Kind.PARK, greenlet=main.number) if Op(r.flags & 0x3F) == Op.JOIN]
    joined = patched.resources()[joins[-1].other].arg
    assert joined == patched.number(name)
