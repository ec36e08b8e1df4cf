"""Where a key leads from a moment and a greenlet."""

from __future__ import annotations

from pathlib import Path

import pytest

from greentrace.events import Op, Waker
from greentrace.replay.reader import Trace
from greentrace.tui import jumps
from greentrace.tui.state import Place
from tests.support.scribe import MS, Scribe


def place(t_ns: int, greenlet: int, event: int | None = None) -> Place:
    return Place(t_ns, 0, 1 << 62, greenlet, event)


@pytest.fixture
def story(tmp_path: Path) -> tuple[Trace, dict[str, int]]:
    """Main wakes alice, alice wakes bob; a timer wakes alice later."""
    s = Scribe(tmp_path / "a.ring")
    alice, bob = s.spawn("alice"), s.spawn("bob")
    event, other = s.lock(), s.lock()
    s.switch(bob)
    s.park(other, to=alice)
    s.park(event, to=s.main)
    s.tick(MS)
    at = {"alice woken": s.wake(alice, Waker.GREENLET, resource=event)}
    s.switch(alice)
    at["bob woken"] = s.wake(bob, Waker.GREENLET, resource=other)
    at["alice parks"] = s.park(2, op=Op.SLEEP)
    s.tick(MS)
    at["by timer"] = s.wake(alice, Waker.TIMER, other=7)
    return s.open(), at | {"alice": alice, "bob": bob, "main": s.main}


def test_b_leads_from_waker_to_waker(story: tuple[Trace, dict[str, int]]) -> None:
    trace, at = story
    found = jumps.waker_of(trace, place(trace.end_ns, at["bob"]))
    assert found is not None
    assert (found.event, found.greenlet) == (at["bob woken"], at["alice"])
    found = jumps.waker_of(trace, place(found.t_ns, at["alice"], found.event))
    assert found is not None
    assert (found.event, found.greenlet) == (at["alice woken"], at["main"])
    assert jumps.waker_of(trace, place(found.t_ns, at["main"], found.event)) is None


def test_a_timer_that_woke_it_is_a_moment_and_nobody(story: tuple[Trace, dict[str, int]]) -> None:
    trace, at = story
    found = jumps.waker_of(trace, place(trace.end_ns, at["alice"]))
    assert found is not None
    assert (found.event, found.greenlet) == (at["by timer"], None)


def test_shift_b_leads_to_whom_it_wakes(story: tuple[Trace, dict[str, int]]) -> None:
    trace, at = story
    found = jumps.woken_by(trace, place(trace.start_ns, at["alice"]))
    assert found is not None
    assert (found.event, found.greenlet) == (at["bob woken"], at["bob"])


def test_stepping_over_the_events_of_one_greenlet_and_back_meets_the_same(story: tuple[Trace, dict[str, int]]) -> None:
    trace, at = story
    here = place(trace.start_ns - 1, at["bob"])
    there: list[int] = []
    while (found := jumps.event_of(trace, here, forward=True)) is not None:
        assert found.event is not None
        there.append(found.event)
        here = place(found.t_ns, at["bob"], found.event)
    back = [there[-1]]
    while (found := jumps.event_of(trace, here, forward=False)) is not None:
        assert found.event is not None
        back.append(found.event)
        here = place(found.t_ns, at["bob"], found.event)
    assert back == there[::-1]
    named = [i for i, e in enumerate(trace.events()) if e["greenlet"] == at["bob"] and not e["flags"] & 0x80]
    assert set(named) <= set(there)


def test_a_change_of_state_is_where_the_switch_was(story: tuple[Trace, dict[str, int]]) -> None:
    trace, at = story
    # At the very end it was woken; before that moment it parked.
    found = jumps.change_of(trace, place(trace.end_ns, at["alice"]), forward=False)
    assert found is not None
    assert found.event == at["alice parks"]
    found = jumps.change_of(trace, place(found.t_ns, at["alice"], found.event), forward=True)
    assert found is not None
    assert found.event == at["by timer"]
    assert jumps.change_of(trace, place(trace.end_ns, at["alice"]), forward=True) is None


def test_any_event_is_one_number_away(story: tuple[Trace, dict[str, int]]) -> None:
    trace, at = story
    found = jumps.event_near(trace, place(trace.end_ns, at["alice"], trace.event_count - 1), forward=False)
    assert found is not None
    assert found.event == trace.event_count - 2
    assert jumps.event_near(trace, place(trace.end_ns, at["alice"], trace.event_count - 1), forward=True) is None
    assert jumps.event_near(trace, place(trace.start_ns, at["alice"], 0), forward=False) is None
