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
    life = h.lives.greenlet(number)
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
    life = h.lives.greenlet(number)
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
        begin = index // STEP * STEP
        sums = self.knots[index // STEP]
        rows = np.arange(len(index))
        for k in range(STEP):
            at = begin + k
            more = np.flatnonzero(at < index)
            if not len(more):
                break
            sums[rows[more], self.states[at[more]]] += self.lasts[at[more]]
        return sums

    def one(self, index: int) -> Array:
        """The same for a single change, without the price of an array."""
        sums = self.knots[index // STEP].copy()
        begin = index // STEP * STEP
        for state, ns in zip(self.states[begin:index].tolist(), self.lasts[begin:index], strict=True):
            sums[state] += ns
        return sums


def _sums(segment: Segment) -> _Sums:
    made = segment.__dict__.get("_sums")
    if made is None:
        made = segment.__dict__["_sums"] = _Sums(segment)
    return made  # type: ignore[no-any-return]


class _Leg(NamedTuple):
    """A greenlet from the beginning of one segment to that of the next in which something happens to it.

    `spent` is F and `state` its state when the leg begins, the latter since `t_ns`; the changes of the leg are [start, stop).
    """

    segment: Segment
    t0_ns: int
    start: int
    stop: int
    spent: Array
    state: int
    t_ns: int


def _legs(history: History, h: ProcessHistory, number: int) -> list[_Leg]:
    """Return all legs of a greenlet; those of sealed segments are found once."""
    known = h.__dict__.setdefault("_legs", {})
    # A process that appears later may have begun earlier: then everything is counted from there.
    slot = (history.start_ns, number)
    count, legs = known.get(slot, (0, []))
    segments = h.segments
    for i in range(count, len(segments)):
        leg = _leg(history, h, number, segments[i], legs[-1] if legs else None)
        if leg is None:
            continue
        if i == len(segments) - 1:
            # The last segment may still grow: it is looked at anew the next time.
            known[slot] = (i, legs)
            return [*legs, leg]
        legs.append(leg)
    known[slot] = (max(len(segments) - 1, 0), legs)
    return legs  # type: ignore[no-any-return]


def _leg(history: History, h: ProcessHistory, number: int, segment: Segment, before: _Leg | None) -> _Leg | None:
    run = segment.changes.latest.run(number)
    reset = segment.fresh or not segment.known
    if run.stop == run.start and not reset:
        return None
    if before is None:
        life = h.lives.greenlet(number)
        state = ABSENT if life is not None and life.born_ns is not None else int(State.UNKNOWN)
        spent, t_ns = np.zeros(8, np.uint64), history.start_ns
    else:
        spent, state, t_ns = before.spent.copy(), before.state, before.t_ns
        if before.stop > before.start:
            found, sums = before.segment.changes, _sums(before.segment)
            spent[state] += np.uint64(int(found.t_ns[before.start]) - t_ns)
            spent += sums.one(before.stop - 1) - sums.one(before.start)
            state, t_ns = int(found.states[before.stop - 1]), int(found.t_ns[before.stop - 1])
    if reset and state != ABSENT:
        spent[state] += np.uint64(max(segment.t0_ns - t_ns, 0))
        state, t_ns = int(State.UNKNOWN), max(segment.t0_ns, t_ns)
    return _Leg(segment, segment.t0_ns, run.start, run.stop, spent, state, t_ns)


def time_in_states(history: History, keys: Sequence[Key], edges: Array) -> Array:
    """Return ns as uint64 [len(keys), len(edges) - 1, 8]: the time of each greenlet in each `State` (7: not born) in each cell.

    `edges` are ascending moments in ns. A cell sums up to its width, less what lies outside the trace.
    """
    edges = np.clip(np.asarray(edges).astype(np.int64), history.start_ns, history.end_ns).astype(np.uint64)
    until = np.zeros((len(keys), len(edges), 8), np.uint64)
    asked: dict[int, tuple[Segment, list[tuple[int, slice, Array, Array]]]] = {}
    for row, key in enumerate(keys):
        process, number = split_key(key)
        _ask(history, history.histories[process], number, edges, until[row], row, asked)
    for segment, questions in asked.values():
        # All greenlets at once: the price of a segment is paid once, not once a row.
        index = np.concatenate([last for _, _, last, _ in questions])
        spent, at = _sums(segment).at(index), 0
        for row, where, last, offset in questions:
            cells = until[row, where]
            cells += offset + spent[at : at + len(last)]
            cells[np.arange(len(last)), segment.changes.states[last]] += edges[where] - segment.changes.t_ns[last]
            at += len(last)
    return np.diff(until, axis=1) if len(edges) > 1 else until[:, :0]


def _ask(
    history: History, h: ProcessHistory, number: int, edges: Array, out: Array, row: int,
    asked: dict[int, tuple[Segment, list[tuple[int, slice, Array, Array]]]],
) -> None:  # fmt: skip
    """Fill in F at the edges where one state lasts from a leg's beginning; put the others among the questions to their segments."""
    legs = _legs(history, h, number)
    born = (life := h.lives.greenlet(number)) is not None and life.born_ns is not None
    bounds = [*np.searchsorted(edges, np.array([leg.t0_ns for leg in legs], np.uint64)).tolist(), len(edges)]
    out[: bounds[0], ABSENT if born else State.UNKNOWN] = edges[: bounds[0]] - np.uint64(history.start_ns)
    for leg, low, high in zip(legs, bounds, bounds[1:], strict=False):
        if low == high:
            continue
        times = leg.segment.changes.t_ns[leg.start : leg.stop]
        inside = np.searchsorted(times, edges[low:high], "right")
        first = low + int(np.count_nonzero(inside == 0))
        out[low:first] = leg.spent
        out[low:first, leg.state] += edges[low:first] - np.uint64(leg.t_ns)
        if first < high:
            offset = leg.spent - _sums(leg.segment).one(leg.start)
            # By slice: an offset may be less than 0, and only arrays wrap around in silence.
            offset[leg.state : leg.state + 1] += times[:1] - np.uint64(leg.t_ns)
            _, questions = asked.setdefault(id(leg.segment), (leg.segment, []))
            questions.append((row, slice(first, high), leg.start + inside[first - low :] - 1, offset))
