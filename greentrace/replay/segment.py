"""Segment: a stretch of records, and what was so when it began.

    segment 0            segment 1            segment 2
    records | index      records | index      records | index
    carry: nothing       carry: a Snapshot    carry: a Snapshot        snapshot at p = carry + what the index says up to p

In:  columns of records; the `Snapshot` at the end of the segment before.
Out: the `Snapshot` at any position: rows of numbers, one table a thing.
Never: names, objects, opinions. Where everything is UNKNOWN (before a keyframe, after a GAP) a segment is not `known`, and
its records change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from greentrace.events import FLAG_INFERRED, FLAG_KEY, Kind, State
from greentrace.replay import tables
from greentrace.replay.index import Array, Changes, Columns, Latest, chosen

GREENLETS = np.dtype([("id", "<u4"), ("state", "u1"), ("since_ns", "<u8"), ("at", "<i8"), ("site", "<u4"), ("parked_on", "<u4")])
WAITS = np.dtype(
    [("greenlet", "<u4"), ("resource", "<u4"), ("op", "u1"), ("inferred", "?"), ("deadline_ns", "<u8"), ("site", "<u4"), ("at", "<i8")]
)
HOLDS = np.dtype([("pair", "<u8"), ("since_ns", "<u8"), ("site", "<u4"), ("inferred", "?"), ("at", "<i8")])
TIMERS = np.dtype([("id", "<u8"), ("greenlet", "<u4"), ("flags", "u1"), ("due_ns", "<u8"), ("site", "<u4")])
LISTENERS = np.dtype([("id", "<u8"), ("resource", "<u4"), ("greenlet", "<u4"), ("mode", "u1")])
POLLS = np.dtype([("id", "<u8"), ("timeout_ns", "<u8")])
_OP = 0x3F


def _none(dtype: np.dtype) -> Array:
    return np.empty(0, dtype)


@dataclass(frozen=True)
class Snapshot:
    """Everything at one position of one process, as sorted rows. A pair is `greenlet << 32 | resource`."""

    greenlets: Array = field(default_factory=lambda: _none(GREENLETS))
    waits: Array = field(default_factory=lambda: _none(WAITS))
    holds: Array = field(default_factory=lambda: _none(HOLDS))
    timers: Array = field(default_factory=lambda: _none(TIMERS))
    listeners: Array = field(default_factory=lambda: _none(LISTENERS))
    polls: Array = field(default_factory=lambda: _none(POLLS))

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, name).nbytes for name in _TABLES)

    def forgotten(self, t_ns: int) -> Snapshot:
        """Return what is left after a GAP: the greenlets, in state UNKNOWN."""
        greenlets = self.greenlets[self.greenlets["state"] != State.COLLECTED]
        greenlets["state"], greenlets["since_ns"], greenlets["at"] = State.UNKNOWN, t_ns, -1
        greenlets["site"] = greenlets["parked_on"] = 0
        return Snapshot(greenlets)


_TABLES = {"greenlets": GREENLETS, "waits": WAITS, "holds": HOLDS, "timers": TIMERS, "listeners": LISTENERS, "polls": POLLS}


def frozen(snapshot: Snapshot) -> bytes:
    """Return a snapshot as bytes."""
    return tables.encode([getattr(snapshot, name) for name in _TABLES])


def thawed(data: bytes | memoryview) -> Snapshot:
    """Return the snapshot again. Raises `ValueError` when the bytes are none."""
    return Snapshot(**dict(zip(_TABLES, tables.decode(data, list(_TABLES.values())), strict=True)))


def union(*ids: Array) -> Array:
    """Return all the ids, ascending; once each, however often and in whatever order they come."""
    every = np.concatenate(ids)
    every.sort()
    return every[np.concatenate(([True], every[1:] != every[:-1]))] if len(every) else every


def ranges(starts: Array, stops: Array) -> Array:
    """Return all the indices of the ranges, one after the other."""
    counts = np.maximum(stops - starts, 0)
    total = int(counts.sum())
    if not total:
        return np.empty(0, np.int64)
    ends = np.cumsum(counts)
    return np.arange(total) + np.repeat(starts - (ends - counts), counts)


class Origin(Protocol):
    """Where a segment gets again what it has let go of."""

    def columns_of(self, segment: Segment) -> Columns: ...

    def carry_of(self, segment: Segment) -> Snapshot: ...

    def end_of(self, segment: Segment) -> Snapshot | None: ...


@dataclass(eq=False)
class Segment:
    """`number` counts the segments of its process, `first` is the position of its first record; `t0_ns` the moment from which it counts.

    `fresh`: it begins with a keyframe that tells everything anew. `key_until`: up to there (a position in the process) records
    with FLAG_KEY belong to such a keyframe and are applied; later ones repeat what is known. `whole`: nothing is missing.
    """

    origin: Origin
    number: int
    first: int
    count: int
    first_ns: int
    last_ns: int
    t0_ns: int
    known: bool
    fresh: bool
    whole: bool
    key_until: int

    def __len__(self) -> int:
        return self.count

    @cached_property
    def columns(self) -> Columns:
        return self.origin.columns_of(self)

    @cached_property
    def carry(self) -> Snapshot:
        """How things were when it began."""
        return self.origin.carry_of(self)

    def cool(self) -> None:
        """Let go of all that can be had again."""
        for name in [name for name in self.__dict__ if name not in self.__dataclass_fields__]:
            self.__dict__.pop(name, None)

    def after(self, before: Segment) -> Snapshot:
        """Return how things were when it began, if nothing but `before` came right before it."""
        if self.known and not self.fresh:
            return before.end
        # A keyframe that tells everything: who is not in it has gone. Of a partial one, who is not in it is UNKNOWN.
        return Snapshot() if self.known and self.whole else before.end.forgotten(self.t0_ns)

    @cached_property
    def applied(self) -> Array:
        """Which records count."""
        return self.applies(self.columns)

    def applies(self, columns: Columns) -> Array:
        """Return which of its first records count."""
        if not self.known:
            return np.zeros(len(columns), bool)
        applied = (columns.flags & FLAG_KEY) == 0
        applied[: max(0, self.key_until + 1 - self.first)] = True
        return applied

    @cached_property
    def changes(self) -> Changes:
        rows = self.carry.greenlets
        return Changes(self.columns, self.applied, rows["id"].astype(np.uint64), rows["state"])

    def _latest(self, *kinds: Kind, other: bool = False) -> Latest:
        found = chosen(self.columns, self.applied, *kinds)
        return Latest((self.columns.other if other else self.columns.greenlet)[found], found)

    @cached_property
    def lefts(self) -> Latest:
        """Where each greenlet left: switches as their origin, and STATE."""
        c = self.columns
        switch = chosen(c, self.applied, Kind.SWITCH, Kind.THROW)
        told = chosen(c, self.applied, Kind.STATE)
        ids, at = np.concatenate([c.other[switch], c.greenlet[told]]), np.concatenate([switch, told])
        return Latest(ids[ids != 0], at[ids != 0])

    @cached_property
    def sites(self) -> Latest:
        """The same, where a site was told: the hub and the dead leave from nowhere, and where they were seen last stays."""
        at = self.lefts.positions
        at = at[self.columns.site[at] != 0]
        c = self.columns
        return Latest(np.where(c.kind[at] == Kind.STATE, c.greenlet[at], c.other[at]), at)

    @cached_property
    def fresh_waits(self) -> Latest:
        """Where a new wait may begin: a greenlet ran, was left RUNNABLE, or its state was told."""
        c = self.columns
        switch = chosen(c, self.applied, Kind.SWITCH, Kind.THROW)
        runnable = switch[(c.flags[switch] & 7) == State.RUNNABLE]
        told = chosen(c, self.applied, Kind.STATE)
        return Latest(np.concatenate([c.greenlet[switch], c.other[runnable], c.greenlet[told]]), np.concatenate([switch, runnable, told]))

    @cached_property
    def parks(self) -> Latest:
        return self._latest(Kind.PARK)

    @cached_property
    def timers(self) -> Latest:
        return self._latest(Kind.TIMER_ADD, Kind.TIMER_CANCEL, Kind.TIMER_FIRE, other=True)

    @cached_property
    def polls(self) -> Latest:
        return self._latest(Kind.POLL_BEGIN, Kind.POLL_END)

    @cached_property
    def listeners(self) -> Latest:
        c = self.columns
        found = chosen(c, self.applied, Kind.FD_ADD, Kind.FD_REMOVE)
        return Latest(self._listener_ids(found), found)

    def _listener_ids(self, found: Array) -> Array:
        c = self.columns
        # A listener without a number is known by its fd and its mode.
        unnumbered = np.uint64(1 << 63) | c.other[found].astype(np.uint64) << np.uint64(8) | c.flags[found].astype(np.uint64) & np.uint64(3)
        return np.where(c.arg[found] != 0, c.arg[found], unnumbered)

    @cached_property
    def holds(self) -> tuple[Latest, Array, Array]:
        """(records by pair, how often the pair is held after each, how many ACQUIREs of the pair came up to each).

        A RELEASE of what is not held changes nothing: the depth is a walk reflected at 0.
        """
        c = self.columns
        acquire = chosen(c, self.applied, Kind.ACQUIRE)
        release = chosen(c, self.applied, Kind.RELEASE)
        release = release[(c.arg[release] != 0) & (c.arg[release] < 1 << 32)]
        shift = np.uint64(32)
        pairs = np.concatenate([c.greenlet[acquire].astype(np.uint64), c.arg[release]]) << shift
        pairs |= np.concatenate([c.other[acquire], c.other[release]]).astype(np.uint64)
        latest = Latest(pairs, np.concatenate([acquire, release]))
        if not len(latest.keys):
            return latest, np.empty(0, np.int64), np.empty(0, np.int64)
        gained = c.kind[latest.positions] == Kind.ACQUIRE
        run = (latest.keys >> shift).astype(np.int64)
        held = self.carry.holds["pair"]
        carried = np.searchsorted(held, latest.ids, "right") - np.searchsorted(held, latest.ids, "left")
        walk = np.cumsum(np.where(gained, 1, -1))
        walk += carried[run] - (walk[latest.starts] - np.where(gained[latest.starts], 1, -1))[run]
        # Each run lies far below the one before it, so that one running minimum serves them all.
        below = run * (2 * len(walk) + int(carried.max(initial=0)) + 2)
        lowest = np.minimum.accumulate(np.minimum(walk, 0) - below) + below
        acquired = np.cumsum(gained)
        acquired -= (acquired[latest.starts] - gained[latest.starts])[run]
        return latest, walk - np.minimum(lowest, 0), acquired

    # ---- the snapshot at a position

    def at(self, p: int) -> Snapshot:
        """Return how things were just after record `p` of this segment; -1 is its beginning."""
        if p < 0 or not self.known:
            return self.carry
        greenlets = self._greenlets(p)
        waits, holds = self._waits(p), self._holds(p)
        gone = greenlets["id"][greenlets["state"] == State.COLLECTED]
        ended = greenlets["id"][greenlets["state"] >= State.FINISHED]
        waits = waits[~np.isin(waits["greenlet"], ended)]
        # Who is gone and still holds something is part of the picture.
        forgotten = np.setdiff1d(gone, (holds["pair"] >> np.uint64(32)).astype(np.uint32))
        greenlets = greenlets[~np.isin(greenlets["id"], forgotten)]
        return replace(
            self.carry,
            greenlets=greenlets,
            waits=waits,
            holds=holds,
            timers=self._timers(p),
            listeners=self._listeners(p),
            polls=self._polls(p),
        )

    @cached_property
    def end(self) -> Snapshot:
        """How things were after its last record."""
        kept = self.origin.end_of(self)
        return self.at(len(self) - 1) if kept is None else kept

    def _greenlets(self, p: int) -> Array:
        c, old = self.columns, self.carry.greenlets
        rank, index = self.changes.latest.at(2 * p + 1)
        changed = self.changes.latest.ids[rank].astype(np.uint32)
        left_rank, left_index = self.lefts.at(p)
        left = self.lefts.ids[left_rank].astype(np.uint32)
        left_at = self.lefts.positions[left_index]
        rows = np.zeros(len(ids := union(old["id"], changed, left)), GREENLETS)
        rows["id"], rows["at"], rows["since_ns"] = ids, -1, self.t0_ns
        rows[np.searchsorted(ids, old["id"])] = old
        into, at = np.searchsorted(ids, changed), self.changes.positions[index]
        told = (c.kind[at] == Kind.STATE) & (c.arg[at] != 0)
        t_ns = c.t_ns[at]
        rows["state"][into] = self.changes.states[index]
        rows["since_ns"][into] = np.where(told, np.minimum(c.arg[at], t_ns), t_ns)
        rows["at"][into] = np.where(told, -1, at + self.first)
        into = np.searchsorted(ids, left)
        switched = c.kind[left_at] != Kind.STATE
        rows["parked_on"][into] = np.where(switched, np.minimum(c.arg[left_at], 0xFFFFFFFF), 0)
        rank, index = self.sites.at(p)
        rows["site"][np.searchsorted(ids, self.sites.ids[rank].astype(np.uint32))] = c.site[self.sites.positions[index]]
        return rows

    def _waits(self, p: int) -> Array:
        c, old = self.columns, self.carry.waits
        begun_rank, begun_index = self.fresh_waits.at(p)
        begun = self.fresh_waits.ids[begun_rank]
        park_ranks = np.arange(len(self.parks.ids))
        since = np.full(len(park_ranks), -1)
        if len(begun):
            at = np.minimum(np.searchsorted(begun, self.parks.ids), len(begun) - 1)
            since = np.where(begun[at] == self.parks.ids, self.fresh_waits.positions[begun_index][at], -1)
        starts = self.parks.before(park_ranks, since)
        stops = self.parks.before(park_ranks, np.full(len(park_ranks), p))
        at = self.parks.positions[ranges(starts, stops)]
        new = np.zeros(len(at), WAITS)
        new["greenlet"], new["resource"], new["op"] = c.greenlet[at], c.other[at], c.flags[at] & _OP
        new["inferred"], new["deadline_ns"], new["site"] = c.flags[at] & FLAG_INFERRED != 0, c.arg[at], c.site[at]
        new["at"] = at + self.first
        old = old[~np.isin(old["greenlet"], begun)]
        # Most wait on as they did; only those of whom anything is told are put in order anew.
        told = np.isin(old["greenlet"], new["greenlet"])
        rows = np.concatenate([old[told], new])
        rows = rows[np.lexsort((rows["at"], rows["op"], rows["resource"], rows["greenlet"]))]
        # Of the same alternative told again the last one counts.
        last = np.ones(len(rows), bool)
        for name in ("greenlet", "resource", "op"):
            last[:-1] &= rows[name][1:] == rows[name][:-1]
        last[:-1] = ~last[:-1]
        rows, old = rows[last], old[~told]
        return np.insert(old, np.searchsorted(old["greenlet"], rows["greenlet"]), rows)

    def _holds(self, p: int) -> Array:
        c, old = self.columns, self.carry.holds
        latest, depth, acquired = self.holds
        rank, index = latest.at(p)
        # What is still held are the latest ACQUIREs: a RELEASE takes the oldest, as the recorder does.
        want, have = depth[index], acquired[index]
        pairs = latest.ids[rank]
        from_here = np.minimum(want, have)
        order = np.argsort(c.kind[latest.positions] != Kind.ACQUIRE, kind="stable") if len(latest.keys) else np.empty(0, np.int64)
        # Indices of the ACQUIREs alone, pair by pair: the run of pair r begins after all ACQUIREs of the pairs before.
        total = np.append(acquired[latest.starts[1:] - 1], acquired[-1:]) if len(latest.keys) else acquired
        base = (np.cumsum(total) - total)[rank]
        at = latest.positions[order[ranges(base + have - from_here, base + have)]]
        new = np.zeros(len(at), HOLDS)
        new["pair"] = c.greenlet[at].astype(np.uint64) << np.uint64(32) | c.other[at]
        key = (c.flags[at] & FLAG_KEY) != 0
        new["since_ns"] = np.where(key & (c.arg[at] != 0), np.minimum(c.arg[at], c.t_ns[at]), c.t_ns[at])
        new["site"], new["inferred"], new["at"] = c.site[at], c.flags[at] & FLAG_INFERRED != 0, at + self.first
        keep = ~np.isin(old["pair"], pairs)
        # Of what was held before, the latest `want - have` are still held.
        starts = np.searchsorted(old["pair"], pairs, "left")
        stops = np.searchsorted(old["pair"], pairs, "right")
        kept = ranges(np.maximum(stops - np.maximum(want - have, 0), starts), stops)
        rows = np.concatenate([old[keep], old[kept], new])
        return rows[np.lexsort((rows["at"], rows["pair"]))]

    def _last(self, old: Array, latest: Latest, p: int, begins: Kind) -> tuple[Array, Array, Array]:
        """Return (old rows of ids not named since, ids that stand, positions that say so)."""
        rank, index = latest.at(p)
        at = latest.positions[index]
        stands = self.columns.kind[at] == begins
        return old[~np.isin(old["id"], latest.ids[rank])], latest.ids[rank][stands], at[stands]

    def _timers(self, p: int) -> Array:
        c = self.columns
        old, ids, at = self._last(self.carry.timers, self.timers, p, Kind.TIMER_ADD)
        new = np.zeros(len(at), TIMERS)
        new["id"], new["greenlet"], new["flags"], new["due_ns"], new["site"] = ids, c.greenlet[at], c.flags[at] & _OP, c.arg[at], c.site[at]
        return np.concatenate([old, new])

    def _listeners(self, p: int) -> Array:
        c = self.columns
        old, ids, at = self._last(self.carry.listeners, self.listeners, p, Kind.FD_ADD)
        new = np.zeros(len(at), LISTENERS)
        new["id"], new["resource"], new["greenlet"], new["mode"] = ids, c.other[at], c.greenlet[at], c.flags[at] & 3
        return np.concatenate([old, new])

    def _polls(self, p: int) -> Array:
        old, ids, at = self._last(self.carry.polls, self.polls, p, Kind.POLL_BEGIN)
        new = np.zeros(len(at), POLLS)
        new["id"], new["timeout_ns"] = ids, self.columns.arg[at]
        return np.concatenate([old, new])
