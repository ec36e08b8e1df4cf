"""The proof of a deadlock: golden cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from greentrace import events as e
from greentrace.events import How, Kind, Op, ResourceKind, State
from greentrace.replay import reader, waits
from greentrace.replay.model import Graph
from tests.support.scribe import MS, Scribe


@pytest.fixture
def s(tmp_path: Path) -> Scribe:
    """A program with a server that listens, so that its hub is never exhausted."""
    s = Scribe(tmp_path / "a.ring")
    s.listen(s.fd(3))
    return s


def knots(s: Scribe) -> list[tuple[int, ...]]:
    return [tuple(sorted(d.greenlets)) for d in s.open().deadlocks()]


def doomed(s: Scribe) -> set[int]:
    return set(graph(s).doomed)


def graph(s: Scribe) -> Graph:
    return waits.graph(s.open().at(s.now))


def two_locks(s: Scribe) -> tuple[int, int, int, int]:
    """alice holds a and wants b, bob holds b and wants a; main runs on."""
    a, b = s.lock(12), s.lock(13)
    alice, bob = s.spawn("alice"), s.spawn("bob")
    s.switch(alice)
    s.acquire(a)
    s.switch(bob)
    s.acquire(b)
    s.park(a, to=alice, line=33, function="refund")
    s.park(b, to=s.main, line=31, function="transfer")
    return alice, bob, a, b


def test_two_locks_in_opposite_order_are_a_deadlock_from_the_switch_that_closed_it(s: Scribe) -> None:
    alice, bob, a, b = two_locks(s)
    closing, closed_ns = len(s.records) - 1, s.now
    for _ in range(50):
        s.switch(s.hub)
        s.tick(MS)
        s.switch(s.main)
    trace = s.open()
    (found,) = trace.deadlocks()
    assert found.greenlets == (alice, bob)
    assert found.resources == (b, a)
    assert found.victims == ()
    assert (found.closed_ns, found.closed_event) == (closed_ns, closing)
    assert trace.parse_time("deadlock") == closed_ns
    assert not waits.graph(trace.at(closed_ns - 1)).deadlocks
    assert waits.graph(trace.at(closed_ns)).deadlocks == (found,)
    assert trace.graph(trace.end_ns).deadlocks == (found,)


def test_the_text_names_who_on_which_locks_created_where_since_when_and_the_switch(s: Scribe) -> None:
    two_locks(s)
    (found,) = s.open().deadlocks()
    assert found.text == (
        "Deadlock: alice in transfer and bob in refund wait for each other over "
        "lock created at app.py:13 (main) and lock created at app.py:12 (main), "
        f"since 0.000025 s, closed by switch #{found.closed_event} away from alice.\n"
        "  alice waits for lock created at app.py:13 (main) since 0.000025 s, at app.py:31 (transfer)\n"
        "    held by bob since 0.000021 s, taken at app.py:20 (taking)\n"
        "  bob waits for lock created at app.py:12 (main) since 0.000023 s, at app.py:33 (refund)\n"
        "    held by alice since 0.000018 s, taken at app.py:20 (taking)\n"
        "  assumed: each lock is released only by whoever acquired it, as it was until now"
    )


def test_greenlets_of_one_label_are_told_apart_by_their_numbers(s: Scribe) -> None:
    a, b = s.lock(), s.lock()
    one, two = s.spawn("handler"), s.spawn("handler")
    s.switch(one)
    s.acquire(a)
    s.switch(two)
    s.acquire(b)
    s.park(a, to=one)
    s.park(b)
    assert f"handler #{one} in work and handler #{two} in work wait for each other" in s.open().deadlocks()[0].line


def test_a_lock_taken_twice_by_one_greenlet_is_a_deadlock_with_itself(s: Scribe) -> None:
    lock, alice = s.lock(), s.spawn("alice")
    s.switch(alice)
    s.acquire(lock)
    s.park(lock)
    assert knots(s) == [(alice,)]
    assert "alice in work waits for itself over lock created at app.py:10 (main)" in s.open().deadlocks()[0].line


def test_an_rlock_is_held_until_it_was_released_as_often_as_it_was_taken(s: Scribe) -> None:
    a, b = s.rlock(), s.rlock()
    alice, bob = s.spawn("alice"), s.spawn("bob")
    s.switch(bob)
    s.acquire(b)
    s.switch(alice)
    s.acquire(a)
    s.acquire(a)
    s.release(a)
    s.park(b, to=bob)
    s.park(a)
    assert knots(s) == [(alice, bob)]
    s.release(a, by=alice)
    assert knots(s) == []


def test_a_semaphore_with_a_holder_outside_is_open(s: Scribe) -> None:
    semaphore, lock = s.semaphore(2), s.lock()
    alice, bob, carol = s.spawn("alice"), s.spawn("bob"), s.spawn("carol")
    s.switch(carol)
    s.acquire(semaphore)
    s.switch(alice)
    s.acquire(semaphore)
    s.switch(bob)
    s.acquire(lock)
    s.park(semaphore, to=alice)
    s.park(lock, to=carol)
    assert doomed(s) == set()
    # carol closes it by waiting for one of them.
    closing = s.park(lock, to=s.main)
    (found,) = s.open().deadlocks()
    assert sorted(found.greenlets) == [alice, bob, carol]
    assert found.closed_event == closing


def test_a_semaphore_with_a_free_place_or_an_unknown_holder_is_open(s: Scribe) -> None:
    for capacity in (2, e.NO_CAPACITY):
        semaphore, alice = s.resource(ResourceKind.SEMAPHORE, capacity=capacity), s.spawn("alice")
        s.switch(alice)
        s.acquire(semaphore)
        s.park(semaphore, to=s.main)
    assert doomed(s) == set()


def test_a_lock_whose_holder_was_never_seen_is_open(s: Scribe) -> None:
    lock, alice = s.lock(), s.spawn("alice")
    s.switch(alice)
    s.park(lock)
    assert doomed(s) == set()


def test_a_deadline_opens_a_cycle(s: Scribe) -> None:
    a, b = s.lock(), s.lock()
    alice, bob = s.spawn("alice"), s.spawn("bob")
    s.switch(alice)
    s.acquire(a)
    s.switch(bob)
    s.acquire(b)
    s.park(a, to=alice, deadline_ns=s.now + 1000 * MS)
    s.park(b)
    assert doomed(s) == set()


def test_a_pending_timeout_opens_a_cycle_until_it_is_cancelled(s: Scribe) -> None:
    alice, bob, _, _ = two_locks(s)
    assert doomed(s) == {alice, bob}
    timer = s.timer(s.now + 1000 * MS, alice, e.TIMER_THROWS)
    assert doomed(s) == set()
    s.cancel(timer)
    assert doomed(s) == {alice, bob}


def test_the_event_that_closed_it_is_found_when_it_was_no_switch(s: Scribe) -> None:
    timer = s.timer(s.now + 1000 * MS, 3, e.TIMER_THROWS)
    alice, _, _, _ = two_locks(s)
    assert alice == 3
    assert doomed(s) == set()
    closing = s.cancel(timer)
    for _ in range(30):
        s.switch(s.hub)
        s.switch(s.main)
    (found,) = s.open().deadlocks()
    assert found.closed_event == closing
    assert f"closed by event #{closing}" in found.line


def test_a_timer_that_merely_calls_a_function_opens_nothing(s: Scribe) -> None:
    alice, bob, _, _ = two_locks(s)
    s.timer(s.now + 1000 * MS, alice, e.TIMER_CALLS)
    assert knots(s) == [(alice, bob)]


def test_greenlets_that_join_each_other_are_a_deadlock(s: Scribe) -> None:
    who = [s.spawn(name) for name in ("alice", "bob", "carol")]
    joins = [s.join_of(number) for number in who]
    for i, number in enumerate(who):
        s.switch(number)
        s.park(joins[(i + 1) % 3], op=Op.JOIN, to=s.main)
    (found,) = s.open().deadlocks()
    assert found.greenlets == tuple(who)
    assert "wait for one another in a ring over join of bob, join of carol and join of alice" in found.line
    assert found.assumption == ""


def test_a_join_on_a_finished_greenlet_is_open(s: Scribe) -> None:
    bob = s.spawn("bob")
    join, alice = s.join_of(bob), s.spawn("alice")
    s.switch(alice)
    s.park(join, op=Op.JOIN, to=bob)
    s.finish(s.main)
    assert doomed(s) == set()


def test_victims_wait_behind_and_are_shown_apart(s: Scribe) -> None:
    alice, bob, a, _ = two_locks(s)
    carol, dave = s.spawn("carol"), s.spawn("dave")
    join = s.join_of(carol)
    s.switch(carol)
    s.park(a, to=dave)
    s.park(join, op=Op.JOIN)
    (found,) = s.open().deadlocks()
    assert sorted(found.greenlets) == [alice, bob]
    assert found.victims == (carol, dave)
    assert doomed(s) == {alice, bob, carol, dave}
    assert "waiting behind them: carol and dave" in found.text


def test_a_semaphore_that_a_stranger_released_is_a_signal_for_ever(s: Scribe) -> None:
    alice, bob, a, _ = two_locks(s)
    assert knots(s) == [(alice, bob)]
    s.release(a, by=s.main)
    s.acquire(a, by=alice)
    assert doomed(s) == set()
    assert graph(s).world.resources[a].signal


def test_a_semaphore_that_began_at_zero_is_a_signal(s: Scribe) -> None:
    semaphore, alice = s.semaphore(0), s.spawn("alice")
    s.switch(alice)
    s.acquire(semaphore)
    s.park(semaphore)
    assert doomed(s) == set()


def test_a_member_that_has_finished_is_about_to_leave_its_pool(s: Scribe) -> None:
    pool = s.resource(ResourceKind.POOL, capacity=1)
    member, feeder = s.spawn("member"), s.spawn("feeder")
    s.acquire(pool, by=member)
    s.switch(feeder)
    s.park(pool, to=member)
    s.finish()
    assert doomed(s) == set()


def test_who_waits_for_a_lock_held_by_a_finished_greenlet_is_doomed(s: Scribe) -> None:
    lock, alice, bob = s.lock(), s.spawn("alice"), s.spawn("bob")
    s.switch(bob)
    s.acquire(lock)
    s.finish(alice, How.EXCEPTION)
    s.park(lock)
    assert doomed(s) == {alice}
    assert knots(s) == []
    s.collect(bob)
    assert doomed(s) == {alice}


@pytest.mark.parametrize("kind", [ResourceKind.EVENT, ResourceKind.QUEUE, ResourceKind.CONDITION, ResourceKind.RESULT, ResourceKind.FD])
def test_what_anybody_may_give_is_open(s: Scribe, kind: ResourceKind) -> None:
    thing, alice = s.resource(kind), s.spawn("alice")
    s.switch(alice)
    s.acquire(thing)
    s.park(thing)
    assert doomed(s) == set()


def test_an_unknown_or_untold_wait_is_open(s: Scribe) -> None:
    lock, alice, bob = s.lock(), s.spawn("alice"), s.spawn("bob")
    s.switch(alice)
    s.acquire(lock)
    s.switch(s.hub, State.PARKED, lock)
    s.switch(bob)
    s.park(0, op=Op.WAIT)
    assert doomed(s) == set()


def test_one_open_alternative_opens_the_wait(s: Scribe) -> None:
    lock, event, alice = s.lock(), s.resource(ResourceKind.EVENT), s.spawn("alice")
    s.switch(alice)
    s.acquire(lock)
    s.park(lock, event)
    assert doomed(s) == set()


def test_several_closed_alternatives_are_doomed_together(s: Scribe) -> None:
    a, b, alice, bob = s.lock(), s.lock(), s.spawn("alice"), s.spawn("bob")
    s.switch(bob)
    s.acquire(b)
    s.switch(alice)
    s.acquire(a)
    s.park(a, b, to=bob)
    assert doomed(s) == set()
    s.park(a)
    assert doomed(s) == {alice, bob}


def test_inside_a_gap_nothing_is_claimed_and_after_the_keyframe_it_is_again(s: Scribe) -> None:
    alice, bob, _, _ = two_locks(s)
    since = s.now
    s.gap()
    assert doomed(s) == set()
    assert knots(s) == []
    s.keyframe()
    (found,) = s.open().deadlocks()
    assert sorted(found.greenlets) == [alice, bob]
    # Which event closed it lies behind the gap: the time is known, the event is not.
    assert (found.closed_ns, found.closed_event) == (since, None)


def test_after_a_partial_keyframe_nothing_is_claimed(s: Scribe) -> None:
    two_locks(s)
    for i in range(8):
        s.spawn(f"late {i}")
    s.gap()
    s.keyframe(partial=True)
    assert doomed(s) == set()


def test_a_deadlock_of_a_process_stands_at_its_last_event_though_others_live_on(tmp_path: Path) -> None:
    worker, master = Scribe(tmp_path / "a.ring", meta={"pid": 1}), Scribe(tmp_path / "b.ring", meta={"pid": 2})
    worker.listen(worker.fd(3))
    two_locks(worker)
    master.tick(1000 * MS)
    master.spawn("late")
    trace = reader.open(tmp_path)
    (found,) = trace.deadlocks()
    assert found.process == 0
    assert trace.event(found.closed_event or 0) == (0, trace.histories[0].record(len(worker.records) - 1))
    assert trace.at(trace.end_ns).greenlets[found.greenlets[0]].label == "alice"


# ---- the hub-exhausted rule


def exhausted(tmp_path: Path) -> tuple[Scribe, int]:
    s = Scribe(tmp_path / "a.ring")
    event, alice = s.resource(ResourceKind.EVENT), s.spawn("alice")
    s.park(event, op=Op.WAIT, to=alice)
    s.park(event, op=Op.WAIT)
    return s, alice


def test_when_the_hub_polls_for_ever_with_nothing_left_everybody_parked_is_doomed(tmp_path: Path) -> None:
    s, alice = exhausted(tmp_path)
    assert doomed(s) == set()
    s.poll()
    assert doomed(s) == {s.main, alice}
    assert graph(s).exhausted == (0,)
    assert knots(s) == []


@pytest.mark.parametrize(
    "reason", ["timer", "listener", "thread", "runnable", "created", "deadline", "short poll", "fd wait", "late hub", "polled", "result"]
)
def test_anything_that_could_still_wake_somebody_keeps_the_hub_open(tmp_path: Path, reason: str) -> None:
    s, alice = exhausted(tmp_path)
    if reason == "timer":
        s.timer(s.now + MS, 0, e.TIMER_CALLS)
    elif reason == "listener":
        s.listen(s.fd(3))
    elif reason == "thread":
        s.thread = 1
        s.put(Kind.THREAD, greenlet=0, arg=77)
        s.thread = 0
    elif reason == "runnable":
        s.wake(alice)
    elif reason == "created":
        s.spawn("late")
    elif reason in ("deadline", "fd wait", "result"):
        kind = {"deadline": ResourceKind.EVENT, "fd wait": ResourceKind.FD, "result": ResourceKind.RESULT}[reason]
        thing = s.resource(kind)
        bob = s.spawn("bob")
        s.switch(bob)
        s.park(thing, deadline_ns=s.now + MS if reason == "deadline" else 0, op=Op.WAIT)
    elif reason == "late hub":
        s.gap()
        s.put(Kind.KEYFRAME, e.KEYFRAME_BEGIN | e.FLAG_KEY)
        s.put(Kind.STATE, State.RUNNING | e.FLAG_KEY, 99)
        s.put(Kind.HUB, e.FLAG_KEY, 99)
        s.put(Kind.STATE, State.PARKED | e.FLAG_KEY, alice)
        s.put(Kind.PARK, Op.WAIT | e.FLAG_KEY, alice, 16)
        s.put(Kind.KEYFRAME, e.KEYFRAME_END | e.FLAG_KEY)
        s.running[0] = 99
    s.poll(MS if reason == "short poll" else e.NO_CAPACITY)
    if reason == "polled":
        s.polled()
    assert doomed(s) == set()
