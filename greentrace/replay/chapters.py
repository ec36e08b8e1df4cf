"""Chapters: the changes of state of one process, packed, a long stretch of the trace at a time.

    segments   s s s s s s s s|s s s|s s s s s|s s|s      a chapter ends at a gap, or when its runs are long enough to be packed well
    chapters   c              |c    |c        |l  |t      the last segments are packed one by one until they make a chapter

In:  the changes of each segment, greenlet by greenlet; where a gap made everything UNKNOWN.
Out: a `Book`: all chapters as they are now, and the arenas in which their blocks and bits stand.
Never: a change to a chapter that is sealed. What a new record changes is the tail alone, and that is packed when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from greentrace.events import State
from greentrace.replay.index import Array, order_of
from greentrace.replay.packing import BLOCK, NEVER, STATE_OF, Arena, Packed, begins, pack
from greentrace.replay.rows import Rows

CHAPTER_CHANGES = 1 << 19
CHAPTER_MOST = 1 << 21
"""A chapter has at least so many changes, and more while its runs are shorter than `LONG_RUN`, but no more than the second."""
LONG_RUN = 16

CARRY = np.dtype([("id", "<u4"), ("code", "u1"), ("t_ns", "<u8"), ("run_ns", "<u8"), ("ready_ns", "<u8")])
"""How a greenlet was after its last change."""
RARE = np.dtype([("id", "<u4"), ("state", "u1"), ("begin_ns", "<u8"), ("end_ns", "<u8")])
"""A stretch in a state that is neither RUNNING, RUNNABLE nor PARKED; or, among the long ones, in RUNNING."""
LONG_NS = 20_000_000
"""Who runs for so long at a time is remembered."""
IS_RARE = np.ones(8, bool)
IS_RARE[[State.RUNNING, State.RUNNABLE, State.PARKED]] = False


class Coded(NamedTuple):
    """Changes of state, greenlet by greenlet, those of each in order of time; codes as in `packing`."""

    ids: Array
    t_ns: Array
    codes: Array


class _Part(NamedTuple):
    """The changes of one segment, and what is known of each of its runs: (id, ns RUNNING, ns RUNNABLE before its first change)."""

    t0_ns: int
    changes: Coded
    runs: tuple[Array, Array, Array]
    rare: Array
    long: Array


@dataclass(frozen=True, slots=True)
class Chapter:
    """Packed changes from `t0_ns` on. `starts` count the blocks of an arena from its block `first` on; the bits begin at `base`.

    `is_reset`: it begins with everything UNKNOWN. `rare`: `RARE`, by id, and the ids once more; `long`: `RARE` too, of runs.
    """

    t0_ns: int
    is_reset: bool
    ids: Array
    starts: Array
    first: int
    base: int
    rare_ids: Array
    rare: Array
    long: Array
    arena: int = 0


class Growing:
    """A shelf in memory."""

    def __init__(self) -> None:
        self._data = np.zeros(1 << 12, np.uint8)
        self._used = 0

    @cached_property
    def arena(self) -> Arena:
        return Arena(self._data)

    def put(self, packed: Packed) -> tuple[int, int]:
        """Take in blocks and bits; return (number of the first block, first bit)."""
        blocks = packed.blocks.view(np.uint8)
        bits_at = self._used + len(blocks)
        end = bits_at + len(packed.bits) + -len(packed.bits) % BLOCK.itemsize
        if end > len(self._data):
            grown = np.zeros(max(end, 2 * len(self._data)), np.uint8)
            grown[: self._used] = self._data[: self._used]
            self._data = grown
            self.__dict__.pop("arena", None)
        self._data[self._used : bits_at] = blocks
        self._data[bits_at : bits_at + len(packed.bits)] = packed.bits
        at, self._used = self._used // BLOCK.itemsize, end
        return at, bits_at * 8

    def clear(self) -> None:
        """Forget everything; whoever still reads sees other things."""
        self._used = 0


class Book:
    """All chapters as they were when somebody asked."""

    def __init__(self, chapters: list[Chapter], arenas: list[Arena]) -> None:
        self.chapters = chapters
        self.arenas = arenas
        self.t0_ns = np.array([chapter.t0_ns for chapter in chapters], np.uint64)
        self.arena_of, self.bases = (np.array([getattr(chapter, name) for chapter in chapters], np.int64) for name in ("arena", "base"))
        self.resets = np.array([index for index, chapter in enumerate(chapters) if chapter.is_reset], np.int64)
        """The chapters that begin with everything UNKNOWN."""
        self.reset_ns = np.append(self.t0_ns[self.resets], NEVER)
        """When they begin, and `NEVER`."""


File = Callable[[int, bool, Packed, Array, Array], Chapter | None]
"""Takes (t0_ns, is_reset, changes, rare, long) of a chapter that is sealed, and may put it on a shelf of its own."""
_KEPT, _LOOSE, _TAIL = 1, 2, 3


class Chapters:
    """The chapters of one process. `version` grows whenever they change."""

    def __init__(self, file: File) -> None:
        self.version = 0
        self._file = file
        self._filed = Growing().arena
        self._sealed: list[Chapter] = []
        self._kept, self._passing = Growing(), Growing()
        self._carry: Rows | None = Rows(CARRY, {})
        """How everybody was after the last segment; None: to be worked out from the chapters."""
        self._parts: list[_Part] = []
        self._begins_reset = False
        self._loose: list[Chapter] = []
        """A chapter for each part, as far as somebody asked."""
        self._tail: tuple[int, Coded] | None = None
        self._book: Book | None = None

    # ---- taking in

    def add(self, t0_ns: int, changes: Coded) -> None:
        """Take in the changes of a segment that begins at `t0_ns`."""
        self._changed()
        self._parts.append(self._part(t0_ns, changes, commit=True))
        count = sum(len(part.changes.ids) for part in self._parts)
        if count >= CHAPTER_CHANGES:
            distinct = len(np.unique(np.concatenate([part.runs[0] for part in self._parts])))
            if count >= min(LONG_RUN * distinct, CHAPTER_MOST):
                self.seal()

    def reset(self, t0_ns: int) -> None:
        """From `t0_ns` on everything but who is gone is UNKNOWN, until something is said of it."""
        self.seal()
        rare, long = _forget(self._carried().all, t0_ns)
        # A part without changes begins the next chapter, even if nothing follows.
        empty = np.empty(0, np.uint64)
        self._parts.append(_Part(t0_ns, Coded(empty.astype(np.uint32), empty, empty.astype(np.uint8)), (empty, empty, empty), rare, long))
        self._begins_reset = True

    def set_tail(self, t0_ns: int, changes: Coded | None) -> None:
        """Show the changes of the segment that still grows, in place of those shown before."""
        self._changed()
        self._tail = None if changes is None else (t0_ns, changes)

    def seal(self) -> None:
        """Make a chapter of what is not in one."""
        self._changed()
        if not self._parts:
            return
        ids, t_ns, codes = (np.concatenate(column) for column in zip(*(part.changes for part in self._parts), strict=True))
        order = order_of(ids)
        runs, run_ns, ready_ns = (np.concatenate(column) for column in zip(*(part.runs for part in self._parts), strict=True))
        _, first = np.unique(runs, return_index=True)
        packed = pack(ids[order], t_ns[order], codes[order], run_ns[first], ready_ns[first])
        rare, long = (np.concatenate(rows) for rows in zip(*((part.rare, part.long) for part in self._parts), strict=True))
        rare = rare[order_of(rare["id"])]
        t0_ns, is_reset = self._parts[0].t0_ns, self._begins_reset
        carry = self._carried()
        carry.drop(STATE_OF[carry.all["code"]] == State.COLLECTED)
        self._parts.clear()
        self._begins_reset = False
        self._loose.clear()
        self._passing.clear()
        filed = self._file(t0_ns, is_reset, packed, rare, long)
        self._sealed.append(_chapter(t0_ns, is_reset, packed, rare, long, self._kept, _KEPT) if filed is None else filed)

    def restore(self, chapters: list[Chapter]) -> None:
        """Begin with chapters that stand on another shelf."""
        self._changed()
        self._sealed = chapters
        self._carry = None

    def stand_on(self, arena: Arena) -> None:
        """Chapters on another shelf stand in this arena."""
        self._changed()
        self._filed = arena

    def _changed(self) -> None:
        self.version += 1
        self._book = None

    def _part(self, t0_ns: int, changes: Coded, commit: bool) -> _Part:
        """Work out what the runs of a segment begin with; with `commit`, the next segment begins with what this one ends with."""
        ids, t_ns, codes = changes
        starts = begins(ids)
        numbers = ids[starts]
        before, known = self._carried().at(numbers)
        states = STATE_OF[codes]
        was = np.zeros(len(ids), np.uint8)
        was[1:], was[starts] = states[:-1], STATE_OF[before["code"]]
        since = np.zeros(len(ids), np.uint64)
        since[1:], since[starts] = t_ns[:-1], before["t_ns"]
        met = np.ones(len(ids), bool)
        met[starts] = known
        lasted = np.where(met, t_ns - since, np.uint64(0))
        rare = np.flatnonzero(met & IS_RARE[was])
        totals = []
        for name, state in (("run_ns", State.RUNNING), ("ready_ns", State.RUNNABLE)):
            spent = np.where(was == state, lasted, np.uint64(0))
            at_first = before[name] + spent[starts]
            totals.append((at_first, before[name] + (np.add.reduceat(spent, starts) if len(starts) else spent)))
        if commit:
            carry = self._carried()
            rows, ends = carry.rows_of(numbers), np.append(starts, len(ids))[1:] - 1
            table = carry.all
            table["t_ns"][rows], table["code"][rows] = t_ns[ends], codes[ends]
            table["run_ns"][rows], table["ready_ns"][rows] = totals[0][1], totals[1][1]
        runs = (numbers, totals[0][0], totals[1][0])
        long = np.flatnonzero((was == State.RUNNING) & (lasted >= LONG_NS))
        return _Part(t0_ns, changes, runs, *(_rows(ids[at], was[at], since[at], t_ns[at]) for at in (rare, long)))

    def _carried(self) -> Rows:
        if self._carry is None:
            carry = self._carry = Rows(CARRY, {})
            for chapter in self._sealed:
                if chapter.is_reset:
                    _forget(carry.all, chapter.t0_ns)
                arena = self._filed if chapter.arena == 0 else self._kept.arena
                # Of each run the last change of its last block.
                block = chapter.starts[1:].astype(np.int64) - 1 + chapter.first
                at = arena.at(block, np.full(len(block), chapter.base), np.full(len(block), NEVER - np.uint64(1)))
                rows, table = carry.rows_of(chapter.ids), carry.all
                table["t_ns"][rows], table["code"][rows], table["run_ns"][rows], table["ready_ns"][rows] = at[:4]
                carry.drop(STATE_OF[carry.all["code"]] == State.COLLECTED)
        return self._carry

    # ---- reading

    def book(self) -> Book:
        """Return all chapters as they are now."""
        if self._book is None:
            for part in self._parts[len(self._loose) :]:
                is_reset = self._begins_reset and not self._loose
                self._loose.append(_chapter(part.t0_ns, is_reset, _packed(part), part.rare, part.long, self._passing, _LOOSE))
            chapters, shelves = [*self._sealed, *self._loose], [self._kept, self._passing]
            if self._tail is not None:
                shelves.append(Growing())
                part = self._part(*self._tail, commit=False)
                chapters.append(_chapter(part.t0_ns, False, _packed(part), part.rare, part.long, shelves[-1], _TAIL))
            self._book = Book(chapters, [self._filed, *(shelf.arena for shelf in shelves)])
        return self._book


def _packed(part: _Part) -> Packed:
    return pack(*part.changes, *part.runs[1:])


def _chapter(t0_ns: int, is_reset: bool, packed: Packed, rare: Array, long: Array, shelf: Growing, arena: int) -> Chapter:
    first, base = shelf.put(packed)
    rare = rare[order_of(rare["id"])]
    return Chapter(t0_ns, is_reset, packed.ids, packed.starts, first, base, np.ascontiguousarray(rare["id"]), rare, long, arena)


def _forget(rows: Array, t0_ns: int) -> tuple[Array, Array]:
    """Make everybody UNKNOWN who is not gone, in rows of `CARRY`; return the stretches in rare states and the long runs that this ends."""
    states = STATE_OF[rows["code"]]
    at = np.flatnonzero((states != State.UNKNOWN) & (states != State.COLLECTED))
    states = states[at]
    until = np.maximum(rows["t_ns"][at], np.uint64(t0_ns))
    ended = _rows(rows["id"][at], states, rows["t_ns"][at], until)
    is_long = (states == State.RUNNING) & (until - rows["t_ns"][at] >= LONG_NS)
    for name, state in (("run_ns", State.RUNNING), ("ready_ns", State.RUNNABLE)):
        one = states == state
        rows[name][at[one]] += (until - rows["t_ns"][at])[one]
    rows["t_ns"][at], rows["code"][at] = until, State.UNKNOWN
    return ended[IS_RARE[states]], ended[is_long]


def _rows(ids: Array, states: Array, begin_ns: Array, end_ns: Array) -> Array:
    rows = np.zeros(len(ids), RARE)
    rows["id"], rows["state"], rows["begin_ns"], rows["end_ns"] = ids, states, begin_ns, end_ns
    return rows
