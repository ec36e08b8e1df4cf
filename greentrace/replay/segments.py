"""Segments: all sealed segments of one process.

    segment     0      1      2      3      4      5        a file's segments hold their records for a while only; how things were
    end kept           x             x      x               at the end of some is kept, and from there it is worked out again

In:  segments, as they are sealed.
Out: the one that has a moment or a position; its records and how things were when it began, again.
Never: the growing one, that is `process`'s.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from greentrace.events import State
from greentrace.replay import tables
from greentrace.replay.index import Array, Changes, Columns
from greentrace.replay.naming import named_in
from greentrace.replay.rows import place
from greentrace.replay.segment import Segment, Snapshot, frozen, thawed, union
from greentrace.replay.source import Feed
from greentrace.trace import FIELDS

STATES = np.dtype([("id", "<u4"), ("state", "u1")])
NAMED = np.dtype([("id", "<u4")])
_TELLING_STATES = 1 + Columns._fields.index("other")
"""All fields up to there."""
WARM = 6
"""So many segments of a file hold their records and what was made of them."""
KEEP_BYTES = 6
"""How many bytes of a snapshot, not yet compressed, an event may cost."""
LATEST_NS = 1 << 62
"""No clock shows more, for a century: so differences and sums of moments are numbers of 64 bits."""


def ascending(t_ns: Array, least_ns: int) -> Array:
    """Return times in order: who is early counts as simultaneous with the one before, and nobody is later than `LATEST_NS`."""
    return np.minimum(np.maximum.accumulate(np.maximum(t_ns, np.uint64(least_ns))), np.uint64(LATEST_NS))


def states_of(segment: Segment) -> Array:
    """Return in which state everybody was when a segment began: `STATES`."""
    carry = segment.carry.greenlets
    rows = np.zeros(len(carry), STATES)
    rows["id"], rows["state"] = carry["id"], carry["state"]
    return rows


class Known(NamedTuple):
    """What is kept of a segment that is not held: how many records of each kind it has, [256]; in which state everybody was when it began,
    `STATES`, and which greenlets and which resources it names, two times `NAMED`, as `tables` encode them."""

    kinds: Array
    states: bytes | memoryview
    named: bytes | memoryview


def known_of(segment: Segment) -> Known:
    """Work out what is kept of a segment."""
    kinds = np.bincount(segment.columns.kind, minlength=256).astype(np.uint32)
    return Known(kinds, tables.encode([states_of(segment)]), tables.encode([_distinct(ids) for ids in named_in(segment.columns)]))


def _distinct(ids: Array) -> Array:
    """Return `NAMED` rows of distinct ids, ascending, without 0."""
    low, high = (int(ids.min()), int(ids.max())) if len(ids) else (0, 0)
    if high - low < len(ids) * 16:
        # Ids mostly lie close together: to mark them is faster than to sort them.
        there = np.zeros(high - low + 1, bool)
        there[ids - np.uint32(low)] = True
        found = np.flatnonzero(there) + low
    else:
        found = np.unique(ids)
    rows = np.zeros(int(np.count_nonzero(found)), NAMED)
    rows["id"] = found[found != 0]
    return rows


def states_after(segment: Segment, before: Array, columns: Columns) -> tuple[Array, Array]:
    """Return (ids, states) after the first records of a segment, `columns`, of everybody who is not gone."""
    ids, states = before["id"], before["state"]
    if segment.known and len(columns):
        found = Changes(columns, segment.applies(columns), ids.astype(np.uint64), states)
        ranks, index = found.latest.at(2 * len(columns))
        changed, now = found.latest.ids[ranks].astype(np.uint32), found.states[index]
        at, is_there = place(ids, changed)
        if not is_there.all():
            every = union(ids, changed)
            after = np.zeros(len(every), np.uint8)
            after[np.searchsorted(every, ids)] = states
            ids, states = every, after
            at = np.searchsorted(ids, changed)
        states = states.copy()
        states[at] = now
    there = states != State.COLLECTED
    return ids[there], states[there]


class Segments:
    """The sealed segments of one process, in order."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.all: list[Segment] = []
        self.ends: dict[int, bytes | memoryview] = {}
        """How things were at the end of a segment, by its number, `frozen`."""
        self._known: list[Known] = []
        self._since_kept = self._forgotten = 0
        self._warm: dict[int, Segment] = {}
        """Those that hold what they could let go of, by number; who was asked first lets go first."""
        self._starts: list[int] = []
        self._first_ns: list[int] = []
        self._t0_ns: list[int] = []

    def add(self, segment: Segment, known: Known | None = None) -> None:
        """Take in a segment that is sealed, and what is known of it already."""
        self.all.append(segment)
        self._starts.append(segment.first)
        self._first_ns.append(segment.first_ns)
        self._t0_ns.append(segment.t0_ns)
        self._known.append(known_of(segment) if known is None else known)
        if known is None and self._feed.keeps:
            self._since_kept += segment.count
            # Now and then: the more there is to tell, the more seldom.
            if self._since_kept * KEEP_BYTES >= segment.end.nbytes:
                self.keep_end()
            self._warmed(segment)

    def keep_end(self) -> None:
        """Keep how things were at the end of the last segment."""
        if self._feed.keeps and self.all and self.all[-1].number not in self.ends:
            self.ends[self.all[-1].number] = frozen(self.all[-1].end)
            self._since_kept = 0

    def since(self, number: int) -> tuple[list[Segment], list[Known], dict[int, bytes | memoryview]]:
        """Return (segments, what is known of each, ends) from the segment of a number on."""
        at = number - self._forgotten
        return self.all[at:], self._known[at:], {one: end for one, end in self.ends.items() if one >= number}

    def stand_on(self, number: int, known: Sequence[Known]) -> None:
        """What is kept of the segments from a number on stands somewhere else from now on."""
        self._known[number:] = known

    def forget(self) -> None:
        """Let go of all segments but the last: of the others nothing will be asked."""
        gone = max(len(self.all) - 1, 0)
        for rows in (self.all, self._known, self._starts, self._first_ns, self._t0_ns):
            del rows[:gone]
        self._forgotten += gone
        self.ends.clear()
        self._warm = {segment.number: segment for segment in self.all}

    # ---- finding

    def __len__(self) -> int:
        return self._forgotten + len(self.all)

    @property
    def start_ns(self) -> int | None:
        return self._first_ns[0] if self._first_ns else None

    def at_time(self, t_ns: int) -> Segment | None:
        """Return the segment that holds at a moment, None before the first."""
        number = bisect_right(self._t0_ns, t_ns) - 1
        return self.all[number] if number >= 0 else None

    def at_position(self, position: int) -> Segment:
        """Return the segment that has a record of this process."""
        return self.all[bisect_right(self._starts, position) - 1]

    def before_time(self, t_ns: int, with_moment: bool) -> Segment | None:
        """Return the last segment that begins before a moment, or at the moment itself."""
        number = (bisect_right(self._first_ns, t_ns) if with_moment else bisect_left(self._first_ns, t_ns)) - 1
        return self.all[number] if number >= 0 else None

    def known(self, segment: Segment) -> Known:
        """Return what is kept of a segment."""
        return self._known[segment.number - self._forgotten]

    def names(self, segment: Segment, greenlets: Collection[int], resources: Collection[int]) -> bool:
        """Whether a segment may have a record that names one of these greenlets or resources."""
        try:
            known = tables.decode(self.known(segment).named, [NAMED, NAMED])
        except ValueError:
            return True
        for rows, numbers in zip(known, (greenlets, resources), strict=True):
            if place(rows["id"], np.array(list(numbers), np.uint32))[1].any():
                return True
        return False

    # ---- having again

    def columns_of(self, segment: Segment) -> Columns:
        """Return the columns of a segment that has let go of them."""
        columns = self._again(segment, FIELDS)
        self._warmed(segment)
        return columns

    def _again(self, segment: Segment, fields: int) -> Columns:
        columns = self._feed.again(segment.first, segment.first + segment.count, fields)
        # As they were taken in: who was early counts as simultaneous with the one before.
        return Columns(ascending(columns.t_ns, segment.first_ns), *columns[1:])

    def at_begin(self, segment: Segment) -> Array:
        """Return in which state everybody was when a segment began: `STATES`, by id."""
        if "carry" not in segment.__dict__:
            with suppress(ValueError):
                return tables.decode(self.known(segment).states, [STATES])[0]
        return states_of(segment)

    def glance(self, segment: Segment, fields: int = _TELLING_STATES) -> Columns:
        """Return the first columns of a segment, those that tell of states; the others may be 0."""
        return segment.columns if "columns" in segment.__dict__ else self._again(segment, fields)

    def end_of(self, segment: Segment) -> Snapshot | None:
        """Return how things were at the end of a segment, None if that was not kept."""
        kept = self.ends.get(segment.number)
        if kept is None:
            return None
        try:
            return thawed(kept)
        except ValueError:
            del self.ends[segment.number]
            return None

    def carry_of(self, segment: Segment) -> Snapshot:
        """Return how things were when a segment began: from the last one before it whose end is kept, segment by segment."""
        way = [segment]
        while (carry := self._known_carry(way[-1])) is None:
            way.append(self.all[way[-1].number - 1 - self._forgotten])
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
        before = self.all[segment.number - 1 - self._forgotten]
        if "end" not in before.__dict__:
            end = self.end_of(before)
            if end is None:
                return None
            before.__dict__["end"] = end
        return segment.after(before)

    def _warmed(self, segment: Segment) -> None:
        self._warm[segment.number] = segment
        while len(self._warm) > WARM:
            try:
                self._warm.pop(next(iter(self._warm))).cool()
            except (KeyError, RuntimeError):
                # Another thread did the same just now.
                continue
