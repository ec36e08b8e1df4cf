"""Present: one process just after one of its records, as rows.

In:  a `ProcessHistory`, a segment of it, a position in that.
Out: the rows of its `Snapshot`, less what is over; who waits for what and who holds it, in whichever order one needs them.
Never: an object for each: a moment may have a hundred thousand greenlets.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from greentrace.events import TIMER_CALLS, Op, State
from greentrace.replay.index import Array
from greentrace.replay.process import ProcessHistory
from greentrace.replay.segment import Segment, Snapshot, union

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

WAITING = np.dtype(
    [
        ("greenlet", "<u4"), ("resource", "<u4"), ("op", "u1"), ("inferred", "?"), ("deadline_ns", "<u8"), ("told", "?"),
        ("since_ns", "<u8"), ("at", "<i8"),
    ]
)  # fmt: skip
"""One alternative of a wait of somebody who is parked. `told` is False when no PARK said so, but the switch alone."""


class Present:
    """One process at one position: sorted rows, and what is so for the whole life of those they name."""

    def __init__(self, history: ProcessHistory, segment: Segment, p: int) -> None:
        self.history = history
        self.position = segment.first + p
        self.lives = history.ages.at(self.position)
        snapshot: Snapshot = segment.at(p)
        self.greenlets, self.timers, self.listeners, self.polls = snapshot.greenlets, snapshot.timers, snapshot.listeners, snapshot.polls
        self.known = segment.known and self.position >= segment.key_until
        self.whole = segment.whole and self.known
        told, known = self.lives.resources((snapshot.holds["pair"] & _LOW).astype(np.uint32))
        self.holds = snapshot.holds[~known | (told["disposed_at"] > self.position)]
        self._told_waits = snapshot.waits

    @cached_property
    def waits(self) -> Array:
        """`WAITING`, by greenlet; of each those that were told first."""
        parked = self.greenlets[self.greenlets["state"] == State.PARKED]
        at = np.searchsorted(parked["id"], self._told_waits["greenlet"])
        here = at < len(parked)
        here[here] = parked["id"][at[here]] == self._told_waits["greenlet"][here]
        told, since = self._told_waits[here], parked["since_ns"][at[here]]
        rows = np.zeros(len(told), WAITING)
        for name in ("greenlet", "resource", "op", "inferred", "deadline_ns", "at"):
            rows[name] = told[name]
        rows["told"], rows["since_ns"] = True, since
        # Where nothing was told of what it is parked on, the switch alone says what it waits for: there may be more.
        ids, on = parked["id"].astype(np.uint64), parked["parked_on"]
        pairs = rows["greenlet"].astype(np.uint64) << _32 | rows["resource"]
        named = np.isin(ids << _32 | on, pairs)
        more = ~np.isin(parked["id"], rows["greenlet"]) | ((on != 0) & ~named)
        extra = np.zeros(int(np.count_nonzero(more)), WAITING)
        extra["greenlet"], extra["resource"], extra["since_ns"] = parked["id"][more], on[more], parked["since_ns"][more]
        extra["op"] = np.where(on[more] == 1, Op.SWITCH, Op.WAIT)
        every = np.concatenate([rows, extra])
        return every[np.argsort(every["greenlet"], kind="stable")]

    @cached_property
    def waiting(self) -> Array:
        """The greenlet of each wait, ascending."""
        return np.ascontiguousarray(self.waits["greenlet"])

    @cached_property
    def timeouts(self) -> tuple[Array, Array]:
        """(greenlets, ascending; when the first pending timer of each is due that enters or wakes it)."""
        mine = self.timers[(self.timers["greenlet"] != 0) & (self.timers["flags"] & TIMER_CALLS == 0)]
        mine = mine[np.lexsort((mine["due_ns"], mine["greenlet"]))]
        ids, first = np.unique(mine["greenlet"], return_index=True)
        return ids, mine["due_ns"][first]

    @cached_property
    def held_by(self) -> Array:
        """The greenlet of each hold, ascending."""
        return (self.holds["pair"] >> _32).astype(np.uint32)

    @cached_property
    def held(self) -> tuple[Array, Array]:
        """(resources, ascending; the hold of each, the oldest first)."""
        resources = (self.holds["pair"] & _LOW).astype(np.uint32)
        order = np.lexsort((self.holds["since_ns"], resources))
        return resources[order], order

    @cached_property
    def waited_for(self) -> tuple[Array, Array]:
        """(resources, ascending; the wait of each, in order of arrival)."""
        rows = self.waits
        order = np.lexsort((rows["greenlet"], rows["at"], rows["since_ns"], rows["resource"]))
        return rows["resource"][order], order

    @cached_property
    def queues(self) -> tuple[Array, Array]:
        """(resources, ascending; how many greenlets wait for each)."""
        pairs = np.unique(self.waits["resource"].astype(np.uint64) << _32 | self.waits["greenlet"])
        return np.unique((pairs >> _32).astype(np.uint32), return_counts=True)

    @cached_property
    def resources(self) -> Array:
        """The ids of all resources: those that there are, and those that are used. A name for somebody's end is one while it is used."""
        used = (self.waits["resource"], (self.holds["pair"] & _LOW).astype(np.uint32), self.listeners["resource"])
        return union(self.lives.standing(self.position), *used)
