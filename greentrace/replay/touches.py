"""Touches: when something was done to each resource.

In:  a `History`, a kind of event whose `other` is a resource (FD_READY, ACQUIRE, PUT, ...).
Out: how often it had happened to a resource by a moment, and when last.
Never: a look at one record at a time; the events of a kind are sorted by resource once for each version of the trace.
"""

from __future__ import annotations

import numpy as np

from greentrace.events import Kind
from greentrace.replay.history import History
from greentrace.replay.index import Array
from greentrace.replay.model import Key, split_key


class Touches:
    """The events of each kind by resource; made when first asked for."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._version = -1
        self._made: dict[tuple[int, Kind], tuple[Array, Array]] = {}

    def until(self, kind: Kind, resource: Key, t_ns: int) -> tuple[int, int | None]:
        """Return (how many events of the kind named the resource up to a moment, when the last of them was)."""
        if self._version != self._history.version:
            self._version = self._history.version
            self._made.clear()
        process, number = split_key(resource)
        slot = (process, kind)
        if slot not in self._made:
            self._made[slot] = self._sorted(process, kind)
        resources, times = self._made[slot]
        low, high = np.searchsorted(resources, [number, number + 1])
        count = int(np.searchsorted(times[low:high], np.uint64(max(t_ns, 0)), "right"))
        return count, int(times[low + count - 1]) if count else None

    def _sorted(self, process: int, kind: Kind) -> tuple[Array, Array]:
        parts = []
        for segment in self._history.histories[process].segments:
            at = np.flatnonzero(segment.columns.kind == kind)
            parts.append((segment.columns.other[at].astype(np.int64), segment.columns.t_ns[at]))
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.uint64)
        resources, times = (np.concatenate(column) for column in zip(*parts, strict=True))
        # Stable: the times of each resource stay in order.
        order = np.argsort(resources, kind="stable")
        return resources[order], times[order]
