"""Index: the changes of state of every greenlet, sorted so that any moment is a binary search.

    records      of one segment, in order:      p0 p1 p2 p3 p4 ...
    keys         rank of the greenlet << 32 | position << 1 | role, sorted: the life of one greenlet is one run
    states       the state from that key on, after `lifecycle.TABLE`

In:  the columns of a segment and the states that its greenlets had before.
Out: `Latest` (for each id, its last record at or before a position) and `Changes` (the states).
Never: a loop over records in Python, a state that `lifecycle` does not give.

What a record says of a greenlet is mostly final (a SWITCH tells both states). Two kinds depend on what was before: a WAKE
makes whoever does not run RUNNABLE, and a PARK makes a RUNNABLE greenlet PARKED again. Between two final records they are
resolved together: after CREATED, UNKNOWN, RUNNABLE and PARKED the last of them decides, after the others they change nothing.
A record that the grammar forbids (a lost event, or a lie) is believed if it is final, is ignored if not, and is counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from greentrace.events import FLAG_KEY, STATE_MASK, Kind, State
from greentrace.lifecycle import LEFT, TABLE, Step
from greentrace.trace import Columns

Array = npt.NDArray[Any]
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

_WAKE, _PARK, _SPAWN = 8, 9, 10
"""Ops that depend on the state before; those below are the state itself."""

_NONE = 255
NEXT = np.full((8, len(Step) + 1), _NONE, np.uint8)
for (_state, _step), _after in TABLE.items():
    NEXT[_state, _step] = _after
_ANY = len(Step)
NEXT[:, _ANY] = 0
"""`lifecycle.TABLE` as a matrix; 255 is illegal; the last column is for records that state a state outright."""

_LEFT_STEP = np.full(8, _ANY, np.uint8)
for _state, _step in LEFT.items():
    _LEFT_STEP[_state] = _step
_SOFT_STEP = {_WAKE: Step.WOKEN, _PARK: Step.PARKED, _SPAWN: Step.SPAWNED}


def order_of(ids: Array) -> Array:
    """Return the indices that sort u32 numbers; equal ones stay in their order."""
    # One sort of packed numbers is several times faster than a stable one of the indices.
    keys = ids.astype(np.uint64) << _32 | np.arange(len(ids), dtype=np.uint64)
    keys.sort()
    return (keys & _LOW).astype(np.int64)


class Latest:
    """For each id, the positions of its records, in order."""

    def __init__(self, ids: Array, positions: Array) -> None:
        """`positions` are below 2^32 and belong to `ids`, element by element; an id may be any u64."""
        if ids.dtype.itemsize <= 4:
            # One sort of packed numbers is several times faster than finding the ids first.
            self.keys = ids.astype(np.uint64) << _32 | positions.astype(np.uint64)
            self.keys.sort()
            ranks = self.keys >> _32
            begins = np.empty(len(ranks), bool)
            begins[:1] = True
            np.not_equal(ranks[1:], ranks[:-1], out=begins[1:])
            self.ids = ranks[begins]
            self.keys = (np.cumsum(begins).astype(np.uint64) - np.uint64(1)) << _32 | (self.keys & _LOW)
        else:
            self.ids, inverse = np.unique(ids.astype(np.uint64), return_inverse=True)
            self.keys = inverse.astype(np.uint64) << _32 | positions.astype(np.uint64)
            self.keys.sort()
        self._last = int(positions.max(initial=-1))
        self.ranks = np.arange(len(self.ids), dtype=np.uint64)
        self.starts = np.searchsorted(self.keys, self.ranks << _32)

    @property
    def positions(self) -> Array:
        """The positions of all records, id by id."""
        return (self.keys & _LOW).astype(np.int64)

    def at(self, position: int) -> tuple[Array, Array]:
        """Return (ranks of the ids, indices into `keys`) of the last record at or before `position`, where there is one."""
        if position < 0 or not len(self.ids):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        if position >= self._last:
            # Everybody's last one.
            found = np.append(self.starts[1:], len(self.keys)) - 1
        else:
            found = np.searchsorted(self.keys, self.ranks << _32 | np.uint64(position), "right") - 1
        some = np.flatnonzero(found >= self.starts)
        return some, found[some]

    def before(self, ranks: Array, positions: Array) -> Array:
        """Return, for each pair, the index into `keys` of the first record that lies after the position."""
        return np.searchsorted(self.keys, ranks.astype(np.uint64) << _32 | (positions + 1).astype(np.uint64))

    def run(self, number: int) -> slice:
        """Return the indices into `keys` of one id; empty if it is not here."""
        rank = int(np.searchsorted(self.ids, np.uint64(number)))
        if rank == len(self.ids) or int(self.ids[rank]) != number:
            return slice(0, 0)
        return slice(int(self.starts[rank]), int(self.starts[rank + 1]) if rank + 1 < len(self.starts) else len(self.keys))


def chosen(columns: Columns, applied: Array, *kinds: Kind) -> Array:
    """Return the positions of the records of these kinds that count."""
    mask = columns.kind == kinds[0]
    for kind in kinds[1:]:
        mask |= columns.kind == kind
    mask &= applied
    return np.flatnonzero(mask)


class Changes:
    """Every change of state in a segment; positions are doubled, so that the origin of a switch comes before its target."""

    def __init__(self, columns: Columns, applied: Array, before_ids: Array, before_states: Array) -> None:
        ids, positions, ops, steps = _ops(columns, applied)
        self.latest = latest = Latest(ids, positions)
        # A doubled position has one op: that finds the ops in the order of the keys.
        by_position = np.zeros((2, 2 * len(columns)), np.uint8)
        by_position[0, positions] = ops
        by_position[1, positions] = steps
        ops, steps = by_position[:, latest.positions]
        before = np.zeros(len(latest.ids), np.uint8)
        if len(before_ids):
            at = np.minimum(np.searchsorted(before_ids, latest.ids), len(before_ids) - 1)
            same = before_ids[at] == latest.ids
            before[same] = before_states[at[same]]
        run = (latest.keys >> _32).astype(np.int64)
        states, previous = _resolve(ops, run, latest.starts, before)
        self.contradictions = int(np.count_nonzero(NEXT[previous, steps] == _NONE))
        # Only what changes a state: a second WAKE does not begin a new span.
        keep = states != previous
        latest.keys = latest.keys[keep]
        latest.starts = np.searchsorted(latest.keys, latest.ranks << _32)
        self.states = states[keep]
        self.positions = latest.positions >> 1
        self.t_ns = columns.t_ns[self.positions]


def _ops(columns: Columns, applied: Array) -> tuple[Array, Array, Array, Array]:
    """Return (greenlet, doubled position, op, step) of everything that records say of states."""
    parts: list[tuple[Array, Array, Array, Array]] = []

    def add(ids: Array, positions: Array, ops: Array | int, steps: Array | int) -> None:
        named = ids != 0
        count = int(np.count_nonzero(named))

        def pick(values: Array | int) -> Array:
            return values[named] if isinstance(values, np.ndarray) else np.full(count, values, np.uint8)

        parts.append((ids[named], positions[named], pick(ops), pick(steps)))

    switch = chosen(columns, applied, Kind.SWITCH, Kind.THROW)
    left = columns.flags[switch] & STATE_MASK
    # What a switch cannot turn its origin into is not known.
    left = np.where(_LEFT_STEP[left] == _ANY, np.uint8(State.UNKNOWN), left)
    add(columns.other[switch], switch * 2, left, _LEFT_STEP[left])
    add(columns.greenlet[switch], switch * 2 + 1, State.RUNNING, Step.ENTERED)
    told = chosen(columns, applied, Kind.STATE)
    states = columns.flags[told] & STATE_MASK
    add(columns.greenlet[told], told * 2, np.where(states == 7, np.uint8(0), states), _ANY)
    key = (columns.flags & FLAG_KEY) != 0
    for kind, op, step in (
        (Kind.FINISH, int(State.FINISHED), Step.FINISHED),
        (Kind.COLLECT, int(State.COLLECTED), Step.COLLECTED),
        (Kind.WAKE, _WAKE, Step.WOKEN),
        (Kind.PARK, _PARK, Step.PARKED),
        (Kind.SPAWN, _SPAWN, Step.SPAWNED),
    ):
        found = chosen(columns, applied & ~key, kind)
        add(columns.greenlet[found], found * 2, op, step)
    ids, positions, ops, steps = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ids, positions, ops, steps


def _resolve(ops: Array, run: Array, starts: Array, before: Array) -> tuple[Array, Array]:
    """Return (state after, state before) each op; `run` is the greenlet's rank of each, `before` the state at the start of each run."""
    index = np.arange(len(ops))
    first = starts[run] if len(ops) else index
    final = ops < _WAKE
    # A SPAWN is final for whoever nothing was known of.
    final |= (ops == _SPAWN) & (index == first) & (before[run] == State.UNKNOWN)
    value = np.where(ops == _SPAWN, np.uint8(State.CREATED), ops).astype(np.uint8)
    last_final = np.maximum.accumulate(np.where(final, index, -1)) if len(ops) else index
    base = np.where(last_final >= first, value[np.maximum(last_final, 0)], before[run])
    last_wake = np.maximum.accumulate(np.where(ops == _WAKE, index, -1)) if len(ops) else index
    woken = (last_wake > last_final) & (last_wake >= first)
    # The last WAKE or PARK before here; a SPAWN in the wrong place is skipped over.
    soft = (ops == _WAKE) | (ops == _PARK)
    last_soft = np.maximum.accumulate(np.where(soft, index, -1)) if len(ops) else index
    by_soft = np.where(ops[np.maximum(last_soft, 0)] == _WAKE, np.uint8(State.RUNNABLE), np.uint8(State.PARKED))
    any_soft = (last_soft > last_final) & (last_soft >= first)
    waits = (base == State.RUNNABLE) | (base == State.PARKED)
    unborn = (base == State.CREATED) | (base == State.UNKNOWN)
    states = np.where((waits & any_soft) | (unborn & woken), by_soft, base).astype(np.uint8)
    previous = np.empty_like(states)
    previous[1:] = states[:-1]
    previous[first == index] = before[run[first == index]]
    return states, previous
