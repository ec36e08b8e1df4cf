"""Spans and times, against adding up one nanosecond-exact interval after the other."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greentrace.events import Kind, Op, State, Waker
from greentrace.replay import reader, stats
from greentrace.replay.packing import STATE_OF
from greentrace.replay.spans import ABSENT, changes, frame, spans, time_in_states
from tests.replay.naive import Naive
from tests.replay.programs import numbers, play
from tests.support.scribe import Scribe


def slow_times(s: Scribe, trace: reader.Trace, edges: list[int]) -> dict[int, list[list[int]]]:
    """ns per greenlet, cell and state, by walking over every moment at which something happens."""
    born = {record[4]: record[0] for record in reversed(s.records) if record[1] == Kind.SPAWN and not record[2] & 0x80}
    everybody = [g.id for g in trace.greenlets]
    total = {number: [[0] * 8 for _ in edges[1:]] for number in everybody}
    moments: list[tuple[int, dict[int, State]]] = []
    naive = Naive()
    for i, record in enumerate(s.records):
        if record[1] == Kind.GAP and i:
            # Nothing is known from the record before it on.
            left = {n: state if state == State.COLLECTED else State.UNKNOWN for n, state in naive.states.items()}
            moments.append((min(record[0], s.records[i - 1][0] + 1), left))
        naive.feed(record)
        moments.append((record[0], dict(naive.states)))
    for i, (t0, states) in enumerate(moments):
        t1 = moments[i + 1][0] if i + 1 < len(moments) else trace.end_ns
        for number in everybody:
            absent = number in born and t0 < born[number]
            state = ABSENT if absent else states.get(number, State.UNKNOWN)
            for cell, (low, high) in enumerate(itertools.pairwise(edges)):
                total[number][cell][state] += max(0, min(t1, high) - max(t0, low))
    return total


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, gaps=st.booleans(), cuts=st.lists(st.integers(-50, 1 << 18), max_size=6))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_time_in_states_is_exact_to_the_nanosecond(choices: list[int], gaps: bool, cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=7)
        play(s, choices, gaps)
        trace = s.open()
    edges = sorted({trace.start_ns + cut for cut in cuts} | {trace.start_ns, trace.end_ns})
    keys = [g.key for g in trace.greenlets]
    times = time_in_states(trace, keys, np.array(edges, np.int64))
    expected = slow_times(s, trace, edges)
    for row, key in enumerate(keys):
        assert times[row].tolist() == expected[key], (key, edges)
    for row, key in enumerate(keys):
        # The spans of a greenlet say the same.
        sums = [0] * 8
        for span in spans(trace, key):
            sums[span.state] += span.ns
        whole = times[row].sum(axis=0)
        for state in (State.CREATED, State.RUNNING, State.RUNNABLE, State.PARKED, State.FINISHED):
            assert sums[state] == whole[state]


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, gaps=st.booleans(), cuts=st.lists(st.integers(-50, 1 << 18), min_size=2, max_size=4))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_a_window_shows_what_the_whole_shows_there(choices: list[int], gaps: bool, cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=7)
        play(s, choices, gaps)
        trace = s.open()
    moments = sorted(min(max(trace.start_ns + cut, trace.start_ns), trace.end_ns) for cut in cuts)
    low, high = moments[0], moments[-1]
    keys = [g.key for g in trace.greenlets]
    drawn = frame(trace, keys, np.array(moments, np.int64))
    for row, key in enumerate(keys):
        whole, every = spans(trace, key), changes(trace, key)
        inside = [span for span in whole if span.t0_ns <= high and (span.t1_ns > low or span == whole[-1])]
        clipped = [replace(span, t0_ns=max(span.t0_ns, low), t1_ns=min(span.t1_ns, high)) for span in inside]
        assert [span for span in spans(trace, key, low, high) if span.ns] == [span for span in clipped if span.ns > 0]
        for column, moment in enumerate(moments):
            at = int(np.searchsorted(every.t_ns, np.uint64(moment), "right"))
            if at:
                assert STATE_OF[drawn.codes[row, column]] == every.states[at - 1]
                assert int(drawn.since_ns[row, column]) >= int(every.t_ns[at - 1])
            if at < len(every.t_ns):
                assert int(drawn.until_ns[row, column]) <= int(every.t_ns[at])


def test_a_span_tells_what_was_waited_for_where_and_who_ended_it(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    lock, alice = s.lock(), s.spawn("alice")
    s.switch(alice)
    event = s.park(lock, to=s.main, line=31)
    s.tick(5000)
    s.wake(alice, Waker.GREENLET)
    s.switch(alice)
    trace = s.open()
    parked = next(span for span in spans(trace, alice) if span.state == State.PARKED)
    assert (parked.resource, parked.event, parked.waker) == (lock, event, "main")
    assert str(trace.stack(0, parked.site)[0]) == "app.py:31 (work)"
    assert parked.ns == 6000
    assert [span.state for span in spans(trace, alice)] == [State.CREATED, State.RUNNING, State.PARKED, State.RUNNABLE, State.RUNNING]


def test_a_window_clips_its_spans(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice")
    s.switch(alice)
    for _ in range(20):
        s.park(s.lock(), op=Op.WAIT)
        s.switch(alice)
    trace = s.open()
    low, high = trace.start_ns + 30_500, trace.start_ns + 41_500
    found = spans(trace, alice, low, high)
    assert (found[0].t0_ns, found[-1].t1_ns) == (low, high)
    assert all(a.t1_ns == b.t0_ns for a, b in itertools.pairwise(found))


def test_stats_count_events_and_time(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    s.spawn("alice")
    s.tick(1000)
    s.switch(s.hub)
    trace = s.open()
    assert sum(stats.events_by_kind(trace).values()) == trace.event_count
    assert stats.events_by_kind(trace)["SPAWN"] == 3
    assert stats.time_by_state(trace)[State.RUNNING] == 5000
