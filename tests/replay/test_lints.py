"""Each lint where it should speak, and where it should not."""

from __future__ import annotations

from pathlib import Path

import pytest

from greentrace import events as e
from greentrace.events import How, Kind, Op, ResourceKind
from greentrace.replay.lints import LINTS
from greentrace.replay.model import Finding
from tests.support.scribe import MS, Scribe


@pytest.fixture
def s(tmp_path: Path) -> Scribe:
    s = Scribe(tmp_path / "a.ring")
    s.listen(s.fd(3))
    return s


def found(s: Scribe, lint: str) -> list[Finding]:
    return [finding for finding in s.open().findings() if finding.lint == lint]


def test_a_quiet_program_has_no_findings(s: Scribe) -> None:
    alice = s.spawn("alice")
    for _ in range(30):
        s.switch(alice)
        s.switch(s.main)
    assert s.open().findings() == []


def test_deadlock_comes_first_with_its_events_and_victims(s: Scribe) -> None:
    lock, alice, bob = s.lock(), s.spawn("alice"), s.spawn("bob")
    s.switch(alice)
    s.acquire(lock)
    closing = s.park(lock, to=bob)
    s.park(lock)
    s.put(Kind.ERROR, greenlet=s.hub, arg=s.string("boom"))
    first = s.open().findings()[0]
    assert (first.lint, first.level) == ("deadlock", "error")
    assert (first.greenlets, first.resources, first.victims) == ((alice,), (lock,), (bob,))
    assert first.events == (closing,)


def test_hub_exhausted_names_who_is_parked_on_what(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    s.park(s.resource(ResourceKind.EVENT), op=Op.WAIT)
    s.poll()
    (finding,) = found(s, "hub-exhausted")
    assert finding.greenlets == (s.main,)
    assert "The hub of process 4242 can never turn again: main is parked" in finding.line
    assert "main waits for event object created at app.py:10 (main)" in finding.text


def test_held_by_dead_names_the_dead_and_who_waits(s: Scribe) -> None:
    lock, alice, bob = s.lock(), s.spawn("alice"), s.spawn("bob")
    s.switch(alice)
    s.acquire(lock)
    s.finish(bob, How.EXCEPTION, "ValueError")
    assert found(s, "held-by-dead") == []
    s.park(lock)
    (finding,) = found(s, "held-by-dead")
    assert (finding.level, finding.greenlets, finding.resources, finding.victims) == ("error", (alice,), (lock,), (bob,))
    assert "alice finished at" in finding.line
    assert "with an exception and still holds the lock created at app.py:10 (main); bob waits for it." in finding.line


def stuck(s: Scribe, kind: ResourceKind = ResourceKind.QUEUE, deadline_ns: int = 0) -> int:
    queue, alice = s.resource(kind), s.spawn("alice")
    putter = s.spawn("putter")
    s.switch(putter)
    s.touch(Kind.PUT, queue)
    s.park(s.fd(9), op=Op.READ, to=alice)
    s.park(queue, op=Op.GET, deadline_ns=deadline_ns)
    return alice


def test_stuck_after_five_seconds_in_which_nobody_able_has_run(s: Scribe) -> None:
    alice = stuck(s)
    s.tick(4000 * MS)
    s.switch(s.main)
    assert found(s, "stuck") == []
    s.tick(2000 * MS)
    s.spawn("late")
    (finding,) = found(s, "stuck")
    assert (finding.level, finding.greenlets) == ("warning", (alice,))
    assert "alice is parked for 6.0 s on queue created at app.py:10 (main), without a deadline" in finding.line
    assert "putter could, and did not run since" in finding.line


@pytest.mark.parametrize("reason", ["ran", "deadline", "fd", "gap"])
def test_not_stuck_when_somebody_able_has_run_or_time_or_the_outside_may_wake_it(s: Scribe, reason: str) -> None:
    stuck(s, ResourceKind.FD if reason == "fd" else ResourceKind.QUEUE, deadline_ns=s.now + 10_000 * MS if reason == "deadline" else 0)
    if reason == "ran":
        s.switch(4)
        s.switch(s.hub)
    s.tick(6000 * MS)
    if reason == "gap":
        s.gap()
        s.keyframe()
    s.spawn("late")
    assert found(s, "stuck") == []


def test_hub_blocked_tells_who_ran_too_long(s: Scribe) -> None:
    alice = s.spawn("alice")
    s.switch(s.hub)
    began = s.switch(alice)
    s.tick(250 * MS)
    s.switch(s.hub)
    s.tick(500 * MS)
    s.switch(alice)
    s.tick(120 * MS)
    s.switch(s.hub)
    (finding,) = found(s, "hub-blocked")
    assert finding.greenlets == (alice,)
    assert "alice ran for 0.250 s without switching (2 times, 0.370 s in all)" in finding.line
    assert began in finding.events


def test_a_run_that_is_still_open_blocks_the_hub_too_but_never_across_a_gap(s: Scribe) -> None:
    alice = s.spawn("alice")
    s.switch(alice)
    s.tick(250 * MS)
    s.lock()
    assert [finding.greenlets for finding in found(s, "hub-blocked")] == [(alice,)]


def test_whom_nobody_switched_to_blocked_nobody(s: Scribe) -> None:
    s.switch(s.main)
    s.gap()
    s.keyframe()
    s.tick(250 * MS)
    s.switch(s.hub)
    assert found(s, "hub-blocked") == []


def test_a_run_across_a_gap_is_not_judged(s: Scribe) -> None:
    alice = s.spawn("alice")
    s.switch(alice)
    s.gap()
    s.tick(250 * MS)
    s.keyframe()
    s.switch(s.hub)
    assert found(s, "hub-blocked") == []


def test_died_unobserved_unless_somebody_joined_or_it_returned(s: Scribe) -> None:
    alice, bob, carol = s.spawn("alice", line=7), s.spawn("bob"), s.spawn("carol")
    s.switch(alice)
    died = s.finish(s.main, How.EXCEPTION, "ValueError")
    s.park(s.join_of(bob), op=Op.JOIN, to=bob)
    s.finish(carol, How.EXCEPTION)
    s.finish(s.main)
    (finding,) = found(s, "died-unobserved")
    assert (finding.level, finding.greenlets, finding.events) == ("info", (alice,), (died,))
    assert finding.text == "alice ended with an exception: ValueError, and nobody was waiting for it.\n  created at app.py:7 (spawning)"


def test_trace_loss_counts_what_was_lost(s: Scribe) -> None:
    s.gap(1234)
    s.keyframe()
    (finding,) = found(s, "trace-loss")
    assert "1,234 events of process 4242 were lost in 1 gap" in finding.line


def test_displaced_and_error_in_hub_are_told_as_they_were_recorded(s: Scribe) -> None:
    s.put(Kind.DISPLACED, greenlet=s.main, arg=s.string("other.tracer"))
    at = s.put(Kind.ERROR, greenlet=s.hub, arg=s.string("ValueError: x"))
    assert "Another tracer (other.tracer) took our place in thread 0" in found(s, "displaced")[0].line
    (finding,) = found(s, "error-in-hub")
    assert finding.text == "hub printed an exception of process 4242 and went on: ValueError: x."
    assert finding.events == (at,)


def test_lints_can_be_silenced_and_made_warnings(s: Scribe) -> None:
    lock, alice = s.lock(), s.spawn("alice")
    s.switch(alice)
    s.acquire(lock)
    s.park(lock)
    trace = s.open()
    assert trace.findings(allow=["deadlock"]) == []
    assert [finding.level for finding in trace.findings(warn=["deadlock"])] == ["warning"]


def test_the_catalogue_has_a_sentence_for_each() -> None:
    assert all(lint.sentence.endswith(".") and name == lint.name for name, lint in LINTS.items())
    assert e.HELD


def test_a_run_that_the_watchdog_saw_is_told_with_its_stack_and_once(s: Scribe) -> None:
    alice = s.spawn("alice")
    s.switch(s.hub)
    began = s.switch(alice)
    began_ns = s.now
    s.tick(250 * MS)
    seen = s.put(Kind.HOG, greenlet=alice, site=s.at(33, "spin"), arg=s.now + s.step_ns - began_ns)
    s.tick(250 * MS)
    s.switch(s.hub)
    (finding,) = found(s, "hub-blocked")
    assert "alice ran for 0.500 s without switching:" in finding.line
    assert "seen in the act after 0.250 s: app.py:33 (spin)" in finding.text
    assert {began, seen} <= set(finding.events)


def test_a_callback_that_keeps_the_hub_is_known_from_the_watchdog_alone(s: Scribe) -> None:
    alice = s.spawn("alice")
    s.switch(alice)
    s.switch(s.hub)
    s.tick(2000 * MS)
    s.put(Kind.HOG, greenlet=s.hub, site=s.at(9, "callback"), arg=2000 * MS)
    (finding,) = found(s, "hub-blocked")
    assert "hub ran for 2.000 s" in finding.line
    assert "app.py:9 (callback)" in finding.text
