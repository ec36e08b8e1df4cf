"""Spans: one greenlet in one state from t0 to t1, and how much time was spent in which state.

    edges     e0        e1        e2        e3          F(t) = ns spent in each state up to t
    states    |PPPPPPPPP|PRRRPPPPP|PPPRRRRRR|           a cell is F(e1) - F(e0): exact, for a window of any width

In:  a `History`, keys of greenlets, a window.
Out: `Span`s of one greenlet; exact ns per state and cell of many.
Never: a loop over the changes of state. F stands ready at every `STEP`th change of a segment, the rest is added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from greentrace.events import Kind, State, Waker
from greentrace.replay.history import History
from greentrace.replay.index import Array
from greentrace.replay.model import Key, Span, key_of, split_key
from greentrace.replay.process import ProcessHistory
from greentrace.replay.segment import Segment

ABSENT = 7
"""The column of `time_in_states` for the time before a greenlet was born."""
STEP = 16


class _Run(NamedTuple):
    """The changes of one greenlet in one segment: indices [start, stop) into its changes, none if it has no change there."""

    segment: Segment
    start: int
    stop: int


def _runs(h: ProcessHistory, number: int) -> list[_Run]:
    found = []
    for segment in h.segments:
        run = segment.changes.latest.run(number)
        if run.stop > run.start or segment.fresh or not segment.known:
            found.append(_Run(segment, run.start, run.stop))
    return found


def changes(history: History, key: Key) -> tuple[Array, Array, Array]:
    """Return (t_ns, state, position) of every change of state of a greenlet; the position is -1 where a gap or a keyframe said so."""
    process, number = split_key(key)
    h = history.histories[process]
    times: list[Array] = [np.empty(0, np.uint64)]
    states: list[Array] = [np.empty(0, np.uint8)]
    positions: list[Array] = [np.empty(0, np.int64)]
    life = h.lives.greenlets.get(number)
    born = life is not None and life.born_ns is not None
    begun = False
    for segment, start, stop in _runs(h, number):
        if (segment.fresh or not segment.known) and (begun or not born):
            times.append(np.array([segment.t0_ns], np.uint64))
            states.append(np.array([State.UNKNOWN], np.uint8))
            positions.append(np.array([-1]))
        if stop > start:
            begun = True
            times.append(segment.changes.t_ns[start:stop])
            states.append(segment.changes.states[start:stop])
            positions.append(segment.changes.positions[start:stop] + segment.first)
    t_ns, state, position = np.concatenate(times), np.concatenate(states), np.concatenate(positions)
    # What lasts no time at a gap's end, and what changes nothing, is no span.
    keep = np.ones(len(t_ns), bool)
    keep[:-1] = (t_ns[1:] != t_ns[:-1]) | (position[:-1] >= 0)
    t_ns, state, position = t_ns[keep], state[keep], position[keep]
    keep = np.ones(len(t_ns), bool)
    keep[1:] = state[1:] != state[:-1]
    return t_ns[keep], state[keep], position[keep]


def spans(history: History, key: Key, t0_ns: int | None = None, t1_ns: int | None = None) -> list[Span]:
    """Return the spans of a greenlet that lie in [t0, t1], clipped to it, in order; all of them without a window.

    The last one lasts until the last event of the trace, unless the greenlet's object is gone.
    """
    process, _ = split_key(key)
    h = history.histories[process]
    t0_ns = history.start_ns if t0_ns is None else t0_ns
    t1_ns = history.end_ns if t1_ns is None else min(t1_ns, history.end_ns)
    t_ns, state, position = changes(history, key)
    first = max(int(np.searchsorted(t_ns, np.uint64(max(t0_ns, 0)), "right")) - 1, 0)
    last = int(np.searchsorted(t_ns, np.uint64(max(t1_ns, 0)), "right"))
    found = []
    for i in range(first, last):
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
    return {Waker.TIMER: "a timer", Waker.FD: "a ready fd", Waker.THREAD: "another thread", Waker.CALLBACK: "a callback"}.get(what, "")  # type: ignore[call-overload, no-any-return]


def _label(h: ProcessHistory, number: int) -> str:
    life = h.lives.greenlets.get(number)
    name = h.names.string(life.name or life.function) if life else ""
    return name or ("hub" if life and life.is_hub else f"greenlet {number}")


# ---- time in states


class _Sums:
    """F of one segment: at every `STEP`th change, the ns spent in each state since the first change of the segment, run by run."""

    def __init__(self, segment: Segment) -> None:
        found = segment.changes
        # From one change to the next of the same greenlet; the last of a run has no next here.
        self.lasts = np.zeros(len(found.t_ns), np.uint64)
        self.lasts[:-1] = found.t_ns[1:] - found.t_ns[:-1]
        ends = np.append(found.latest.starts[1:], len(found.t_ns)) - 1
        self.lasts[ends[ends >= found.latest.starts]] = 0
        self.states = found.states
        self.knots = np.zeros((len(self.lasts) // STEP + 1, 8), np.uint64)
        for state in range(8):
            total = np.cumsum(np.where(self.states == state, self.lasts, np.uint64(0)))
            self.knots[1:, state] = total[STEP - 1 :: STEP][: len(self.knots) - 1]

    def at(self, index: Array) -> Array:
        """Return F [len(index), 8] just before each change."""
        knot = index // STEP
        sums = self.knots[knot]
        begin = knot * STEP
        rows = np.arange(len(index))
        for k in range(STEP):
            at = begin + k
            more = np.flatnonzero(at < index)
            if not len(more):
                break
            sums[rows[more], self.states[at[more]]] += self.lasts[at[more]]
        return sums


def _sums(segment: Segment) -> _Sums:
    made = segment.__dict__.get("_sums")
    if made is None:
        made = segment.__dict__["_sums"] = _Sums(segment)
    return made  # type: ignore[no-any-return]


def time_in_states(history: History, keys: Sequence[Key], edges: Array) -> Array:
    """Return ns as uint64 [len(keys), len(edges) - 1, 8]: the time of each greenlet in each `State` (7: not born) in each cell.

    `edges` are ascending moments in ns. A cell sums up to its width, less what lies outside the trace.
    """
    edges = np.clip(np.asarray(edges).astype(np.int64), history.start_ns, history.end_ns).astype(np.uint64)
    out = np.zeros((len(keys), max(len(edges) - 1, 0), 8), np.uint64)
    for row, key in enumerate(keys):
        process, number = split_key(key)
        if len(edges) > 1:
            out[row] = np.diff(_until(history, history.histories[process], number, edges), axis=0)
    return out


def _until(history: History, h: ProcessHistory, number: int, edges: Array) -> Array:
    """Return F [len(edges), 8] of one greenlet since the trace began."""
    life = h.lives.greenlets.get(number)
    born = life is not None and life.born_ns is not None
    result = np.zeros((len(edges), 8), np.uint64)
    carry = np.zeros(8, np.uint64)
    state, t_ns = (ABSENT if born else int(State.UNKNOWN)), history.start_ns
    runs = _runs(h, number)
    low = 0
    for i, (segment, start, stop) in enumerate(runs):
        # Edges before the segment: the state before it lasts.
        high = low + int(np.searchsorted(edges[low:], np.uint64(segment.t0_ns)))
        _hold(result, edges, low, high, carry, state, t_ns)
        if (segment.fresh or not segment.known) and state != ABSENT:
            carry[state] += np.uint64(max(segment.t0_ns - t_ns, 0))
            state, t_ns = int(State.UNKNOWN), max(segment.t0_ns, t_ns)
        low = high
        if stop == start:
            continue
        sums, found = _sums(segment), segment.changes
        times = found.t_ns[start:stop]
        until = runs[i + 1].segment.t0_ns if i + 1 < len(runs) else None
        high = len(edges) if until is None else low + int(np.searchsorted(edges[low:], np.uint64(until)))
        inside = start + np.searchsorted(times, edges[low:high], "right")
        before = int(np.count_nonzero(inside == start))
        _hold(result, edges, low, low + before, carry, state, t_ns)
        carry[state] += times[0] - np.uint64(t_ns)
        base = sums.at(np.array([start]))[0]
        last = inside[before:] - 1
        rows = slice(low + before, high)
        result[rows] = carry + sums.at(last) - base
        result[np.arange(rows.start, rows.stop), found.states[last]] += edges[rows] - found.t_ns[last]
        carry = carry + sums.at(np.array([stop - 1]))[0] - base
        state, t_ns = int(found.states[stop - 1]), int(times[-1])
        low = high
    _hold(result, edges, low, len(edges), carry, state, t_ns)
    return result


def _hold(result: Array, edges: Array, low: int, high: int, carry: Array, state: int, t_ns: int) -> None:
    """Fill in edges over which one state lasts."""
    if low < high:
        result[low:high] = carry
        result[low:high, state] += edges[low:high] - np.uint64(t_ns)


