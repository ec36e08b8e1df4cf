"""Parked: what kind of thing a greenlet waited for, change by change.

In:  a `History`, the key of a greenlet.
Out: its changes of state, each with the `ResourceKind` of what it parked on there; kept for whoever draws the same lane again.
Never: a look at one record at a time; a busy greenlet has millions.
"""

from __future__ import annotations

import numpy as np

from greentrace.events import FIRST_RESOURCE, Kind, ResourceKind, State
from greentrace.replay.history import History
from greentrace.replay.index import Array
from greentrace.replay.lives import PREDEFINED
from greentrace.replay.model import Key, split_key
from greentrace.replay.process import ProcessHistory
from greentrace.replay.spans import changes

_KEPT = 256
"""So many greenlets' changes are kept."""


class Parked:
    """The changes of the greenlets of one history."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._version = -1
        self._changes: dict[Key, tuple[Array, Array, Array]] = {}
        self._kinds: dict[int, tuple[Array, Array]] = {}

    def changes(self, key: Key) -> tuple[Array, Array, Array]:
        """Return (t_ns u64, state u8, kind u8) of every change of state of a greenlet; the kind is UNKNOWN unless it parked."""
        if self._version != self._history.version:
            self._version = self._history.version
            self._changes.clear()
            self._kinds.clear()
        known = self._changes.get(key)
        if known is None:
            t_ns, state, position = changes(self._history, key)
            known = t_ns, state, self._kinds_of(self._history.histories[split_key(key)[0]], state, position)
            while len(self._changes) >= _KEPT:
                del self._changes[next(iter(self._changes))]
            self._changes[key] = known
        return known

    def _kinds_of(self, h: ProcessHistory, state: Array, position: Array) -> Array:
        found = np.zeros(len(state), np.uint8)
        wanted = np.flatnonzero((state == State.PARKED) & (position >= 0))
        ids, kinds = self._told(h)
        for segment in h.segments if len(wanted) else ():
            low, high = np.searchsorted(position[wanted], [segment.first, segment.first + len(segment)])
            here = wanted[low:high]
            at, c = position[here] - segment.first, segment.columns
            # A PARK names its resource as `other`, a switch as `arg`; a keyframe's STATE does not name it.
            switched = (c.kind[at] == Kind.SWITCH) | (c.kind[at] == Kind.THROW)
            resource = np.where(switched, c.arg[at] & np.uint64(0xFFFFFFFF), 0).astype(np.uint64)
            resource = np.where(c.kind[at] == Kind.PARK, c.other[at], resource).astype(np.uint64)
            place = np.minimum(np.searchsorted(ids, resource), len(ids) - 1)
            found[here] = np.where(ids[place] == resource, kinds[place], ResourceKind.UNKNOWN)
        return found

    def _told(self, h: ProcessHistory) -> tuple[Array, Array]:
        """Return (ids, ascending; kinds) of all resources of a process."""
        if h.index not in self._kinds:
            ids, kinds = h.lives.kinds()
            named = ids >= FIRST_RESOURCE
            self._kinds[h.index] = (
                np.concatenate([np.array(list(PREDEFINED), np.uint64), ids[named].astype(np.uint64)]),
                np.concatenate([np.array(list(PREDEFINED.values()), np.uint8), kinds[named]]),
            )
        return self._kinds[h.index]
