"""The world at a moment, against a replay that takes one record at a time."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greentrace.events import Kind, Mode, Op, ResourceKind, State
from greentrace.follow import Follow
from greentrace.replay import reader, waits
from greentrace.replay.model import World
from tests.replay.naive import Naive
from tests.replay.programs import numbers, play
from tests.support.scribe import Scribe


def check(trace: reader.Trace, world: World, naive: Naive) -> None:
    """Compare a world with the naive one."""
    h = trace.histories[0]
    held = {hold[0] for hold in naive.holds}
    states = {n: s for n, s in naive.states.items() if s != State.COLLECTED or n in held}
    assert {g.id: g.state for g in world.greenlets.values()} == states
    for g in world.greenlets.values():
        if g.state != State.UNKNOWN:
            assert g.since_ns == naive.since[g.id], g
        assert g.stack == h.names.stack(naive.sites.get(g.id, 0))
        mine = [hold for hold in naive.holds if hold[0] == g.id]
        assert sorted((x.resource, x.since_ns) for x in g.holds) == sorted((hold[1], hold[2]) for hold in mine)
        told = {(w.resource, int(w.op)): w.deadline_ns or 0 for w in g.waits if w.told}
        assert told == (naive.waits.get(g.id, {}) if g.state == State.PARKED else {})
        if g.state == State.PARKED and naive.waits.get(g.id):
            assert all(w.told for w in g.waits)
    assert {t.key: (t.greenlet or 0, t.due_ns) for t in world.timers} == naive.timers
    assert {x.key: (x.resource, int(x.mode), x.greenlet or 0) for x in world.listeners} == naive.ears
    assert set(world.polling) == naive.polls
    assert (0 in world.whole) == naive.whole
    for r in world.resources.values():
        assert {x.greenlet for x in r.holders} == {hold[0] for hold in naive.holds if hold[1] == r.id}
        waiting = {n for n, waits in naive.waits.items() if states.get(n) == State.PARKED for what, _ in waits if what == r.id}
        assert waiting <= set(r.waiters)


def scribble(choices: list[int], gaps: bool) -> tuple[reader.Trace, Scribe]:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring")
        play(s, choices, gaps)
        return s.open(), s


def saved(ring: Path, folder: Path) -> reader.Trace:
    """Return the trace file that a follower makes of a ring."""
    follow = Follow(ring, folder / "a.gtrace")
    follow.finish()
    return reader.open(folder / "a.gtrace")


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, gaps=st.booleans())
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_the_world_at_every_position_is_what_one_record_at_a_time_gives(choices: list[int], gaps: bool) -> None:
    trace, s = scribble(choices, gaps)
    naive = Naive()
    for position, record in enumerate(s.records):
        naive.feed(record)
        if not naive.telling and record[1] not in (Kind.GAP, Kind.KEYFRAME):
            check(trace, trace.at_position(0, position), naive)
    assert not trace.histories[0].contradictions


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, gaps=st.booleans(), at=st.lists(st.integers(0, 1000), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_what_is_read_again_from_a_file_is_what_a_ring_holds(choices: list[int], gaps: bool, at: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring")
        play(s, choices, gaps)
        live, file = s.open(), saved(s.path, Path(folder))
        assert file.events().tolist() == live.events().tolist()
        for part in at:
            position = part * (live.event_count - 1) // 1000
            assert file.at_position(0, position) == live.at_position(0, position)
            world = live.at(live.event(position)[1].t_ns)
            ids, states = file.states_at(world.t_ns)[0]
            there = {g.id: g.state for g in world.greenlets.values() if g.state != State.COLLECTED}
            assert dict(zip(ids.tolist(), states.tolist(), strict=True)) == there
            assert file.describe_event(position) == live.describe_event(position)
        assert file.greenlets == live.greenlets
        assert file.findings() == live.findings()
        file.close()


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, gaps=st.booleans())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_whoever_is_judged_is_among_those_who_are_looked_at(choices: list[int], gaps: bool) -> None:
    trace, _ = scribble(choices, gaps)
    for position in range(trace.event_count):
        world = trace.at_position(0, position)
        slow = replace(world, suspects=None, busy=frozenset())
        quick, all_of_them = waits.graph(world), waits.graph(slow)
        assert quick == all_of_them
        assert waits.suspected(quick) == waits.suspected(all_of_them)


@given(choices=numbers)
@settings(deadline=None, max_examples=100)
def test_the_state_from_the_last_keyframe_is_the_state_replayed_from_the_beginning(choices: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring")
        play(s, choices[: len(choices) // 2])
        s.gap()
        s.keyframe()
        play(s, choices[len(choices) // 2 :])
        trace = s.open()
    from_beginning, from_keyframe = Naive(), trace.at(trace.end_ns)
    for record in s.records:
        if record[1] != Kind.GAP:
            from_beginning.feed(record)
    check(trace, from_keyframe, from_beginning)


def test_before_the_first_keyframe_and_inside_a_gap_everything_is_unknown(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice")
    s.park(s.lock(), to=alice)
    known_ns = s.now
    s.tick(1000)
    s.gap(5)
    s.tick(1000)
    s.switch(s.hub)
    unknown_ns = s.now
    s.tick(1000)
    s.keyframe()
    trace = s.open()
    assert trace.at(trace.start_ns - 1).unknown
    assert not trace.at(known_ns).unknown
    for t_ns in (known_ns + 1, unknown_ns):
        world = trace.at(t_ns)
        assert world.unknown
        assert {g.state for g in world.greenlets.values()} == {State.UNKNOWN}
        assert all(not g.waits and not g.holds for g in world.greenlets.values())
    world = trace.at(trace.end_ns)
    assert not world.unknown
    assert world.greenlets[alice].state == State.RUNNABLE
    assert [gap.lost for gap in trace.gaps] == [5]


def test_after_a_partial_keyframe_what_was_not_told_stays_unknown_and_nothing_is_proven(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    numbers = [s.spawn(f"g{i}") for i in range(4)]
    s.gap()
    s.keyframe(partial=True)
    world = s.open().at(s.now)
    assert not world.unknown
    assert not world.whole
    assert world.greenlets[numbers[-1]].state == State.UNKNOWN
    assert world.greenlets[s.hub].state == State.CREATED


def test_a_wait_lost_in_the_race_is_still_the_same_wait_and_a_void_park_is_none(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    a, b = s.lock(1), s.lock(2)
    alice = s.spawn("alice")
    s.switch(alice)
    s.put(Kind.PARK, Op.ACQUIRE, alice, b, arg=77)
    s.wake(alice)
    s.switch(s.hub)
    s.switch(alice)
    s.park(a)
    s.wake(alice)
    s.repark(alice, a)
    now = s.open().at(s.now).greenlets[alice]
    assert now.state == State.PARKED
    assert [(w.resource, w.deadline_ns) for w in now.waits] == [(a, None)]


def test_what_a_switch_alone_tells_is_a_wait_that_was_not_told(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice")
    s.switch(alice)
    s.switch(s.hub, State.PARKED, 1)
    (wait,) = s.open().at(s.now).greenlets[alice].waits
    assert (wait.resource, wait.told) == (1, False)


def test_a_world_shows_names_sites_timers_listeners_and_fds(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice", line=5)
    fd = s.fd(17, 3)
    s.switch(alice)
    s.timer(s.now + 5000, alice, 1)
    s.listen(fd, Mode.WRITE, alice)
    s.put(Kind.PARK, Op.WRITE, alice, fd, s.at(31, "send"))
    site = s.site(("/x/hub.py", 9, "trampoline", 1), ("/lib/socket.py", 2, "send", 2), ("/srv/app.py", 31, "send"))
    s.switch(s.hub, State.PARKED, fd, site)
    world = s.open().at(s.now)
    now = world.greenlets[alice]
    assert now.label == "alice"
    assert str(now.site) == "app.py:31 (send)"
    assert str(now.spawned_at[0]) == "app.py:5 (spawning)"
    assert now.spawner == s.main
    assert now.timeout_ns == now.deadline_ns is not None
    resource = world.resources[fd]
    assert (resource.kind, resource.fd, resource.generation, resource.label) == (ResourceKind.FD, 17, 3, "fd 17")
    assert world.listeners[0].fd == 17
    assert world.timers[0].throws


def test_waiters_stand_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    lock = s.lock()
    who = [s.spawn(f"g{i}") for i in range(4)]
    order = [who[2], who[0], who[3]]
    for g in order:
        s.switch(g)
        s.park(lock)
    assert list(s.open().at(s.now).resources[lock].waiters) == order


def test_a_keyframe_in_a_continuous_stretch_changes_nothing(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    lock, alice = s.rlock(), s.spawn("alice")
    s.switch(alice)
    s.acquire(lock)
    s.acquire(lock)
    s.park(lock)
    before = s.open().at(s.now)
    s.keyframe()
    after = s.open().at(s.now)
    assert (after.greenlets, after.resources) == (before.greenlets, before.resources)
    assert len(after.greenlets[alice].holds) == 2
