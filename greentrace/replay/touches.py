"""Touches: how often something was done to each resource in a window, and when last.

    window             a |-----------------------| t
    segments      |  cut    |  whole  |  whole  |  cut   |        what whole ones have is kept, so that a cursor may move

In:  a `History`, a kind of event whose `other` is a resource (FD_READY, ACQUIRE, PUT, ...), a window [a, t].
Out: for a resource, how many events of the kind named it in the window, and when the last of them was; None where that is too much to
look through at once.
Never: a look at one record at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from greentrace.events import Kind
from greentrace.replay.history import History
from greentrace.replay.index import Array
from greentrace.replay.model import Key, split_key
from greentrace.replay.process import ProcessHistory
from greentrace.replay.segment import Segment

MOST = 1 << 22
"""A window of more events than this is not looked through."""
_KEPT = 256


class _Found(NamedTuple):
    """Resources, ascending; how many events named each; when the last of them was, ns."""

    resources: Array
    counts: Array
    last_ns: Array


class Touches:
    """The events of each kind by resource."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._whole: dict[tuple[int, int, Kind], _Found] = {}
        self._asked: tuple[tuple[int, Kind, int, int, int], _Found | None] | None = None

    def within(self, kind: Kind, resource: Key, a_ns: int, t_ns: int) -> tuple[int, int | None] | None:
        """Return (how many events of the kind named the resource in [a, t], when the last of them was); None if nobody knows yet."""
        process, number = split_key(resource)
        key = (process, kind, a_ns, t_ns, self._history.version)
        if self._asked is None or self._asked[0] != key:
            self._asked = (key, self._look(self._history.histories[process], kind, a_ns, t_ns))
        found = self._asked[1]
        if found is None:
            return None
        at = int(np.searchsorted(found.resources, np.uint32(number)))
        if at == len(found.resources) or int(found.resources[at]) != number:
            return 0, None
        return int(found.counts[at]), int(found.last_ns[at])

    def _look(self, h: ProcessHistory, kind: Kind, a_ns: int, t_ns: int) -> _Found | None:
        begin, end = h.count_until(a_ns, "left"), h.count_until(t_ns, "right")
        if end - begin > MOST:
            return None
        parts = []
        for segment in h.having(kind):
            low, high = max(begin - segment.first, 0), min(end - segment.first, segment.count)
            if low < high:
                parts.append(self._of(h, segment, kind) if high - low == segment.count else _found(segment, kind, low, high))
        return _joined(parts)

    def _of(self, h: ProcessHistory, segment: Segment, kind: Kind) -> _Found:
        if segment is h.tail:
            return _found(segment, kind, 0, segment.count)
        key = (h.index, segment.number, kind)
        if key not in self._whole:
            while len(self._whole) >= _KEPT:
                del self._whole[next(iter(self._whole))]
            self._whole[key] = _found(segment, kind, 0, segment.count)
        return self._whole[key]


def _found(segment: Segment, kind: Kind, low: int, high: int) -> _Found:
    columns = segment.columns.slice(low, high)
    at = np.flatnonzero(columns.kind == kind)
    return _joined([_Found(columns.other[at], np.ones(len(at), np.int64), columns.t_ns[at])])


def _joined(parts: list[_Found]) -> _Found:
    """Return several as one; a later one comes after an earlier one."""
    nothing = _Found(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.uint64))
    every = _Found(*(np.concatenate(column) for column in zip(nothing, *parts, strict=True)))
    resources, at = np.unique(every.resources, return_inverse=True)
    counts, last_ns = np.zeros(len(resources), np.int64), np.zeros(len(resources), np.uint64)
    np.add.at(counts, at, every.counts)
    np.maximum.at(last_ns, at, every.last_ns)
    return _Found(resources, counts, last_ns)
