"""Timelines: what every greenlet of one process was, from its first change of state to its last.

    F(t)       ns in each state up to t, of one greenlet: time in a window is F(end) - F(begin), however many changes lie between
               RUNNING and RUNNABLE are told by the block of the last change, states that are rare by rows of their own,
               and what is left was PARKED

In:  the chapters of a process.
Out: F of many greenlets at many moments at once; all changes of one greenlet; how long everything lasted.
Never: a record. What was waited for is known by its kind, as it was told when the changes were packed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from greentrace.events import State
from greentrace.replay.chapters import IS_RARE, RARE, Book, Chapters
from greentrace.replay.index import Array
from greentrace.replay.packing import NEVER, STATE_OF, begins
from greentrace.replay.rows import place
from greentrace.replay.segment import ranges

ABSENT = 7
"""The column of F for the time before a greenlet was born."""


class _Where(NamedTuple):
    """Where the runs of some greenlets are, [chapter, greenlet]: blocks [low, high), when the first change is (`NEVER`: no run);
    `last`: of each chapter, the last one up to it that has a run, -1 for none; `next_ns`: when the first change is from that chapter on,
    with one more row for the end. `rare`: rows, and which of the greenlets they are of."""

    low: Array
    high: Array
    first_ns: Array
    last: Array
    next_ns: Array
    rare: Array
    rare_of: Array


class Timelines:
    """The timelines of one process."""

    def __init__(self, chapters: Chapters) -> None:
        self._chapters = chapters
        self._found: tuple[int, tuple[int, ...], _Where] | None = None

    def _where(self, numbers: tuple[int, ...]) -> _Where:
        """Return where the runs of some greenlets are; kept, for whoever draws them again."""
        version = self._chapters.version
        if self._found is None or self._found[:2] != (version, numbers):
            self._found = (version, numbers, self._find(numbers))
        return self._found[2]

    def _find(self, numbers: tuple[int, ...]) -> _Where:
        book = self._chapters.book()
        ids = np.array(numbers, np.uint32)
        shape = (len(book.chapters), len(ids))
        low, high = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        first_ns = np.full(shape, NEVER)
        rare, rare_of = [np.empty(0, RARE)], [np.empty(0, np.int64)]
        for number, chapter in enumerate(book.chapters):
            if len(chapter.ids):
                at, is_there = place(chapter.ids, ids)
                here = np.flatnonzero(is_there)
                low[number, here], high[number, here] = (chapter.starts[at[here] + k].astype(np.int64) + chapter.first for k in (0, 1))
                first_ns[number, here] = book.arenas[chapter.arena].blocks["t_ns"][low[number, here]]
            if len(chapter.rare):
                begin, stop = (np.searchsorted(chapter.rare_ids, ids, side) for side in ("left", "right"))
                rare.append(chapter.rare[ranges(begin, stop)])
                rare_of.append(np.repeat(np.arange(len(ids)), stop - begin))
        indices = np.arange(shape[0])[:, None]
        last = np.maximum.accumulate(np.where(first_ns != NEVER, indices, -1), axis=0) if shape[0] else low
        ends = np.concatenate([first_ns, np.full((1, len(ids)), NEVER)])
        next_ns = np.minimum.accumulate(ends[::-1], axis=0)[::-1]
        return _Where(low, high, first_ns, last, next_ns, np.concatenate(rare), np.concatenate(rare_of))

    def frame(self, numbers: tuple[int, ...], born: Array, start_ns: int, edges: Array) -> Frame:
        """Return how some greenlets were at each edge; `edges` are u64, ascending, none before `start_ns`.

        `born` says of whom the birth was seen: until then it is ABSENT, and not UNKNOWN.
        """
        spent = np.zeros((len(numbers), len(edges), 8), np.uint64)
        where, book, start = self._where(numbers), self._chapters.book(), np.uint64(start_ns)
        at = self._last_changes(where, book, edges)
        first = where.first_ns.min(axis=0) if len(book.chapters) else np.full(len(numbers), NEVER)
        begun = at.chapter >= 0
        initial = np.where(born, ABSENT, State.UNKNOWN)
        spent[np.arange(len(numbers)), :, initial] += np.where(begun, first[:, None], edges) - start
        _add_rare(spent, where, edges)
        rare = spent.sum(axis=2, dtype=np.uint64) - (first[:, None] - start)
        state = STATE_OF[at.code]
        cut, is_cut = _cuts(book, at, edges)
        # A rare state that a gap ended is among the rare stretches already.
        ended = np.where(is_cut & IS_RARE[state] & (state != State.UNKNOWN), cut - at.t_ns, np.uint64(0))
        row, edge = np.nonzero(begun)
        spent[row, edge, State.RUNNING] += at.run_ns[row, edge]
        spent[row, edge, State.RUNNABLE] += at.ready_ns[row, edge]
        parked = (at.t_ns - first[:, None]) - at.run_ns - at.ready_ns - (rare - ended)
        spent[row, edge, State.PARKED] += parked[row, edge]
        spent[row, edge, state[row, edge]] += (cut - at.t_ns - ended)[row, edge]
        spent[row, edge, State.UNKNOWN] += (edges - cut)[row, edge]
        code = np.where(begun, np.where(is_cut, np.uint8(State.UNKNOWN), at.code), initial[:, None]).astype(np.uint8)
        since = np.where(begun, np.where(is_cut, cut, at.t_ns), start)
        return Frame(spent, code, since, np.where(begun, at.next_ns, np.minimum(first[:, None], _next_cut(book, edges))))

    def codes(self, numbers: tuple[int, ...], edges: Array, wanted: Array) -> Array:
        """Return the code of each greenlet at each moment, u8 [greenlets, edges], where `wanted`; before its first change it is UNKNOWN."""
        book = self._chapters.book()
        at = self._last_changes(self._where(numbers), book, edges, wanted)
        return np.where(_cuts(book, at, edges)[1], np.uint8(State.UNKNOWN), at.code).astype(np.uint8)

    def _last_changes(self, where: _Where, book: Book, edges: Array, wanted: Array | None = None) -> _Last:
        """Return, of each greenlet, the last change at or before each edge."""
        shape = (where.low.shape[1], len(edges))
        t_ns, code, run_ns, ready_ns = (np.zeros(shape, dtype) for dtype in ("u8", "u1", "u8", "u8"))
        found = _Last(np.full(shape, -1), t_ns, code, run_ns, ready_ns, np.full(shape, NEVER))
        if not len(book.chapters):
            return found
        chapter = _chapters_at(where, book, edges)
        asked = chapter >= 0 if wanted is None else (chapter >= 0) & wanted
        for number, arena in enumerate(book.arenas):
            row, edge = np.nonzero(asked & (book.arena_of[chapter] == number))
            if not len(row):
                continue
            mine, moment = chapter[row, edge], edges[edge]
            high = where.high[mine, row]
            block = arena.last_until(where.low[mine, row], high, moment)
            at = arena.at(block, book.bases[mine], moment)
            # After the last change of a block comes the first of the next one, in this chapter or in a later one.
            follows = block + 1 < high
            following = arena.blocks["t_ns"][np.where(follows, block + 1, block)]
            later = where.next_ns[np.minimum(mine + 1, len(book.chapters)), row]
            next_ns = np.where(at.next_ns != NEVER, at.next_ns, np.where(follows, following, later))
            found.chapter[row, edge] = mine
            for into, values in zip(found[1:], (at.t_ns, at.code, at.run_ns, at.ready_ns, next_ns), strict=True):
                into[row, edge] = values
        np.minimum(found.next_ns, _next_cut(book, edges), out=found.next_ns)
        return found

    def changes(self, number: int, t0_ns: int | None = None, t1_ns: int | None = None, around: int = 0) -> tuple[Array, Array, Array]:
        """Return (t_ns, code, whether a gap said so) of the changes of one greenlet; a gap makes UNKNOWN whoever is not gone.

        With a window at least all in [t0, t1] and the last one before it, and at least `around` more on either side.
        """
        book, where = self._chapters.book(), self._where((number,))
        count = where.high[:, 0] - where.low[:, 0]
        ends = np.cumsum(count)
        first, stop = 0, int(ends[-1]) if len(ends) else 0
        if t0_ns is not None and t1_ns is not None:
            low, high = self._ordinals(book, where, ends - count, np.array([max(t0_ns, 0), max(t1_ns, 0)], np.uint64))
            # Each block has at least one change.
            first, stop = max(low - around, 0), min(high + 1 + around, stop)
        parts: list[tuple[Array, Array, Array]] = [(np.empty(0, np.uint64), np.empty(0, np.uint8), np.empty(0, bool))]
        for index, chapter in enumerate(book.chapters):
            begin, end = int(ends[index] - count[index]), int(ends[index])
            if chapter.is_reset and first <= begin and (begin < stop or t1_ns is None or chapter.t0_ns <= t1_ns):
                parts.append((np.array([chapter.t0_ns], np.uint64), np.zeros(1, np.uint8), np.ones(1, bool)))
            low, high = max(begin, first), min(end, stop)
            if low < high:
                blocks = np.arange(low - begin, high - begin) + where.low[index, 0]
                t_ns, codes = book.arenas[chapter.arena].all(blocks, np.full(len(blocks), chapter.base))
                parts.append((t_ns, codes, np.zeros(len(t_ns), bool)))
        t_ns, codes, said = (np.concatenate(column) for column in zip(*parts, strict=True))
        # A forged index may say anything.
        codes[codes == ABSENT] = State.UNKNOWN
        lasts = np.maximum.accumulate(np.where(said, 0, np.arange(len(said))))
        keep = ~(said & (codes[lasts] == State.COLLECTED))
        return t_ns[keep], codes[keep], said[keep]

    def _ordinals(self, book: Book, where: _Where, begins_at: Array, moments: Array) -> tuple[int, int]:
        """Return, of one greenlet's blocks, which ones hold its last changes at or before two moments; -1 before the first."""
        found = []
        chapters = _chapters_at(where, book, moments)[0].tolist() if len(book.chapters) else [-1, -1]
        for moment, chapter in zip(moments, chapters, strict=True):
            if chapter < 0:
                found.append(-1)
                continue
            low, high = where.low[chapter], where.high[chapter]
            block = book.arenas[book.chapters[chapter].arena].last_until(low, high, np.array([moment]))
            found.append(int(begins_at[chapter] + block[0] - low[0]))
        return found[0], found[1]

    def long_runs(self) -> Array:
        """Return all runs of at least `LONG_NS` that have ended, at a gap those who ran then: `RARE`."""
        return np.concatenate([np.empty(0, RARE), *(chapter.long for chapter in self._chapters.book().chapters)])

    def stretches(self, a_ns: int, b_ns: int) -> Iterator[tuple[float, tuple[Array, Array, Array]]]:
        """Yield (how much is done, (id, code, ns)) of all stretches of all greenlets that have part in [a, b], as far as they have."""
        book = self._chapters.book()
        if not book.chapters:
            return
        a, b = np.uint64(a_ns), np.uint64(max(a_ns, b_ns))
        ids = np.unique(np.concatenate([chapter.ids for chapter in book.chapters]))
        at = self._last_changes(self._find(tuple(ids.tolist())), book, np.array([a]))
        code = np.where(_cuts(book, at, np.array([a]))[1], np.uint8(State.UNKNOWN), at.code)[:, 0].astype(np.uint8)
        since = np.full(len(ids), a)
        for index, chapter in enumerate(book.chapters):
            if chapter.t0_ns > b_ns:
                break
            if chapter.is_reset and chapter.t0_ns > a_ns:
                yield index / len(book.chapters), (ids, code, np.uint64(chapter.t0_ns) - since)
                since = np.full(len(ids), np.uint64(chapter.t0_ns))
                code = np.where(code == State.COLLECTED, code, np.uint8(State.UNKNOWN))
            if (index + 1 < len(book.chapters) and book.t0_ns[index + 1] < a) or not len(chapter.ids):
                continue
            arena = book.arenas[chapter.arena]
            blocks = np.arange(int(chapter.starts[-1])) + chapter.first
            t_ns, codes = arena.all(blocks, np.full(len(blocks), chapter.base))
            counts = np.add.reduceat(arena.blocks["count"][blocks].astype(np.int64), chapter.starts[:-1].astype(np.int64))
            rank = np.repeat(np.searchsorted(ids, chapter.ids), counts)
            inside = (t_ns > a) & (t_ns <= b)
            rank, t_ns, codes = rank[inside], t_ns[inside], codes[inside]
            first = begins(rank)
            if not len(first):
                continue
            began, was = np.empty_like(t_ns), np.empty_like(codes)
            began[1:], was[1:] = t_ns[:-1], codes[:-1]
            began[first], was[first] = since[rank[first]], code[rank[first]]
            last = np.append(first, len(rank))[1:] - 1
            since[rank[last]], code[rank[last]] = t_ns[last], codes[last]
            yield (index + 1) / len(book.chapters), (ids[rank], was, t_ns - began)
        yield 1.0, (ids, code, b - since)


class Frame(NamedTuple):
    """How greenlets were at moments: `spent` u64 [greenlets, moments, 8], the ns in each `State` (and `ABSENT`) since the trace began;
    [greenlets, moments]: `codes` u8, `since_ns` u64 when that began, `until_ns` u64 when it ends, `NEVER` if it does not."""

    spent: Array
    codes: Array
    since_ns: Array
    until_ns: Array


class _Last(NamedTuple):
    """[greenlets, edges]: the last change, its chapter (-1: there is none), and when the next one is."""

    chapter: Array
    t_ns: Array
    code: Array
    run_ns: Array
    ready_ns: Array
    next_ns: Array


def _chapters_at(where: _Where, book: Book, edges: Array) -> Array:
    """Return the chapter [greenlets, edges] that has the last change of each at or before each edge, -1 where there is none."""
    here = np.searchsorted(book.t0_ns, edges, "right") - 1
    chapter = np.where(here >= 0, where.last[here].T, -1)
    rows = np.broadcast_to(np.arange(len(chapter))[:, None], chapter.shape)
    early = (chapter >= 0) & (where.first_ns[chapter, rows] > edges)
    return np.where(early, np.where(chapter > 0, where.last[np.maximum(chapter - 1, 0), rows], -1), chapter)


def _add_rare(spent: Array, where: _Where, edges: Array) -> None:
    """Add the stretches in rare states that have ended by each edge."""
    after = np.searchsorted(edges, where.rare["end_ns"])
    inside = after < len(edges)
    if not inside.any():
        return
    steps = np.zeros_like(spent)
    place = where.rare_of[inside], after[inside], where.rare["state"][inside]
    np.add.at(steps, place, (where.rare["end_ns"] - where.rare["begin_ns"])[inside])
    spent += np.cumsum(steps, axis=1, dtype=np.uint64)


def _cuts(book: Book, at: _Last, edges: Array) -> tuple[Array, Array]:
    """Return (when a gap ended each state, the edge itself where none did; whether one did)."""
    edges = np.broadcast_to(edges, at.t_ns.shape)
    if not len(book.resets):
        return edges, np.zeros(edges.shape, bool)
    begin = book.reset_ns[np.searchsorted(book.resets, at.chapter, "right")]
    is_cut = (begin <= edges) & (at.code != State.COLLECTED)
    return np.where(is_cut, np.maximum(begin, at.t_ns), edges), is_cut


def _next_cut(book: Book, edges: Array) -> Array:
    """Return when the next gap makes everything UNKNOWN."""
    return book.reset_ns[np.searchsorted(book.reset_ns, edges, "right")]
