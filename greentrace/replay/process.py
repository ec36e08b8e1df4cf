"""Process: the records of one process, cut into segments.

In:  records and names, as a `Feed` hands them over.
Out: the segment and the position in it for a moment or for a position; what a record says.
Never: a change to a segment that is sealed. New records change the last segment alone, so a live trace costs what is new.

    sealed | sealed | void (after a GAP) | fresh (from the next keyframe on) | sealed | tail, grows
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from greentrace.events import KEYFRAME_BEGIN, KEYFRAME_END, KEYFRAME_PARTIAL, Kind
from greentrace.replay import filing, shelf, tables
from greentrace.replay.ages import Ages
from greentrace.replay.chapters import Chapter, Chapters
from greentrace.replay.index import Array, Columns
from greentrace.replay.lives import FAR
from greentrace.replay.names import Names
from greentrace.replay.packing import Packed
from greentrace.replay.parked import coded
from greentrace.replay.segment import Segment
from greentrace.replay.segments import LATEST_NS, Segments, ascending, states_after, states_of
from greentrace.replay.shelf import Shelf
from greentrace.replay.source import Feed
from greentrace.replay.timelines import Timelines

SEAL_LIVE = 1 << 15
SEAL_FILE = 1 << 16
"""Records of a segment: the last one is indexed again whenever something new came."""
MAX_TELLING = 1 << 22
"""A keyframe of more records than this is hostile."""
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

    def __init__(self, index: int, feed: Feed, live: bool, shelf: Shelf | None = None) -> None:
        """`shelf`: where chapters are kept, or were."""
        self.index = index
        self.feed = feed
        self.names = Names()
        self.ages = Ages()
        self.gaps: list[Gap] = []
        self.disorder = 0
        self.contradictions = 0
        self.sealed = Segments(feed)
        self._shelf = shelf
        self._seal_at = SEAL_LIVE if live else SEAL_FILE
        self._restarts = 0
        self._filed = 0
        self._parts: list[Columns] = []
        self._tail: Segment | None = None
        self._chapters = Chapters(self._file)
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

    def _take(self, columns: Columns) -> None:
        t_ns = columns.t_ns
        start = max(self.last_ns, int(t_ns[0])) if self.count else int(t_ns[0])
        if start != t_ns[0] or (t_ns[1:] < t_ns[:-1]).any() or t_ns[-1] > LATEST_NS:
            # Every search relies on the order.
            self.disorder += 1
            columns = Columns(ascending(t_ns, start), *columns[1:])
        done = 0
        for i in np.flatnonzero((columns.kind == Kind.GAP) | (columns.kind == Kind.KEYFRAME)).tolist():
            flags = int(columns.flags[i])
            if columns.kind[i] == Kind.GAP:
                self._append(columns.slice(done, i))
                done = i
                self._gap(int(columns.t_ns[i]), int(columns.arg[i]))
            elif flags & KEYFRAME_BEGIN and not self._whole and self._restarts < MAX_RESTARTS:
                self._append(columns.slice(done, i))
                done = i
                self._seal()
                # A chapter that ends here knows nothing of the keyframe yet.
                self._chapters.reset(int(columns.t_ns[i]))
                self._restarts += 1
                self._known = self._fresh = self._telling = True
                self._key_until = FAR
                self._tail_t0 = int(columns.t_ns[i])
            elif flags & KEYFRAME_END and self._telling:
                self._telling = False
                self._key_until = self.count + i - done
                self._whole = not flags & KEYFRAME_PARTIAL
        self._append(columns.slice(done, len(columns)))

    def _gap(self, t_ns: int, lost: int) -> None:
        was_known = self._known
        if was_known or not self.count:
            self._seal()
            # Nothing is known from the last record before the gap on.
            t0_ns = min(t_ns, self.last_ns + 1) if self.count else t_ns
            self._chapters.reset(t0_ns)
            self._tail_t0 = t0_ns
        if self.gaps and not was_known:
            self.gaps[-1] = self.gaps[-1]._replace(lost=self.gaps[-1].lost + lost)
        else:
            self.gaps.append(Gap(self.index, t_ns, lost))
        self._known = self._fresh = self._whole = self._telling = False
        self._key_until = -1

    def _append(self, columns: Columns) -> None:
        """Put records behind the tail, sealing it whenever it is long enough."""
        done = 0
        while done < len(columns):
            # Whether a keyframe is whole is known at its end: it stays in one piece until then.
            seal_at = MAX_TELLING if self._telling else self._seal_at
            room = max(seal_at - (self.count - self._tail_first), 1)
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
            if self.count - self._tail_first >= seal_at:
                self._seal()

    def _seal(self) -> None:
        tail = self.tail
        if tail is None:
            return
        # Indexed now, while nobody waits for it; the next segment needs to know how this one ends.
        tail.end  # noqa: B018
        if tail.known:
            self.contradictions += tail.changes.contradictions
        changes = coded(tail, self.ages.now)
        self.sealed.add(tail)
        self._parts, self._tail, self._tail_first, self._tail_t0 = [], None, self.count, None
        self._fresh = False
        self._chapters.add(tail.t0_ns, changes)

    def finish(self) -> None:
        """Nothing will follow: make a chapter of what is left."""
        self._seal()
        self._chapters.seal()

    # ---- the index

    def _file(self, t0_ns: int, is_reset: bool, packed: Packed, rare: Array, long: Array) -> Chapter | None:
        """A chapter was sealed: keep what belongs to it."""
        age: bytes | memoryview = self.ages.now.frozen()
        chapter = None
        if self._shelf is not None and self._shelf.is_writable:
            try:
                volume = self._shelf.append(self.index, filing.sections(self._leaf(t0_ns, is_reset, age), packed, rare, long))
            except OSError:
                # There is no room: what follows is kept in memory.
                self._shelf.discard()
            else:
                chapter = filing.chapter_of(volume)
                there = filing.filed_of(volume, self.sealed, self._filed, 0)
                self.sealed.ends.update(there.ends)
                self.sealed.stand_on(self._filed, there.known)
                age = there.age
                self._chapters.stand_on(self._shelf.arena)
            self._filed = len(self.sealed)
        self.ages.end(self.count, age)
        return chapter

    def _leaf(self, t0_ns: int, is_reset: bool, age: bytes | memoryview) -> filing.Filed:
        """Return what is filed of the chapter that ends here."""
        self.sealed.keep_end()
        segments, known, ends = self.sealed.since(self._filed)
        state = self._state() | {"t0_ns": t0_ns, "is_reset": is_reset}
        return filing.Filed(state, segments, known, ends, age, tables.encode([self.ages.now.gone()]))

    def _state(self) -> dict[str, Any]:
        """Return what is needed to go on from here."""
        blocks, chain = self.feed.mark()
        return {
            "count": self.count, "blocks": blocks, "chain": chain,
            "gaps": [(gap.t_ns, gap.lost) for gap in self.gaps], "threads": list(self.ages.now.threads.items()),
            "disorder": self.disorder, "contradictions": self.contradictions, "restarts": self._restarts, "known": self._known,
            "whole": self._whole, "telling": self._telling, "key_until": self._key_until,
        }  # fmt: skip

    def restore(self, volumes: Sequence[shelf.Volume]) -> None:
        """Begin with the chapters of an index, of which `filing.fitting` says that they are of this process.

        Raises `ValueError`, `KeyError`, `TypeError` or `OverflowError` when they make no sense; of no use then.
        """
        chapters, ends, ages, gone = [], [], [], []
        first = 0
        for volume in volumes:
            chapters.append(filing.chapter_of(volume))
            filed = filing.filed_of(volume, self.sealed, len(self.sealed), first)
            for segment, known in zip(filed.segments, filed.known, strict=True):
                self.sealed.add(segment, known)
                first += segment.count
            self.sealed.ends.update(filed.ends)
            ages.append(filed.age)
            gone.append(filed.gone)
            ends.append(first)
        state = filing.state_of(volumes[-1])
        times = [moment for segment in self.sealed.all for moment in (segment.first_ns, segment.last_ns)]
        begins = [chapter.t0_ns for chapter in chapters]
        if state["count"] != first or times != sorted(times) or begins != sorted(begins):
            raise ValueError("records that cannot be")
        self.ages.now.threads = {int(index): (int(at), int(native)) for index, (at, native) in state["threads"]}
        self.ages.restore(ends, ages, gone)
        self.gaps = [Gap(self.index, int(t_ns), int(lost)) for t_ns, lost in state["gaps"]]
        self.count = self._tail_first = first
        self.last_ns, self._key_until = self.sealed.all[-1].last_ns, int(state["key_until"])
        self.disorder, self.contradictions, self._restarts = (int(state[name]) for name in ("disorder", "contradictions", "restarts"))
        self._known, self._whole, self._telling = (bool(state[name]) for name in ("known", "whole", "telling"))
        assert self._shelf is not None
        self._chapters.restore(chapters)
        self._chapters.stand_on(self._shelf.arena)
        self._filed = len(self.sealed)
        self.feed.skip(first)

    @property
    def tail(self) -> Segment | None:
        """The segment that grows, None if it is empty."""
        if self._tail is None and self._parts:
            columns = Columns.join(self._parts)
            self._parts = [columns]
            assert self._tail_t0 is not None
            self._tail = Segment(
                self.sealed, len(self.sealed), self._tail_first, len(columns), int(columns.t_ns[0]), int(columns.t_ns[-1]), self._tail_t0,
                self._known, self._fresh, self._whole, self._key_until,
            )  # fmt: skip
            self._tail.__dict__["columns"] = columns
        return self._tail

    # ---- finding

    @property
    def segments(self) -> list[Segment]:
        tail = self.tail
        return [*self.sealed.all, tail] if tail is not None else list(self.sealed.all)

    def having(self, kind: Kind) -> list[Segment]:
        """Return the segments in which there is a record of a kind."""
        return [segment for segment in self.segments if self.counts(segment)[kind]]

    def counts(self, segment: Segment) -> Array:
        """Return how many records of each kind a segment has, [256]."""
        return np.bincount(segment.columns.kind, minlength=256) if segment is self._tail else self.sealed.known(segment).kinds

    def naming(self, greenlets: Collection[int] = (), resources: Collection[int] = ()) -> Iterator[Segment]:
        """Yield the segments that may have a record that names one of these greenlets or resources."""
        return (segment for segment in self.segments if self.may_name(segment, greenlets, resources))

    def may_name(self, segment: Segment, greenlets: Collection[int] = (), resources: Collection[int] = ()) -> bool:
        """Whether a segment may have a record that names one of these greenlets or resources."""
        return segment is self._tail or self.sealed.names(segment, greenlets, resources)

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
        start_ns = self.sealed.start_ns
        if start_ns is not None:
            return start_ns
        return int(self._parts[0].t_ns[0]) if self._parts else 0

    def at_time(self, t_ns: int) -> tuple[Segment, int] | None:
        """Return (segment, position in it) that hold at a moment, None before the first record."""
        tail = self.tail
        segment = tail if tail is not None and tail.t0_ns <= t_ns else self.sealed.at_time(t_ns)
        if segment is None:
            return None
        return segment, int(np.searchsorted(self.sealed.glance(segment, 1).t_ns, np.uint64(t_ns), "right")) - 1

    def states_at(self, t_ns: int) -> tuple[Array, Array]:
        """Return (ids, ascending; `State`s, u8) of all greenlets at a moment, as they were just after its events; of whoever is gone, none.

        It reads less than the world of that moment takes.
        """
        tail = self.tail
        segment = tail if tail is not None and tail.t0_ns <= t_ns else self.sealed.at_time(t_ns)
        if segment is None:
            return np.empty(0, np.uint32), np.empty(0, np.uint8)
        before = states_of(segment) if segment is tail else self.sealed.at_begin(segment)
        columns = self.sealed.glance(segment)
        return states_after(segment, before, columns.slice(0, int(np.searchsorted(columns.t_ns, np.uint64(t_ns), "right"))))

    def at_position(self, position: int) -> tuple[Segment, int]:
        """Return (segment, position in it) of a record of this process."""
        tail = self.tail
        segment = tail if tail is not None and position >= self._tail_first else self.sealed.at_position(position)
        return segment, position - segment.first

    def count_until(self, t_ns: int, side: str) -> int:
        """Return how many records lie before a moment: `left` without those of the very moment, `right` with them."""
        if t_ns < 0:
            return 0
        tail, with_moment = self.tail, side == "right"
        if tail is not None and (tail.first_ns < t_ns or (with_moment and tail.first_ns == t_ns)):
            segment: Segment | None = tail
        else:
            segment = self.sealed.before_time(t_ns, with_moment)
        if segment is None:
            return 0
        if segment.last_ns < t_ns or (with_moment and segment.last_ns == t_ns):
            return segment.first + segment.count
        return segment.first + int(
            np.searchsorted(self.sealed.glance(segment, 1).t_ns, np.uint64(t_ns), "right" if with_moment else "left")
        )

    def record(self, position: int) -> Record:
        """Return one record."""
        segment, p = self.at_position(position)
        return Record(*(int(column[p]) for column in segment.columns))

    def positions(self, number: int, t_ns: Array, nth: Array) -> Array:
        """Return the positions of changes of state of one greenlet: the `nth` of each moment, counted from the last if negative."""
        moments, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        least, most = (int(t_ns[0]), int(t_ns[-1])) if len(t_ns) else (0, -1)
        for segment in self.segments:
            if segment.last_ns < least or segment.first_ns > most:
                continue
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
