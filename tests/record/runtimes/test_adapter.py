"""The adapters' tables: every way to wait is recorded with what is waited on and who really ended the wait, on each core and runtime."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greentrace import events as e
from greentrace.events import Kind, Mode, Op

from ..conftest import Run
from ..reading import Ring, expect, holders

Recorded = Callable[[str], Run]


@pytest.fixture
def waits(recorded: Recorded) -> Ring:
    return recorded("waits.py").ring


@pytest.fixture
def timers(recorded: Recorded) -> Ring:
    return recorded("timers.py").ring


@pytest.fixture
def io(recorded: Recorded) -> Ring:
    return recorded("io.py").ring


@pytest.mark.parametrize(
    ("pair", "kind"), [("lock", "lock"), ("semaphore", "semaphore"), ("bounded", "semaphore"), ("rlock", "rlock")], ids=str
)
def test_who_waits_for_a_lock_waits_on_that_lock_and_is_woken_by_its_holder(waits: Ring, pair: str, kind: str) -> None:
    holder = expect(waits).greenlet(f"{pair}_holder").acquires(kind)
    lock = holder.resource
    holder.then.releases(kind)
    taker = expect(waits).greenlet(f"{pair}_taker").parks_on(kind, op=Op.ACQUIRE, resource=lock, deadline=False, where=f"{pair}_taker")
    taker.then.is_woken_by(f"{pair}_holder").then.runs(after="hub").then.acquires(kind).then.releases(kind)
    assert taker.resource == lock


def test_a_reentrant_lock_is_held_as_often_as_it_was_acquired(waits: Ring) -> None:
    expect(waits).greenlet("rlock_holder").acquires("rlock").acquires("rlock").parks_on("sleep").then.releases("rlock").then.parks_on(
        "sleep"
    ).then.releases("rlock").then.finishes()
    number = waits.number("rlock_holder")
    counts = [held[r.other].count(number) for r, held in holders(waits) if r.greenlet == number]
    assert counts == [1, 2, 1, 0]


def test_at_the_end_nobody_holds_a_lock_that_two_have_used(waits: Ring) -> None:
    *_, (_, held) = holders(waits)
    signals = {r.other for r in waits.of(Kind.RELEASE) if r.flags & e.RELEASE_FOREIGN}
    users = {number: {r.greenlet for r in waits.of(Kind.ACQUIRE, other=number)} for number in held}
    shared = [number for number in held if len(users[number]) > 1 and number not in signals]
    assert len(shared) == 4
    assert not any(held[number] for number in shared)


def test_a_semaphore_that_began_at_0_is_a_signal(waits: Ring) -> None:
    sender = expect(waits).greenlet("signal_sender").releases("semaphore", foreign=True, loser="")
    told = waits.resources()[sender.resource]
    assert told.flags & e.RESOURCE_SIGNAL
    assert told.arg == 0
    expect(waits).greenlet("signal_waiter").parks_on("semaphore", resource=sender.resource).then.is_woken_by("signal_sender").then.runs()


def test_a_release_by_somebody_else_takes_the_holders_hold_and_makes_a_signal(waits: Ring) -> None:
    stranger = expect(waits).greenlet("stranger").releases("semaphore", foreign=True, loser="main")
    assert not waits.resources()[stranger.resource].flags & e.RESOURCE_SIGNAL, "until then it was a lock"
    expect(waits).greenlet("stranger_taker").parks_on("semaphore", resource=stranger.resource).then.is_woken_by("stranger").then.acquires(
        "semaphore"
    )


def test_an_acquire_with_a_time_limit_has_a_deadline_and_is_woken_by_its_timer(waits: Ring) -> None:
    patient = expect(waits).greenlet("patient").parks_on("lock", op=Op.ACQUIRE, deadline=True)
    patient.then.is_woken_by("timer").then.finishes()
    assert not waits.of(Kind.ACQUIRE, greenlet=waits.number("patient")), "it never got the lock"


def test_an_event_object_wakes_those_who_wait_on_it(waits: Ring) -> None:
    sender = expect(waits).greenlet("event_sender").sets("event")
    event = sender.resource
    expect(waits).greenlet("event_waiter").parks_on("event", op=Op.WAIT, resource=event).then.is_woken_by("event_sender").then.runs()
    assert any(r.other == event for r in waits.of(Kind.CLEAR)), "main cleared it afterwards"


def test_an_empty_queue_parks_who_gets_and_a_full_one_who_puts(waits: Ring) -> None:
    getter = expect(waits).greenlet("queue_getter").parks_on("queue", op=Op.GET)
    empty = getter.resource
    getter.then.is_woken_by("queue_putter").then.gets()
    assert expect(waits).greenlet("queue_putter").puts().resource == empty
    putter = expect(waits).greenlet("full_putter").puts().then.parks_on("queue", op=Op.PUT)
    assert putter.resource not in (empty, 0)
    putter.then.is_woken_by("full_getter").then.puts()
    expect(waits).greenlet("full_getter").gets()


def test_a_join_waits_on_that_greenlet_and_is_woken_by_it(waits: Ring) -> None:
    joiner = expect(waits).greenlet("joiner").parks_on("greenlet", op=Op.JOIN, where="joiner")
    assert waits.resources()[joiner.resource].arg == waits.number("joined")
    joiner.then.is_woken_by("joined").then.runs(after="hub")


def test_who_gives_its_turn_away_stays_runnable(waits: Ring) -> None:
    expect(waits).greenlet("lock_taker").gives_way().then.runs(after="hub").then.gives_way().then.runs().then.parks_on("lock")


def test_whoever_finishes_has_returned(waits: Ring) -> None:
    for name in ("lock_taker", "patient", "event_waiter", "full_putter", "joined"):
        expect(waits).greenlet(name).starts().then.finishes()


def test_a_sleep_ends_when_its_timer_fires(timers: Ring) -> None:
    sleeper = expect(timers).greenlet("sleeper").arms().then.parks_on("sleep", op=Op.SLEEP, deadline=True, where="sleeper")
    sleeper.its_timer_fires().then.is_woken_by("timer").then.runs(after="hub").then.finishes()
    [timer] = timers.of(Kind.TIMER_ADD, greenlet=timers.number("sleeper"))
    [fired] = timers.of(Kind.TIMER_FIRE, greenlet=timers.number("sleeper"))
    assert fired.other == timer.other
    [park] = timers.of(Kind.PARK, greenlet=timers.number("sleeper"))
    assert park.arg == timer.arg, "it waits until then"
    assert fired.t_ns >= timer.arg - 1_000_000


def test_a_timeout_is_the_deadline_of_whatever_is_waited_on_and_throws(timers: Ring) -> None:
    overdue = expect(timers).greenlet("overdue").arms(throws=True).arms().then.parks_on("sleep", deadline=True)
    overdue.then.is_woken_by("timer").then.is_thrown_into(by="hub").then.its_timer_is_cancelled()
    [limit, sleep] = timers.of(Kind.TIMER_ADD, greenlet=timers.number("overdue"))
    [park] = timers.of(Kind.PARK, greenlet=timers.number("overdue"))
    assert park.arg == limit.arg < sleep.arg, "the nearer of the two"
    guarded = expect(timers).greenlet("guarded").arms(throws=True).then.parks_on("semaphore", op=Op.ACQUIRE, deadline=True)
    guarded.then.its_timer_fires().then.is_woken_by("timer").then.is_thrown_into(by="hub")


def test_who_catches_its_timeout_has_returned_and_was_not_killed(timers: Ring) -> None:
    for name, what in (("overdue", "sleep"), ("guarded", "semaphore")):
        expect(timers).greenlet(name).parks_on(what).then.is_thrown_into().then.finishes()


def test_a_timeout_that_was_not_needed_is_cancelled(timers: Ring) -> None:
    expect(timers).greenlet("in_time").arms(throws=True).then.its_timer_fires().then.runs().then.its_timer_is_cancelled().then.finishes()


def test_who_is_spawned_for_later_is_woken_by_that_timer(timers: Ring) -> None:
    [late] = [r for r in timers.of(Kind.TIMER_ADD) if not r.flags & e.TIMER_THROWS and not timers.of(Kind.PARK, greenlet=r.greenlet)]
    life = expect(timers).greenlet(late.greenlet).arms().then.its_timer_fires().then.is_woken_by("timer")
    life.then.starts().then.runs(after="hub").then.finishes()


def test_who_reads_a_socket_listens_parks_and_is_woken_by_the_fd(io: Ring) -> None:
    reader = io.numbers("reader")[0]
    life = expect(io).greenlet(reader).listens(Mode.READ)
    fd = life.resource
    life.then.parks_on("fd", op=Op.READ, resource=fd, where="reader").then.hears(Mode.READ).then.is_woken_by("fd").then.runs(after="hub")
    writer = expect(io).greenlet(io.numbers("writer")[0]).listens(Mode.WRITE)
    writer.parks_on("fd", op=Op.WRITE, resource=writer.resource).then.hears(Mode.WRITE).then.is_woken_by("fd").then.runs()
    assert writer.resource != fd
    expect(io).greenlet(reader).listens(Mode.READ).then.stops_listening().then.finishes()


def test_a_number_that_is_used_again_is_another_fd(io: Ring) -> None:
    generations: dict[int, list[int]] = {}
    for r in io.of(Kind.RESOURCE):
        if io.what(r.other) == "fd":
            generations.setdefault(r.arg & 0xFFFFFFFF, []).append(r.arg >> e.FD_GENERATION_SHIFT)
    assert any(len(found) > 1 for found in generations.values()), "the program uses numbers again"
    for found in generations.values():
        assert found == sorted(set(found)), "each generation is told once, in order"
    first, second = io.numbers("reader")
    assert {r.other for r in io.of(Kind.FD_ADD, greenlet=first)}.isdisjoint(r.other for r in io.of(Kind.FD_ADD, greenlet=second))


def test_a_closed_fd_is_closed_and_nobody_listens_any_more(io: Ring) -> None:
    closed = [r.other for r in io.of(Kind.FD_CLOSE)]
    assert len(closed) == len(set(closed)) >= 4
    for r in io.of(Kind.FD_ADD, Kind.FD_READY, Kind.PARK):
        if r.other in closed:
            assert r.at < next(c.at for c in io.of(Kind.FD_CLOSE, other=r.other)), "it is over once it is closed"
    assert len(io.of(Kind.FD_ADD)) == len(io.of(Kind.FD_REMOVE))


def test_the_hub_asks_and_the_system_answers(io: Ring) -> None:
    polls = io.of(Kind.POLL_BEGIN, Kind.POLL_END)
    assert len(polls) >= 4
    assert [r.kind for r in polls] == [Kind.POLL_BEGIN, Kind.POLL_END] * (len(polls) // 2)
    hubs = {r.greenlet for r in io.of(Kind.HUB)} | {r.greenlet for r in io.records if r.kind == Kind.HUB}
    assert {r.greenlet for r in polls} == hubs
    assert len(hubs) == 1
