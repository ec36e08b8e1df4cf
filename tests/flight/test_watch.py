"""Watch: what is found online in a ring that goes round and round, and how little is judged for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from greentrace.events import Kind, Op, State
from greentrace.flight import watch as watching
from greentrace.flight.watch import Call, Verdict, Watch, judge
from tests.support.scribe import Scribe

from .conftest import DEADLOCK, Fly

FLOOD = "def flood(count):\n    for _ in range(count):\n        rt.sleep(0)\n"


@pytest.fixture
def s(tmp_path: Path) -> Scribe:
    return Scribe(tmp_path / "a.ring")


def close_a_knot(s: Scribe) -> set[int]:
    alice, bob = s.spawn("alice"), s.spawn("bob")
    a, b = s.lock(), s.lock()
    s.switch(alice)
    s.acquire(a)
    s.switch(bob)
    s.acquire(b)
    s.park(a, to=alice, op=Op.ACQUIRE)
    s.park(b, to=s.hub, op=Op.ACQUIRE)
    return {alice, bob}


def test_a_deadlock_is_judged_once_it_has_lasted_and_told_once(s: Scribe) -> None:
    watch = Watch(s.path)
    assert watch.read(0.0) == []
    close_a_knot(s)
    assert watch.read(1.0) == []
    assert [call.trigger for call in watch.read(1.3)] == ["deadlock"]
    s.spawn("carol")
    assert watch.read(30.0) == []
    close_a_knot(s)
    watch.read(60.0)
    assert [call.trigger for call in watch.read(61.0)] == ["deadlock"]


def test_a_deadlock_of_before_the_watch_began_is_told_by_the_next_whole_keyframe_and_once(
    s: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_a_knot(s)
    for _ in range(2 * s.ring.layout.records):
        s.put(Kind.MARK)
    watch = Watch(s.path)
    assert watch.ring.skipped
    assert watch.read(0.0) == []
    assert [call.trigger for call in watch.read(0.3)] == ["deadlock"]
    monkeypatch.setattr(watching, "judge", lambda path: pytest.fail("nobody has parked since"))
    for number in range(2 * s.ring.layout.records):
        s.put(Kind.MARK)
        if number % 1000 == 0:
            watch.read(30.0 + number / 1000)


def test_a_deadlock_that_the_program_ended_with_is_judged_however_young_it_is(s: Scribe) -> None:
    close_a_knot(s)
    watch = Watch(s.path)
    assert watch.read(0.0) == []
    assert [call.trigger for call in watch.read(0.05, last=True)] == ["deadlock"]


def test_the_verdict_is_that_of_the_last_generation_however_often_the_ring_went_round(s: Scribe) -> None:
    knot = close_a_knot(s)
    carol = s.spawn("carol")
    for _ in range(s.ring.layout.records):
        s.switch(carol if s.current == s.hub else s.hub)
    assert judge(s.path) == Verdict(frozenset({frozenset(knot)}), False, frozenset(knot))


def test_nobody_is_judged_who_waits_for_the_outside_or_for_a_while(s: Scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[Path] = []
    monkeypatch.setattr(watching, "judge", lambda path: judged.append(path) or Verdict(frozenset(), False, frozenset()))
    watch = Watch(s.path)
    lock = s.lock()
    for number, (op, deadline) in enumerate([(Op.READ, 0), (Op.SLEEP, 0), (Op.ACQUIRE, s.now + 10**12)]):
        each = s.spawn(f"g{number}")
        s.switch(each)
        s.park(lock, to=s.hub, op=op, deadline_ns=deadline)
    for number in range(20):
        s.put(Kind.MARK)
        watch.read(float(number))
    assert judged == []
    quick = s.spawn("quick")
    for number in range(20):
        s.switch(quick)
        s.park(lock, to=s.hub, op=Op.ACQUIRE)
        watch.read(20 + number * 0.1)
        s.wake(quick)
    assert judged == []
    s.switch(quick)
    s.park(lock, to=s.hub, op=Op.ACQUIRE)
    for number in range(20):
        watch.read(30 + number * 0.1)
    assert len(judged) == 1


def test_what_the_program_says_is_read_with_its_path(s: Scribe) -> None:
    watch = Watch(s.path)
    s.put(Kind.TRIGGER, arg=s.string("snapshot \n/tmp/a b.gtrace"))
    s.put(Kind.TRIGGER, arg=s.string("exception KeyError: 'x'"))
    s.put(Kind.ERROR, arg=s.string("ValueError"))
    s.put(Kind.HOG, greenlet=s.main, arg=1_500_000_000)
    s.put(Kind.TRIGGER, arg=s.string("exit"))
    calls = [call._replace(position=0) for call in watch.read(0.0)]
    assert calls == [
        Call("snapshot", "", 0, "/tmp/a b.gtrace"),
        Call("exception", "KeyError: 'x'", 0),
        Call("exception", "ValueError", 0),
        Call("hog", "1.5 s", 0),
    ]
    assert watch.said_exit


def test_a_deadlock_in_a_small_ring_of_a_busy_program_is_found(fly: Fly) -> None:
    done = fly(FLOOD + "flood(30_000)\n" + DEADLOCK + "for _ in range(20):\n    flood(500)\n    rt.sleep(0.1)", "hub", ring="1M")
    assert (done.returncode, done.triggers) == (0, ["deadlock"])
    assert done.findings("deadlock")
    assert all(now.state != State.UNKNOWN for now in done.trace().at(done.trace().end_ns).greenlets.values())


def test_a_snapshot_is_saved_before_the_ring_forgets_why(fly: Fly) -> None:
    # It would wait for a minute, and the ring goes round several times meanwhile.
    steps = "wait_for_follower()\ngreentrace.snapshot()\nfor _ in range(40):\n    flood(1000)\n    rt.sleep(0.1)\n"
    done = fly(FLOOD + steps, "hub", ring="2M", after=60, triggers="snapshot")
    assert done.triggers == ["snapshot"]
    trace = done.trace()
    assert [
        trace.string(0, event.arg) for _, event in (trace.event(n) for n in range(trace.event_count)) if event.kind == Kind.TRIGGER
    ] == ["snapshot"]


def test_a_deadlock_just_before_the_end_is_saved(fly: Fly) -> None:
    done = fly(DEADLOCK + "rt.sleep(0.1)", "hub")
    assert (done.returncode, done.triggers) == (0, ["deadlock"])
    assert done.findings("deadlock")
