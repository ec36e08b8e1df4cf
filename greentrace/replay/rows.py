"""Rows: a table that has one row for each id, and grows.

In:  ids, mostly ascending as they are given out; values for some of their fields.
Out: the rows, by id.
Never: a row for an id that nobody named: an id may be any number, the memory is that of what there is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from greentrace.replay.index import Array


def place(ids: Array, wanted: Array) -> tuple[Array, Array]:
    """Return (the index among ids, ascending, of each that is wanted, any index where it is not there; whether it is there)."""
    if not len(ids):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    index = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return index, ids[index] == wanted


class Rows:
    """A table of a structured dtype with a field `id` (u32), ascending."""

    def __init__(self, dtype: np.dtype, blank: Mapping[str, int], rows: Array | None = None) -> None:
        """`blank`: what a new row has where that is not 0. `rows`: those that there are already."""
        self._blank = np.zeros(1, dtype)
        for name, value in blank.items():
            self._blank[name] = value
        self._rows = np.empty(0, dtype) if rows is None else rows
        self._ids = self._rows["id"].copy()
        self._count = len(self._rows)

    @property
    def all(self) -> Array:
        """All rows, as a view: what is assigned to its fields is kept. A row that comes later may move them."""
        return self._rows[: self._count]

    def _search(self, ids: Array) -> tuple[Array, Array]:
        """Return (the index of each id's row, of any row where there is none; whether there is one)."""
        return place(self._ids[: self._count], ids)

    def known(self, ids: Array) -> Array:
        """Return of which ids there is a row."""
        return self._search(ids)[1]

    def at(self, ids: Array) -> tuple[Array, Array]:
        """Return (a copy of the row of each id, blank where there is none; whether there is one)."""
        index, known = self._search(ids)
        rows = np.repeat(self._blank, len(ids))
        rows[known] = self._rows[index[known]]
        return rows, known

    def find(self, number: int) -> Array | None:
        """Return the row of one id, None if there is none."""
        index = int(np.searchsorted(self._ids[: self._count], np.uint32(number))) if 0 <= number < 1 << 32 else self._count
        return self._rows[index] if index < self._count and int(self._ids[index]) == number else None

    def rows_of(self, ids: Array) -> Array:
        """Return the index of each id's row; those that are new get one."""
        index, known = self._search(ids)
        if not known.all():
            self._add(np.unique(ids[~known]).astype(np.uint32))
            index, _ = self._search(ids)
        return index

    def _add(self, new: Array) -> None:
        count = self._count + len(new)
        if count > len(self._rows):
            room = max(count, len(self._rows) * 3 // 2)
            self._ids, self._rows = np.resize(self._ids, room), np.resize(self._rows, room)
        rows = np.repeat(self._blank, len(new))
        rows["id"] = new
        if self._count and new[0] < self._ids[self._count - 1]:
            into = np.searchsorted(self._ids[: self._count], new)
            self._rows[:count] = np.insert(self._rows[: self._count], into, rows)
            self._ids[:count] = np.insert(self._ids[: self._count], into, new)
        else:
            self._rows[self._count : count], self._ids[self._count : count] = rows, new
        self._count = count

    def drop(self, gone: Array) -> None:
        """Let go of the rows of which that holds."""
        kept = self.all[~gone]
        self._rows, self._ids, self._count = kept, kept["id"].copy(), len(kept)

    def lower(self, name: str, rows: Array, values: Array) -> None:
        """Let a field of some rows be at most these values, which ascend."""
        # The first of several values of one row is the least: it is assigned last.
        column = self.all[name]
        rows, values = rows[::-1], values[::-1].astype(column.dtype)
        less = values < column[rows]
        column[rows[less]] = values[less]
