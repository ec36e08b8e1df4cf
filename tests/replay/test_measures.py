"""Where the time of a window went, against adding up spans."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greentrace.events import Kind, ResourceKind, State
from greentrace.replay.measures import Lengths, measures
from greentrace.replay.spans import spans
from greentrace.replay.touches import Touches
from tests.replay.programs import numbers, play
from tests.support.scribe import MS, Scribe


@given(choices=numbers, window=st.tuples(st.integers(0, 100), st.integers(0, 100)))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_every_nanosecond_of_the_window_is_counted_once(choices: list[int], window: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=997)
        play(s, choices)
        trace = s.open()
    whole = trace.end_ns - trace.start_ns
    a, b = (trace.start_ns + whole * part // 100 for part in sorted(window))
    found = measures(trace, a, b)
    expected: dict[State, list[int]] = {state: [] for state in State}
    for g in trace.greenlets:
        if not g.is_hub:
            for span in spans(trace, g.key, a, b):
                if span.ns:
                    expected[span.state].append(span.ns)
    for state in (State.RUNNING, State.RUNNABLE, State.PARKED):
        assert sorted(found.of(state).of.tolist()) == sorted(expected[state])
    assert sum(row.run_ns for row in found.rows) == sum(expected[State.RUNNING])
    assert sum(row.latency_ns for row in found.rows) == sum(expected[State.RUNNABLE])
    assert sum(row.parked_ns for row in found.rows) == sum(expected[State.PARKED])


def test_waits_are_told_apart_by_what_was_waited_for(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice")
    for resource, ns in ((s.lock(), 5 * MS), (s.fd(7), 9 * MS), (s.lock(), 7 * MS)):
        s.switch(alice)
        s.park(resource, to=s.main)
        s.tick(ns)
    s.switch(alice)
    found = measures(trace := s.open(), trace.start_ns, trace.end_ns)
    locks, fds = found.lengths[State.PARKED, ResourceKind.LOCK], found.lengths[State.PARKED, ResourceKind.FD]
    assert [round(ns / MS) for ns in locks.of.tolist()] == [5, 7]
    assert (locks.count, round(locks.longest_ns / MS), round(fds.total_ns / MS)) == (2, 7, 9)


@pytest.mark.parametrize(("ns", "power"), [(0, 0), (1, 0), (1023, 9), (1024, 10), (1 << 40, 40)])
def test_a_histogram_counts_by_powers_of_two(ns: int, power: int) -> None:
    import numpy as np

    bins = Lengths(np.array([ns], np.int64)).histogram()
    assert bins[power] == 1
    assert bins.sum() == 1


def test_touches_are_counted_up_to_a_moment(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    one, other = s.lock(), s.lock()
    moments = []
    for _ in range(3):
        s.acquire(one)
        moments.append(s.now)
        s.release(one)
        s.acquire(other)
        s.release(other)
    trace = s.open()
    touches = Touches(trace)
    assert touches.until(Kind.ACQUIRE, one, trace.start_ns) == (0, None)
    assert touches.until(Kind.ACQUIRE, one, moments[1]) == (2, moments[1])
    assert touches.until(Kind.ACQUIRE, one, moments[1] - 1) == (1, moments[0])
    assert touches.until(Kind.ACQUIRE, other, trace.end_ns)[0] == 3
    assert touches.until(Kind.ACQUIRE, 4711, trace.end_ns) == (0, None)
