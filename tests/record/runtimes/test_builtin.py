"""The built-in hub speaks the vocabulary itself: names, pools, conditions, callbacks and errors arrive as it says them."""

from __future__ import annotations

import pytest

from greentrace.events import Kind, Op

from ..conftest import Runner
from ..grammar import walk
from ..reading import Ring, expect

PROGRAM = """
import sys
from greentrace import hub
def in_pool():
    hub.sleep(0.001)
def filler():
    pool = hub.GreenPool(1)
    pool.spawn(in_pool)
    pool.spawn(in_pool)
    pool.waitall()
hub.spawn(filler).wait()
def notified(condition):
    with condition:
        condition.wait()
def notifier(condition):
    hub.sleep(0.001)
    with condition:
        condition.notify()
condition = hub.Condition()
for each in [hub.spawn(notified, condition), hub.spawn(notifier, condition)]:
    each.wait()
def soon():
    pass
def bad():
    raise ValueError("on purpose")
sys.stderr = open("/dev/null", "w")
for callback in (soon, bad):
    hub.get_hub().call_soon(callback)
    hub.sleep(0)
"""


@pytest.fixture
def ring(run: Runner) -> Ring:
    found = run(PROGRAM).ok.ring
    walk(found)
    return found


def test_a_full_pool_parks_who_spawns_and_whoever_leaves_it_wakes(ring: Ring) -> None:
    filler = expect(ring).greenlet("filler").parks_on("pool")
    pool = filler.resource
    filler.then.is_woken_by("in_pool").then.parks_on("pool", op=Op.JOIN, resource=pool).then.is_woken_by("in_pool").then.finishes()
    assert ring.resources()[pool].arg == 1


def test_who_waits_for_a_condition_does_not_hold_its_lock(ring: Ring) -> None:
    life = expect(ring).greenlet("notified").acquires("rlock").then.releases("rlock").then.parks_on("condition")
    life.then.is_woken_by("notifier").then.runs().then.acquires("rlock").then.releases("rlock").then.finishes()


def test_what_the_hub_calls_and_what_it_prints_is_told(ring: Ring) -> None:
    assert [ring.strings[r.arg] for r in ring.of(Kind.CALLBACK)][-2:] == ["soon", "bad"]
    [error] = ring.of(Kind.ERROR)
    assert ring.strings[error.arg] == "ValueError: on purpose"
    assert error.greenlet == ring.number("hub")


def test_a_green_thread_has_its_functions_name_from_the_beginning(ring: Ring) -> None:
    for name in ("filler", "notified", "notifier"):
        number = ring.number(name)
        assert ring.of(Kind.NAME, greenlet=number)[0].at < ring.of(Kind.START, greenlet=number)[0].at
