"""Process: the records of one process, cut into segments.

In:  records and names, as a `Feed` hands them over.
Out: the segment and the position in it for a moment or for a position; what a record says.
Never: a change to a segment that is sealed. New records change the last segment alone, so a live trace costs what is new.

    sealed | sealed | void (after a GAP) | fresh (from the next keyframe on) | sealed | tail, grows
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from greentrace.events import KEYFRAME_BEGIN, KEYFRAME_END, KEYFRAME_PARTIAL, Kind
from greentrace.replay.ages import Ages
from greentrace.replay.chapters import Chapters
from greentrace.replay.index import Array, Columns
from greentrace.replay.lives import FAR
from greentrace.replay.names import Names
from greentrace.replay.parked import coded
from greentrace.replay.segment import Segment, Snapshot, frozen, thawed
from greentrace.replay.source import Feed, Records
from greentrace.replay.timelines import Timelines

SEAL_LIVE = 1 << 15
SEAL_FILE = 1 << 16
"""Records of a segment: the last one is indexed again whenever something new came."""
WARM = 6
"""So many segments of a file hold their records and what was made of them."""
KEEP_BYTES = 6
"""How many bytes of a snapshot, not yet compressed, an event may cost."""
MAX_RESTARTS = 5000
"""After so many gaps in one process everything stays UNKNOWN: such a file is hostile or of no use."""


class Record(NamedTuple):
    """One record, as Python numbers."""

    t_ns: int
    kind: int
    flags: int
    thread: int
    greenlet: int
    other: int
    site: int
    arg: int


class Gap(NamedTuple):
    """Lost records: how many, and when it was noticed."""

    process: int
    t_ns: int
    lost: int


class ProcessHistory:
    """Everything recorded of one process."""

    def __init__(self, index: int, feed: Feed, live: bool) -> None:
        self.index = index
        self.feed = feed
        self.names = Names()
        self.ages = Ages()
        self.gaps: list[Gap] = []
        self.disorder = 0
        self.contradictions = 0
        self._seal_at = SEAL_LIVE if live else SEAL_FILE
        self._restarts = 0
        self._sealed: list[Segment] = []
        self._warm: dict[int, Segment] = {}
        """Those that hold what they could let go of, by number; who was asked first lets go first."""
        self._carries: dict[int, bytes] = {}
        self._since_carry = 0
        self._starts: list[int] = []
        self._first_ns: list[int] = []
        self._t0_ns: list[int] = []
        self._parts: list[Columns] = []
        self._tail: Segment | None = None
        self._chapters = Chapters(self._chapter_sealed)
        self._timelines = Timelines(self._chapters)
        self._shown: Segment | None = None
        self._tail_first = self.count = 0
        self.last_ns = 0
        # What holds for the tail: see `Segment`.
        self._known = self._fresh = self._whole = self._telling = False
        self._key_until = -1
        self._tail_t0: int | None = None

    # ---- taking in

    def refresh(self) -> bool:
        """Take in what is new; return whether there was anything."""
        before = self.count
        for records in self.feed.take():
            if len(records):
                self._take(records)
        data = self.feed.names()
        if data:
            self.names.feed(data)
        return self.count != before or bool(data)

    def _take(self, records: Records) -> None:
        columns = Columns.of(records)
        t_ns = columns.t_ns
        start = max(self.last_ns, int(t_ns[0])) if self.count else int(t_ns[0])
        if start != t_ns[0] or (t_ns[1:] < t_ns[:-1]).any():
            # Every search relies on the order: a record that is early counts as simultaneous with the one before it.
            self.disorder += 1
            t_ns = np.maximum(np.maximum.accumulate(t_ns), np.uint64(start))
            columns = Columns(t_ns, *columns[1:])
        done = 0
        for i in np.flatnonzero((columns.kind == Kind.GAP) | (columns.kind == Kind.KEYFRAME)).tolist():
            flags = int(columns.flags[i])
            if columns.kind[i] == Kind.GAP:
                self._append(columns.slice(done, i))
                done = i
                self._gap(int(columns.t_ns[i]), int(columns.arg[i]))
            elif flags & KEYFRAME_BEGIN and not self._whole and self._restarts < MAX_RESTARTS:
                self._restarts += 1
                self._append(columns.slice(done, i))
                done = i
                self._seal()
                self._known = self._fresh = self._telling = True
                self._key_until = FAR
                self._tail_t0 = int(columns.t_ns[i])
                self._chapters.reset(self._tail_t0)
            elif flags & KEYFRAME_END and self._telling:
                self._telling = False
                self._key_until = self.count + i - done
                self._whole = not flags & KEYFRAME_PARTIAL
        self._append(columns.slice(done, len(columns)))

    def _gap(self, t_ns: int, lost: int) -> None:
        if self.gaps and not self._known:
            self.gaps[-1] = self.gaps[-1]._replace(lost=self.gaps[-1].lost + lost)
        else:
            self.gaps.append(Gap(self.index, t_ns, lost))
        if self._known or not self.count:
            self._seal()
            # Nothing is known from the last record before the gap on.
            self._tail_t0 = min(t_ns, self.last_ns + 1) if self.count else t_ns
            self._chapters.reset(self._tail_t0)
        self._known = self._fresh = self._whole = self._telling = False
        self._key_until = -1

    def _append(self, columns: Columns) -> None:
        """Put records behind the tail, sealing it whenever it is long enough."""
        done = 0
        while done < len(columns):
            room = self._seal_at - (self.count - self._tail_first)
            part = columns.slice(done, min(len(columns), done + room))
            done += len(part)
            self._parts.append(part)
            self._tail = None
            if self._tail_t0 is None:
                self._tail_t0 = int(part.t_ns[0])
            applied = np.full(len(part), self._known) & ((part.flags & 0x80 == 0) | (np.arange(len(part)) + self.count <= self._key_until))
            self.ages.now.feed(self.count, part, applied)
            self.count += len(part)
            self.last_ns = int(part.t_ns[-1])
            if self.count - self._tail_first >= self._seal_at:
                self._seal()

    def _seal(self) -> None:
        tail = self.tail
        if tail is None:
            return
        # Indexed now, while nobody waits for it; the next segment needs to know how this one ends.
        tail.end  # noqa: B018
        if tail.known:
            self.contradictions += tail.changes.contradictions
        self._chapters.add(tail.t0_ns, coded(tail, self.ages.now))
        self._sealed.append(tail)
        self._starts.append(tail.first)
        self._first_ns.append(tail.first_ns)
        self._t0_ns.append(tail.t0_ns)
        if self.feed.keeps:
            self._keep_carry(tail)
            self._warmed(tail)
        self._parts, self._tail, self._tail_first, self._tail_t0 = [], None, self.count, None
        self._fresh = False

    def _chapter_sealed(self) -> None:
        self.ages.end(self.count)

    @property
    def tail(self) -> Segment | None:
        """The segment that grows, None if it is empty."""
        if self._tail is None and self._parts:
            columns = Columns.join(self._parts)
            self._parts = [columns]
            assert self._tail_t0 is not None
            self._tail = Segment(
                self, len(self._sealed), self._tail_first, len(columns), int(columns.t_ns[0]), int(columns.t_ns[-1]), self._tail_t0,
                self._known, self._fresh, self._whole, self._key_until,
            )  # fmt: skip
            self._tail.__dict__["columns"] = columns
        return self._tail

    # ---- having again

    def columns_of(self, segment: Segment) -> Columns:
        """Return the columns of a sealed segment that has let go of them."""
        columns = Columns.of(self.feed.again(segment.first, segment.first + segment.count))
        # As they were taken in: who was early counts as simultaneous with the one before.
        t_ns = np.maximum.accumulate(np.maximum(columns.t_ns, np.uint64(segment.first_ns)))
        self._warmed(segment)
        return Columns(t_ns, *columns[1:])

    def carry_of(self, segment: Segment) -> Snapshot:
        """Return how things were when a segment began: from the last one before it of which that is kept, segment by segment."""
        way = [segment]
        while (carry := self._known_carry(way[-1])) is None:
            way.append(self._sealed[way[-1].number - 1])
        for before, after in pairwise(reversed(way)):
            before.__dict__["carry"] = carry
            carry = after.after(before)
        return carry

    def _known_carry(self, segment: Segment) -> Snapshot | None:
        made = segment.__dict__.get("carry")
        if made is not None:
            return made  # type: ignore[no-any-return]
        if segment.number == 0 or (segment.known and segment.fresh and segment.whole):
            return Snapshot()
        kept = self._carries.get(segment.number)
        if kept is not None:
            return thawed(kept)
        before = self._sealed[segment.number - 1]
        return segment.after(before) if "end" in before.__dict__ else None

    def _keep_carry(self, segment: Segment) -> None:
        """Keep how things were when a segment began, now and then: the more there is to tell, the more seldom."""
        self._since_carry += segment.count
        if self._since_carry * KEEP_BYTES >= segment.carry.nbytes:
            self._carries[segment.number] = frozen(segment.carry)
            self._since_carry = 0

    def _warmed(self, segment: Segment) -> None:
        self._warm[segment.number] = segment
        while len(self._warm) > WARM:
            try:
                self._warm.pop(next(iter(self._warm))).cool()
            except (KeyError, RuntimeError):
                # Another thread did the same just now.
                continue

    # ---- finding

    @property
    def segments(self) -> list[Segment]:
        tail = self.tail
        return [*self._sealed, tail] if tail is not None else list(self._sealed)

    @property
    def timelines(self) -> Timelines:
        """What every greenlet was, up to the last record."""
        tail = self.tail
        if self._shown is not tail:
            self._shown = tail
            self._chapters.set_tail(self.last_ns if tail is None else tail.t0_ns, None if tail is None else coded(tail, self.ages.now))
        return self._timelines

    @property
    def start_ns(self) -> int:
        if self._first_ns:
            return self._first_ns[0]
        return int(self._parts[0].t_ns[0]) if self._parts else 0

    def _segment(self, number: int) -> Segment:
        if number < len(self._sealed):
            return self._sealed[number]
        tail = self.tail
        assert tail is not None
        return tail

    def at_time(self, t_ns: int) -> tuple[Segment, int] | None:
        """Return (segment, position in it) that hold at a moment, None before the first record."""
        tail = self.tail
        if tail is not None and tail.t0_ns <= t_ns:
            segment = tail
        else:
            number = bisect_right(self._t0_ns, t_ns) - 1
            if number < 0:
                return None
            segment = self._sealed[number]
        return segment, int(np.searchsorted(segment.columns.t_ns, np.uint64(t_ns), "right")) - 1

    def at_position(self, position: int) -> tuple[Segment, int]:
        """Return (segment, position in it) of a record of this process."""
        number = len(self._sealed) if position >= self._tail_first else bisect_right(self._starts, position) - 1
        segment = self._segment(number)
        return segment, position - segment.first

    def count_until(self, t_ns: int, side: str) -> int:
        """Return how many records lie before a moment: `left` without those of the very moment, `right` with them."""
        if t_ns < 0:
            return 0
        firsts = self._first_ns
        tail = self.tail
        if tail is not None:
            firsts = [*firsts, int(tail.columns.t_ns[0])]
        number = (bisect_right(firsts, t_ns) if side == "right" else bisect_left(firsts, t_ns)) - 1
        if number < 0:
            return 0
        segment = self._segment(number)
        t = np.uint64(min(t_ns, (1 << 64) - 1))
        return segment.first + int(np.searchsorted(segment.columns.t_ns, t, "right" if side == "right" else "left"))

    def record(self, position: int) -> Record:
        """Return one record."""
        segment, p = self.at_position(position)
        return Record(*(int(column[p]) for column in segment.columns))

    def positions(self, number: int, t_ns: Array, nth: Array) -> Array:
        """Return the positions of changes of state of one greenlet: the `nth` of each moment, counted from the last if negative."""
        moments, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for segment in self.segments:
            low, high = np.searchsorted(t_ns, [segment.first_ns, segment.last_ns + 1])
            if low < high:
                run = segment.changes.latest.run(number)
                moments.append(segment.changes.t_ns[run])
                places.append(segment.changes.positions[run] + segment.first)
        every, at = np.concatenate(moments), np.concatenate(places)
        first, stop = np.searchsorted(every, t_ns, "left"), np.searchsorted(every, t_ns, "right")
        index = np.where(nth >= 0, first + nth, stop + nth)
        there = (index >= first) & (index < stop)
        return np.where(there, np.append(at, -1)[np.where(there, index, -1)], -1)

    def columns(self, start: int, stop: int) -> Columns:
        """Return the records of [start, stop)."""
        parts = []
        for segment in self.segments:
            low, high = max(start, segment.first) - segment.first, min(stop, segment.first + len(segment)) - segment.first
            if low < high:
                parts.append(segment.columns.slice(low, high))
        if not parts:
            return Columns(*(np.empty(0, dtype) for dtype in ("u8", "u1", "u1", "u2", "u4", "u4", "u4", "u8")))
        return Columns.join(parts)
