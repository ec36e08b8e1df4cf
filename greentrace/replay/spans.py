"""Spans: one greenlet in one state from t0 to t1, and how much time was spent in which state.

    edges     e0        e1        e2        e3          F(t) = ns spent in each state up to t
    states    |PPPPPPPPP|PRRRPPPPP|PPPRRRRRR|           a cell is F(e1) - F(e0): exact, for a window of any width

In:  a `History`, keys of greenlets, a window.
Out: `Span`s of one greenlet; exact ns per state and cell of many.
Never: a look at what lies between the edges: `timelines` knows F at any moment. The spans alone look at records, at their ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from greentrace.events import Kind, State, Waker
from greentrace.replay.history import History
from greentrace.replay.index import Array
from greentrace.replay.model import Key, Span, key_of, split_key
from greentrace.replay.packing import NEVER, STATE_OF
from greentrace.replay.process import ProcessHistory
from greentrace.replay.timelines import ABSENT, Frame

# ---- changes


class Changes(NamedTuple):
    """Changes of state of one greenlet, in order: moments u64, codes as in `packing`; `is_event`: an event made it, not a gap or a
    keyframe. `nth`: which of the greenlet's changes of that very moment it is, counted from the last one where it is negative."""

    t_ns: Array
    codes: Array
    is_event: Array
    nth: Array

    @property
    def states(self) -> Array:
        return STATE_OF[self.codes]


def changes(history: History, key: Key, t0_ns: int | None = None, t1_ns: int | None = None, around: int = 0) -> Changes:
    """Return the changes of state of a greenlet.

    With a window at least those in [t0, t1] and the last one before it, and `around` more on either side.
    """
    process, number = split_key(key)
    h = history.histories[process]
    t_ns, codes, said = h.timelines.changes(number, t0_ns, t1_ns, around)
    life = h.ages.greenlet(number)
    if life is not None and life.born_ns is not None:
        # Who is not born yet is not UNKNOWN either.
        begun = np.maximum.accumulate(~said)
        t_ns, codes, said = t_ns[begun], codes[begun], said[begun]
    found = Changes(t_ns, codes, ~said, _nth(t_ns, said))
    # What lasts no time at a gap's end, and what changes nothing, is no span.
    keep = np.ones(len(t_ns), bool)
    keep[:-1] = (t_ns[1:] != t_ns[:-1]) | found.is_event[:-1]
    found = Changes(*(column[keep] for column in found))
    states = found.states
    keep = np.ones(len(states), bool)
    keep[1:] = states[1:] != states[:-1]
    return Changes(*(column[keep] for column in found))


def _nth(t_ns: Array, said: Array) -> Array:
    nth = np.zeros(len(t_ns), np.int64)
    at = np.flatnonzero(~said)
    moments = t_ns[at]
    first = np.searchsorted(moments, moments, "left")
    nth[at] = np.arange(len(at)) - first
    # A window may begin in the middle of a moment.
    early = at[first == 0]
    nth[early] -= len(early)
    return nth


def positions(history: History, key: Key, found: Changes) -> Array:
    """Return the positions in their process of the events that made these changes, i64; -1 where none did."""
    process, number = split_key(key)
    at = np.full(len(found.t_ns), -1)
    some = np.flatnonzero(found.is_event)
    at[some] = history.histories[process].positions(number, found.t_ns[some], found.nth[some])
    return at


# ---- spans


def spans(history: History, key: Key, t0_ns: int | None = None, t1_ns: int | None = None) -> list[Span]:
    """Return the spans of a greenlet that lie in [t0, t1], clipped to it, in order; all of them without a window.

    The last one lasts until the last event of the trace, unless the greenlet's object is gone.
    """
    process, _ = split_key(key)
    h = history.histories[process]
    t0_ns = history.start_ns if t0_ns is None else t0_ns
    t1_ns = history.end_ns if t1_ns is None else min(t1_ns, history.end_ns)
    # One more on either side: an event ends a wait, and what is there once more is no change.
    every = changes(history, key, t0_ns, t1_ns, around=2)
    first = max(int(np.searchsorted(every.t_ns, np.uint64(max(t0_ns, 0)), "right")) - 1, 0)
    last = int(np.searchsorted(every.t_ns, np.uint64(max(t1_ns, 0)), "right"))
    every = Changes(*(column[first : last + 1] for column in every))
    position, state, t_ns = positions(history, key, every), every.states, every.t_ns
    found = []
    for i in range(last - first):
        begin = max(int(t_ns[i]), t0_ns)
        end = min(int(t_ns[i + 1]) if i + 1 < len(t_ns) else history.end_ns, t1_ns)
        if state[i] == State.COLLECTED or (end <= begin and i + 1 < len(t_ns)):
            continue
        at = int(position[i])
        resource, site = _left(h, at) if at >= 0 else (None, 0)
        waker = _waker(h, int(position[i + 1])) if state[i] == State.PARKED and i + 1 < len(t_ns) else ""
        event = history.number(process, at) if at >= 0 else None
        found.append(Span(begin, end, State(int(state[i])), resource, site, event, waker))
    return found


def _left(h: ProcessHistory, at: int) -> tuple[Key | None, int]:
    """Return (what it waits for, where) as the event that began the span tells."""
    record = h.record(at)
    if record.kind in (Kind.SWITCH, Kind.THROW) and record.flags & 7 == State.PARKED:
        return key_of(h.index, record.arg & 0xFFFFFFFF), record.site
    if record.kind == Kind.PARK:
        return key_of(h.index, record.other), record.site
    return None, record.site if record.kind in (Kind.SWITCH, Kind.THROW, Kind.STATE) else 0


_WAKERS = {
    Waker.UNKNOWN: "", Waker.GREENLET: "a greenlet", Waker.TIMER: "a timer", Waker.FD: "a ready fd", Waker.THREAD: "another thread",
    Waker.CALLBACK: "a callback", Waker.PROCESS: "the end of a process", Waker.SIGNAL: "a signal",
}  # fmt: skip


def _waker(h: ProcessHistory, at: int) -> str:
    """Return who ended a wait, in a word or two, as the event after it tells."""
    if at < 0:
        return ""
    record = h.record(at)
    if record.kind in (Kind.SWITCH, Kind.THROW):
        return _label(h, record.other)
    if record.kind != Kind.WAKE:
        return ""
    what = record.flags & 0x3F
    if what == Waker.GREENLET:
        return _label(h, record.other)
    return _WAKERS[Waker(what)] if what <= max(Waker) else ""


def _label(h: ProcessHistory, number: int) -> str:
    life = h.ages.greenlet(number)
    name = h.names.string(life.name or life.function) if life else ""
    return name or ("hub" if life and life.is_hub else f"greenlet {number}")


# ---- time in states


def frame(history: History, keys: Sequence[Key], edges: Array) -> Frame:
    """Return how greenlets were at moments, ascending, clipped to the trace: see `Frame`."""
    edges = _clipped(history, edges)
    shape = (len(keys), len(edges))
    found = Frame(np.zeros((*shape, 8), np.uint64), np.zeros(shape, np.uint8), np.zeros(shape, np.uint64), np.full(shape, NEVER))
    for h, rows, numbers in _by_process(history, keys):
        born = h.ages.born(np.array(numbers, np.uint32))
        for into, part in zip(found, h.timelines.frame(numbers, born, history.start_ns, edges), strict=True):
            into[rows] = part
    return found


def codes_at(history: History, keys: Sequence[Key], moments: Array, wanted: Array) -> Array:
    """Return the codes of greenlets at moments, u8 [len(keys), len(moments)], where they are `wanted`; what is not is of no meaning."""
    moments = _clipped(history, moments)
    found = np.zeros((len(keys), len(moments)), np.uint8)
    for h, rows, numbers in _by_process(history, keys):
        found[rows] = h.timelines.codes(numbers, moments, wanted[rows])
    return found


def _clipped(history: History, moments: Array) -> Array:
    return np.clip(np.asarray(moments).astype(np.int64), history.start_ns, history.end_ns).astype(np.uint64)


def _by_process(history: History, keys: Sequence[Key]) -> Iterator[tuple[ProcessHistory, Array, tuple[int, ...]]]:
    """Yield (process, the indices of its keys, their numbers)."""
    processes = np.array([split_key(key)[0] for key in keys], np.int64)
    for process in np.unique(processes).tolist():
        rows = np.flatnonzero(processes == process)
        yield history.histories[process], rows, tuple(split_key(keys[row])[1] for row in rows.tolist())


def time_in_states(history: History, keys: Sequence[Key], edges: Array) -> Array:
    """Return ns as uint64 [len(keys), len(edges) - 1, 8]: the time of each greenlet in each `State` (7: not born) in each cell.

    `edges` are ascending moments in ns. A cell sums up to its width, less what lies outside the trace.
    """
    spent = frame(history, keys, edges).spent
    return np.diff(spent, axis=1) if len(edges) > 1 else spent[:, :0]


__all__ = ["ABSENT", "Changes", "Frame", "changes", "codes_at", "frame", "positions", "spans", "time_in_states"]
