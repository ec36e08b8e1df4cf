"""The next and the previous event of anything, against a walk over all events."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greentrace.events import Kind, State, Waker
from greentrace.replay import reader, seek
from tests.replay.programs import numbers, play
from tests.replay.test_state import saved
from tests.support.scribe import Scribe

Record = tuple[int, ...]
GREENLETS = (Kind.SPAWN, Kind.START, Kind.SWITCH, Kind.THROW, Kind.STATE)


def other_is_greenlet(r: Record) -> bool:
    return r[1] in GREENLETS or by_greenlet(r)


def by_greenlet(r: Record) -> bool:
    return r[1] == Kind.WAKE and r[2] & 0x3F == Waker.GREENLET


def names_greenlet(r: Record, number: int) -> bool:
    return r[4] == number or (r[5] == number and other_is_greenlet(r))


def names_resource(r: Record, number: int) -> bool:
    parks = r[1] in (Kind.SWITCH, Kind.THROW) and r[2] & 7 == State.PARKED
    return (r[5] == number and not other_is_greenlet(r)) or (parks and r[7] & 0xFFFFFFFF == number)


def is_of_kind(r: Record, kind: int) -> bool:
    return r[1] == kind


def wakes(r: Record, number: int) -> bool:
    return r[1] == Kind.WAKE and r[4] == number


def is_done_by(r: Record, number: int) -> bool:
    return by_greenlet(r) and r[5] == number


Wanted = Callable[[Record, int], bool]
Asked = Callable[[reader.Trace, int, int, int | None, bool], seek.Found | None]


def walked(records: list[Record], number: int, forward: bool, wanted: Wanted, what: int) -> int | None:
    """Return the nearest event after, or before, the event of a number."""
    way = range(number + 1, len(records)) if forward else range(number - 1, -1, -1)
    return next((i for i in way if wanted(records[i], what)), None)


def found(trace: reader.Trace, one: seek.Found | None) -> int | None:
    return None if one is None else trace.number(*one)


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, gaps=st.booleans(), at=st.lists(st.integers(0, 1000), min_size=1, max_size=4), forward=st.booleans())
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_the_nearest_event_is_found_without_walking(choices: list[int], gaps: bool, at: list[int], forward: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=7)
        play(s, choices, gaps)
        for trace in (s.open(), saved(s.path, Path(folder))):
            records = [tuple(row[:8]) for row in trace.events().tolist()]
            greenlets = ({r[4] for r in records} | {r[5] for r in records if other_is_greenlet(r)}) - {0}
            resources = {r[5] for r in records if not other_is_greenlet(r)} - {0}
            questions: list[tuple[Asked, Wanted, set[int]]] = [
                (seek.of_greenlet, names_greenlet, greenlets), (seek.waking, wakes, greenlets), (seek.woken_by, is_done_by, greenlets),
                (seek.of_resource, names_resource, resources), (seek.of_kind, is_of_kind, {r[1] for r in records}),
            ]  # fmt: skip
            for part in at:
                event = part * (len(records) - 1) // 1000
                for ask, wanted, everything in questions:
                    for what in everything:
                        one = found(trace, ask(trace, what, records[event][0], event, forward))
                        assert one == walked(records, event, forward, wanted, what), (wanted, what, event)
            trace.close()


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, gaps=st.booleans(), at=st.integers(0, 1000), most=st.integers(1, 4))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_the_wakes_around_a_moment_are_the_nearest(choices: list[int], gaps: bool, at: int, most: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=7)
        play(s, choices, gaps)
        trace = s.open()
    records = [tuple(row[:8]) for row in trace.events().tolist()]
    t_ns = trace.start_ns + (trace.end_ns - trace.start_ns) * at // 1000
    a_ns, b_ns = (trace.start_ns + t_ns) // 2, (t_ns + trace.end_ns) // 2
    for key in {r[4] for r in records} | {r[5] for r in records if by_greenlet(r)}:
        mine = [r for r in records if a_ns <= r[0] <= b_ns and (wakes(r, key) or is_done_by(r, key))]
        nearest = [r for r in mine if r[0] <= t_ns][-most:] + [r for r in mine if r[0] > t_ns][:most]
        expected = [seek.Wake(r[0], r[4], r[5] if by_greenlet(r) and r[5] else None) for r in nearest]
        assert seek.wakes(trace, key, a_ns, t_ns, b_ns, most) == expected


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, at=st.integers(0, 1000), forward=st.booleans(), few=st.booleans())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_the_nearest_event_of_some_kinds_or_some_greenlets(choices: list[int], at: int, forward: bool, few: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=7)
        play(s, choices)
        trace = s.open()
    records = [tuple(row[:8]) for row in trace.events().tolist()]
    event = at * (len(records) - 1) // 1000
    kinds, keys = (Kind.THROW, Kind.ACQUIRE), [g.key for g in trace.greenlets][-2:] if few else []

    def wanted(r: Record, _: int) -> bool:
        return r[1] in kinds or any(names_greenlet(r, key) for key in keys)

    one = found(trace, seek.telling_of(trace, kinds, keys, records[event][0], event, forward))
    assert one == walked(records, event, forward, wanted, 0)


def test_without_an_event_to_stand_on_what_happens_at_the_very_moment_lies_behind(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    lock = s.lock()
    first = s.acquire(lock)
    then = s.now
    s.tick(100)
    last = s.release(lock)
    trace = s.open()
    assert found(trace, seek.of_resource(trace, lock, then, None, forward=False)) == first
    assert found(trace, seek.of_resource(trace, lock, then, None, forward=True)) == last
    assert seek.of_kind(trace, Kind.THROW, then, None, forward=True) is None
