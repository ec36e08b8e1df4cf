"""Lengths: how long things lasted, by group, without keeping every one of them.

    ns      0 1 2 ... 127 | 128 130 ... 254 | 256 260 ...      64 bins an octave: no bin is wider than 1.6 % of what is in it
    row     group << 12 | bin, how many, their sum, the longest one        a row for each bin that has something

In:  groups and lengths.
Out: `Lengths` of some groups: count, sum, longest and histogram are exact, percentiles to within a bin.
Never: a row a stretch: a window may have a hundred million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from greentrace.replay.index import Array
from greentrace.replay.packing import begins

GROUP_SHIFT = 12
BINS = np.dtype([("key", "<u8"), ("count", "<i8"), ("total_ns", "<i8"), ("longest_ns", "<i8")])
_BIN = np.uint64((1 << GROUP_SHIFT) - 1)
_OCTAVE = 64


def bins_of(ns: Array) -> Array:
    """Return the bin of each length, u64; `ns` is i64, not negative."""
    # `frexp` gives the number of bits; of what is longer than a hundred days the float may be rounded up to a power.
    bits = np.frexp(ns.astype(np.float64))[1]
    shift = np.maximum(bits - 7, 0)
    return (shift * _OCTAVE + (ns >> shift)).astype(np.uint64)


def longest_in(bin_: int) -> int:
    """Return the longest length that a bin takes in."""
    shift = max(bin_ // _OCTAVE - 1, 0)
    return ((bin_ - shift * _OCTAVE + 1) << shift) - 1


def merged(rows: Array) -> Array:
    """Return the rows with those of one key as one, by key."""
    rows = rows[np.argsort(rows["key"], kind="stable")]
    first = begins(rows["key"])
    out = rows[first]
    if len(first):
        out["count"], out["total_ns"] = (np.add.reduceat(rows[name], first) for name in ("count", "total_ns"))
        out["longest_ns"] = np.maximum.reduceat(rows["longest_ns"], first)
    return out


@dataclass(frozen=True, eq=False)
class Lengths:
    """So many lengths; `rows` are `BINS`, of whichever groups."""

    rows: Array

    @classmethod
    def joined(cls, parts: Iterable[Lengths]) -> Lengths:
        """Return several as one."""
        return cls(np.concatenate([np.empty(0, BINS), *(part.rows for part in parts)]))

    @property
    def count(self) -> int:
        return int(self.rows["count"].sum())

    @property
    def total_ns(self) -> int:
        return int(self.rows["total_ns"].sum())

    @property
    def longest_ns(self) -> int:
        return int(self.rows["longest_ns"].max(initial=0))

    def percentile_ns(self, percent: float) -> int:
        """Return a length that so many percent of them do not exceed, at most 1.6 % more than the least such one; 0 if there are none."""
        if not len(self.rows):
            return 0
        bins = self.rows["key"] & _BIN
        order = np.argsort(bins, kind="stable")
        counts = np.cumsum(self.rows["count"][order])
        at = int(np.searchsorted(counts, max(counts[-1] * percent / 100, 1)))
        return min(longest_in(int(bins[order[min(at, len(order) - 1)]])), self.longest_ns)

    def histogram(self) -> Array:
        """Return how many are of 2^i to 2^(i+1) ns, i from 0 to 63, i64; those of 0 ns are among the first."""
        bins = (self.rows["key"] & _BIN).astype(np.int64)
        shift = np.maximum(bins // _OCTAVE - 1, 0)
        powers = shift + np.frexp(np.maximum(bins - shift * _OCTAVE, 1).astype(np.float64))[1] - 1
        found = np.zeros(64, np.int64)
        np.add.at(found, np.minimum(powers, 63), self.rows["count"])
        return found


class Merging:
    """Rows that come in parts; those of one key are merged whenever there are twice as many as were left the last time."""

    def __init__(self, dtype: np.dtype, merge: Callable[[Array], Array]) -> None:
        self._merge = merge
        self._parts = [np.empty(0, dtype)]
        self._settled = 0

    def add(self, rows: Array) -> None:
        self._parts.append(self._merge(rows))
        if sum(map(len, self._parts)) > 2 * self._settled + (1 << 16):
            self._settled = len(self.all)

    @property
    def all(self) -> Array:
        """All rows, merged."""
        if len(self._parts) > 1:
            self._parts = [self._merge(np.concatenate(self._parts))]
        return self._parts[0]


class Tally:
    """Takes in lengths by group; a group is any number below 2^52."""

    def __init__(self) -> None:
        self._merging = Merging(BINS, merged)

    def add(self, groups: Array, ns: Array) -> None:
        """Take in a length of each group, i64, in ns, none of them negative."""
        rows = np.empty(len(ns), BINS)
        rows["key"] = groups.astype(np.uint64) << np.uint64(GROUP_SHIFT) | bins_of(ns)
        rows["count"], rows["total_ns"], rows["longest_ns"] = 1, ns, ns
        self._merging.add(rows)

    @property
    def rows(self) -> Array:
        """All of it: `BINS`, by key."""
        return self._merging.all
