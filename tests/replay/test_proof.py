"""A second opinion on who is doomed: exhaustive search through all sets, word by word after DESIGN section 3."""

from __future__ import annotations

import tempfile
from itertools import combinations
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from greentrace.events import Op, ResourceKind, State
from greentrace.replay import waits
from greentrace.replay.model import GreenletNow, Holder, ResourceNow, Wait, World
from tests.replay.programs import numbers, play
from tests.support.scribe import Scribe


def worlds() -> st.SearchStrategy[World]:
    """Small worlds of parked and running greenlets around semaphores, locks and joins."""

    @st.composite
    def build(draw: st.DrawFn) -> World:
        count = draw(st.integers(1, 6))
        keys = range(1, count + 1)
        resources = {}
        for key in range(16, 16 + draw(st.integers(1, 5))):
            kinds = [ResourceKind.LOCK, ResourceKind.SEMAPHORE, ResourceKind.GREENLET, ResourceKind.EVENT, ResourceKind.RLOCK]
            kind = draw(st.sampled_from(kinds))
            holders = draw(st.lists(st.sampled_from([*keys, 99] if draw(st.booleans()) else list(keys)), max_size=3))
            target = draw(st.sampled_from(list(keys))) if kind == ResourceKind.GREENLET else None
            resources[key] = ResourceNow(
                key, key, 0, kind, capacity=draw(st.sampled_from([1, 1, 2, None])), greenlet=target, signal=draw(st.integers(0, 5)) == 0,
                holders=tuple(Holder(g, 0, (), True) for g in holders) if target is None else (),
            )  # fmt: skip
        greenlets = {}
        for key in keys:
            state = draw(st.sampled_from([State.PARKED] * 6 + [State.RUNNABLE, State.FINISHED, State.UNKNOWN]))
            on = draw(st.lists(st.sampled_from(list(resources)), min_size=1, max_size=2)) if state == State.PARKED else []
            deadline = draw(st.sampled_from([None] * 6 + [5]))
            greenlets[key] = GreenletNow(
                key, key, 0, 1, 0, "", "", state, key, (), tuple(Wait(r, Op.ACQUIRE, deadline, True) for r in on),
                timeout_ns=draw(st.sampled_from([None] * 8 + [7])),
            )  # fmt: skip
        return World(10, greenlets, resources, whole=frozenset({0}), threads={0: 2})

    return build()


def is_closed_set(world: World, members: set[int]) -> bool:
    """DESIGN section 3, word by word."""
    for key in members:
        now = world.greenlets[key]
        if now.state != State.PARKED or now.timeout_ns is not None:
            return False
        for wait in now.waits:
            resource = world.resources[wait.resource]
            if wait.deadline_ns is not None or resource.signal:
                return False
            if resource.kind == ResourceKind.GREENLET:
                if resource.greenlet not in members:
                    return False
                continue
            if resource.kind == ResourceKind.EVENT:
                return False
            if not resource.capacity or len(resource.holders) < resource.capacity:
                return False
            for holder in resource.holders:
                other = world.greenlets.get(holder.greenlet)
                if other is None or (holder.greenlet not in members and other.state != State.FINISHED):
                    return False
    return True


def largest(world: World) -> set[int]:
    """The largest closed set, by trying all sets."""
    for size in range(len(world.greenlets), 0, -1):
        for members in combinations(world.greenlets, size):
            if is_closed_set(world, set(members)):
                return set(members)
    return set()


@given(world=worlds())
@settings(deadline=None, max_examples=400)
def test_the_doomed_are_the_largest_closed_set_that_exhaustive_search_finds(world: World) -> None:
    assert set(waits.graph(world).doomed) == largest(world)


@given(world=worlds())
@settings(deadline=None, max_examples=200)
def test_whether_some_are_doomed_is_known_without_a_look_at_the_others(world: World) -> None:
    doomed = waits.graph(world).doomed
    for size in (1, 2, len(world.greenlets)):
        for some in combinations(world.greenlets, size):
            assert waits.are_doomed(world, some) == doomed.issuperset(some)


@given(world=worlds())
@settings(deadline=None, max_examples=300)
def test_deadlocks_are_cycles_among_the_doomed_and_victims_lead_to_them(world: World) -> None:
    graph = waits.graph(world)
    ways = {key: {w for wait in world.greenlets[key].waits for w in waits.wakers(world, wait) or ()} & graph.doomed for key in graph.doomed}

    def reach(key: int) -> set[int]:
        found: set[int] = set()
        work = [key]
        while work:
            for after in ways[work.pop()] - found:
                found.add(after)
                work.append(after)
        return found

    circular = {key for key in graph.doomed if key in reach(key)}
    assert circular == {key for d in graph.deadlocks for key in d.greenlets}
    for d in graph.deadlocks:
        assert all(reach(key) >= set(d.greenlets) for key in d.greenlets)
        assert set(d.victims) == {key for key in graph.doomed - circular if reach(key) & set(d.greenlets)}


@given(choices=numbers)
@settings(deadline=None, max_examples=100)
def test_once_doomed_nobody_moves_unless_somebody_breaks_the_assumption(choices: list[int]) -> None:
    """Whatever a program does, the first moment of every standing deadlock is a moment from which on it stands."""
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring")
        play(s, choices)
        trace = s.open()
    for found in trace.deadlocks():
        assert found.closed_event is not None
        members = set(found.greenlets)
        assert waits.graph(trace.at_position(0, found.closed_event)).doomed >= members
        if found.closed_event:
            assert not waits.graph(trace.at_position(0, found.closed_event - 1)).doomed >= members
