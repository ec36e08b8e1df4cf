"""Where the time of a window went, against adding up spans, and against one record at a time."""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import greentrace.replay.touches
from greentrace.events import FLAG_KEY, Kind, ResourceKind, State
from greentrace.replay import reader
from greentrace.replay.lengths import Lengths, Tally
from greentrace.replay.measures import Row, measures
from greentrace.replay.model import shown
from greentrace.replay.spans import spans
from greentrace.replay.touches import Touches
from tests.replay.naive import Naive
from tests.replay.programs import many, numbers, play
from tests.support.scribe import MS, Scribe

MEASURED = (State.RUNNING, State.RUNNABLE, State.PARKED)
windows = st.tuples(st.integers(0, 100), st.integers(0, 100))


def sums(lengths: Lengths) -> tuple[int, int, int]:
    return lengths.count, lengths.total_ns, lengths.longest_ns


def summed(ns: list[int]) -> tuple[int, int, int]:
    return len(ns), sum(ns), max(ns, default=0)


def cut(trace: reader.Trace, window: tuple[int, int]) -> tuple[int, int]:
    a, b = (trace.start_ns + (trace.end_ns - trace.start_ns) * part // 100 for part in sorted(window))
    return a, b


@given(choices=numbers, window=windows)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_every_nanosecond_of_the_window_is_counted_once(choices: list[int], window: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=997)
        play(s, choices)
        trace = s.open()
    a, b = cut(trace, window)
    found = measures(trace, a, b)
    expected: dict[State, list[int]] = {state: [] for state in State}
    for g in trace.greenlets:
        if not g.is_hub:
            for span in spans(trace, g.key, a, b):
                if span.ns:
                    expected[span.state].append(span.ns)
    for state in MEASURED:
        assert sums(found.all.of(state)) == summed(expected[state])
        assert summed_rows(list(found.rows), state) == summed(expected[state])


def summed_rows(rows: list[Row], state: State) -> tuple[int, int, int]:
    every = [sums(row.of(state)) for row in rows]
    return sum(one[0] for one in every), sum(one[1] for one in every), max((one[2] for one in every), default=0)


class Walker:
    """Notes every stretch, (greenlet, state, resource, site, begin, end), and where its greenlet had left last, one record at a time."""

    def __init__(self) -> None:
        self.stretches: list[tuple[int, State, int, int, int, int]] = []
        self._naive = Naive()
        self._since: dict[int, int] = {}
        self._left: dict[int, tuple[int, int]] = {}
        self._told: dict[int, int] = {}

    def _close(self, number: int, state: State, t_ns: int) -> None:
        resource, site = self._left.get(number, (0, 0))
        if number in self._since:
            self.stretches.append((number, state, self._told.get(number, resource), site, self._since[number], t_ns))

    def walk(self, records: list[tuple[int, ...]], end_ns: int) -> list[tuple[int, State, int, int, int, int]]:
        for i, record in enumerate(records):
            t_ns, kind, flags, _, greenlet, other, site, arg = record
            before, known, telling = dict(self._naive.states), self._naive.known, self._naive.telling
            self._naive.feed(record)
            if (kind == Kind.GAP and i) or (self._naive.telling and not telling):
                # Nothing is known any more, from just after the record before.
                for number, state in before.items():
                    self._close(number, state, min(t_ns, records[i - 1][0] + 1) if kind == Kind.GAP else t_ns)
                self._since, self._left, self._told = {}, {}, {}
                before = {}
            applied = known and (telling or not flags & FLAG_KEY)
            now = self._naive.states
            changed = [n for n in now if now[n] != before.get(n, State.UNKNOWN)]
            for number in changed:
                self._close(number, before.get(number, State.UNKNOWN), t_ns)
                self._since[number] = t_ns
                self._told.pop(number, None)
            if applied and kind in (Kind.SWITCH, Kind.THROW, Kind.STATE):
                who, resource = (greenlet, 0) if kind == Kind.STATE else (other, arg)
                if who in changed:
                    self._left[who] = (resource, site or self._left.get(who, (0, 0))[1])
            elif applied and kind == Kind.PARK and now.get(greenlet) == State.PARKED:
                untold = not self._left.get(greenlet, (0, 0))[0] and greenlet not in self._told
                if greenlet in changed or untold:
                    self._told[greenlet] = other
        for number, state in self._naive.states.items():
            self._close(number, state, end_ns)
        return self.stretches


@pytest.mark.usefixtures("sizes")
@given(choices=many, gaps=st.booleans(), window=windows)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_a_stretch_belongs_to_the_resource_and_to_the_site_that_were_left_last(
    choices: list[int], gaps: bool, window: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=997)
        play(s, choices, gaps)
        trace = s.open()
    a, b = cut(trace, window)
    hubs = {g.id for g in trace.greenlets if g.is_hub}
    by_resource: dict[tuple[int, State], list[int]] = defaultdict(list)
    by_site: dict[tuple[str, State], list[int]] = defaultdict(list)
    touching: dict[int | str, set[int]] = defaultdict(set)
    for number, state, resource, site, begin, end in Walker().walk(s.records, trace.end_ns):
        ns = min(end, b) - max(begin, a)
        if ns > 0 and number not in hubs and state in MEASURED:
            place = str(shown(trace.stack(0, site)) or f"site {site}")
            for group, into in ((resource, by_resource), (place if site else "", by_site)):
                if group:
                    into[group, state].append(ns)  # type: ignore[index]
                    touching[group].add(number)
    rows = measures(trace, a, b, "resource").rows
    assert {(row.resource, state): sums(row.of(state)) for row in rows for state in MEASURED if row.of(state).count} == {
        group: summed(ns) for group, ns in by_resource.items()
    }
    sites = measures(trace, a, b, "site").rows
    assert {(row.name, state): sums(row.of(state)) for row in sites for state in MEASURED if row.of(state).count} == {
        group: summed(ns) for group, ns in by_site.items()
    }
    assert all(row.greenlets == len(touching[row.resource or row.name]) for row in [*rows, *sites])


def test_waits_are_told_apart_by_what_was_waited_for(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice")
    for resource, ns in ((s.lock(), 5 * MS), (s.fd(7), 9 * MS), (s.lock(), 7 * MS)):
        s.switch(alice)
        s.park(resource, to=s.main)
        s.tick(ns)
    s.switch(alice)
    found = measures(trace := s.open(), trace.start_ns, trace.end_ns)
    locks, fds = found.all.by_sort[State.PARKED, ResourceKind.LOCK], found.all.by_sort[State.PARKED, ResourceKind.FD]
    assert (locks.count, round(locks.total_ns / MS), round(locks.longest_ns / MS), round(fds.total_ns / MS)) == (2, 12, 7, 9)


@given(st.lists(st.one_of(st.integers(0, 300), st.integers(0, 1 << 62)), min_size=1), st.integers(0, 100))
def test_lengths_are_exact_but_for_percentiles_which_are_to_within_a_bin(ns: list[int], percent: int) -> None:
    tally = Tally()
    for part in (ns[::2], ns[1::2]):
        tally.add(np.zeros(len(part), np.int64), np.array(part, np.int64))
    found = Lengths(tally.rows)
    assert found.count == len(ns)
    assert found.longest_ns == max(ns)
    assert found.histogram().tolist() == [sum(max(one.bit_length() - 1, 0) == power for one in ns) for power in range(64)]
    least = int(np.percentile(np.array(ns, np.int64), percent, method="inverted_cdf"))
    assert least <= found.percentile_ns(percent) <= least + least // 64


def test_the_rows_of_a_tally_are_merged_before_they_are_many() -> None:
    tally = Tally()
    for _ in range(100):
        tally.add(np.arange(5000) % 3, np.arange(5000))
        assert sum(map(len, tally._merging._parts)) < 1 << 18
    for group in range(3):
        rows = tally.rows[tally.rows["key"] >> np.uint64(12) == group]
        assert sums(Lengths(rows)) == summed(list(range(group, 5000, 3)) * 100)


@pytest.mark.usefixtures("sizes")
def test_touches_are_counted_in_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s = Scribe(tmp_path / "a.ring")
    things = [s.lock() for _ in range(3)]
    took: list[tuple[int, int]] = []
    for turn in range(40):
        thing = things[turn * turn % 3]
        s.acquire(thing)
        took.append((s.now, thing))
        s.release(thing)
    trace = s.open()
    touches = Touches(trace)
    moments = [trace.start_ns, trace.end_ns, *(t_ns for t_ns, _ in took[::7]), *(t_ns - 1 for t_ns, _ in took[::5])]
    for a, b in itertools.product(moments, moments):
        for thing in [*things, 4711]:
            inside = [t_ns for t_ns, one in took if one == thing and a <= t_ns <= b]
            assert touches.within(Kind.ACQUIRE, thing, a, b) == (len(inside), max(inside, default=None))
    monkeypatch.setattr(greentrace.replay.touches, "MOST", 10)
    assert touches.within(Kind.ACQUIRE, things[0], trace.start_ns, trace.end_ns - 1) is None
