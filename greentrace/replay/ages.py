"""Ages: the lives of one process, a chapter of the trace at a time.

    chapters    |    1    |    2    |    3    | now         what is gone at the end of a chapter is known in that one and in those
    lock 7      |====     |         |         |             before it in which it was there, and takes no room any more
    lock 9      |    =====|=========|==       |
    lock 12     |         |      ===|=========|====

In:  records, as they come; the end of each chapter.
Out: the `Lives` of the chapter that has a position, with the resources that were there in it; every greenlet that there ever was.
Never: all resources at once: a server makes millions, and a moment needs those of its chapter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from greentrace.replay import tables
from greentrace.replay.index import Array
from greentrace.replay.lives import LIVES, NEVER_BORN, Life, Lives, life_of, thawed
from greentrace.replay.rows import Rows

_THAWED = 3


class Ages:
    """All greenlets and resources of one process."""

    def __init__(self) -> None:
        self.now = Lives()
        self._ends: list[int] = []
        self._frozen: list[bytes | memoryview] = []
        self._thawed: dict[int, Lives] = {}
        self._gone = Rows(LIVES, {})
        self._gone_since: list[Array] = []
        self._gone_frozen: list[bytes | memoryview] = []

    def end(self, position: int, frozen: bytes | memoryview) -> None:
        """A chapter ends before the record at `position`; `frozen` is what is known now, wherever that is kept."""
        self._ends.append(position)
        self._frozen.append(frozen)
        self._gone_since.append(self.now.gone())
        self.now.forget()

    def restore(self, ends: list[int], frozen: list[bytes | memoryview], gone: list[bytes | memoryview]) -> None:
        """Begin with chapters of which everything is known, as it was kept. Raises `ValueError` when the last one makes no sense."""
        self._ends, self._frozen, self._gone_frozen = ends, frozen, gone
        threads, self.now = self.now.threads, thawed(frozen[-1])
        self.now.threads = threads
        self.now.forget()

    def at(self, position: int) -> Lives:
        """Return the lives of the chapter that has a position: what its resources are is known there as well as ever."""
        age = bisect_right(self._ends, position)
        if age == len(self._ends):
            return self.now
        return self._thaw(age)

    def _thaw(self, age: int) -> Lives:
        made = self._thawed.get(age)
        if made is None:
            try:
                made = thawed(self._frozen[age])
            except ValueError:
                made = Lives()
            while len(self._thawed) >= _THAWED:
                self._thawed.pop(next(iter(self._thawed)), None)
            self._thawed[age] = made
        return made

    def every(self) -> Iterator[Lives]:
        """Yield the lives of each chapter, and those of now."""
        for age in range(len(self._ends)):
            yield self._thaw(age)
        yield self.now

    # ---- greenlets, whenever they lived

    def _all_gone(self) -> Rows:
        if self._gone_frozen:
            kept, self._gone_frozen = self._gone_frozen, []
            # A forged one tells of nobody.
            with suppress(ValueError):
                self._gone_since[:0] = [tables.decode(one, [LIVES])[0] for one in kept]
        if self._gone_since:
            rows = np.concatenate([self._gone.all, *self._gone_since])
            self._gone, self._gone_since = Rows(LIVES, {}, rows[np.argsort(rows["id"], kind="stable")]), []
        return self._gone

    def greenlet(self, number: int) -> Life | None:
        """Return what is known of one greenlet, None if nothing is."""
        row = self._all_gone().find(number)
        return self.now.greenlet(number) if row is None else life_of(row.item())

    def lives(self, ids: Array) -> tuple[Array, Array]:
        """Return (a row of `LIVES` for each id, whether anything is known of it), in all of the trace: a name may be told late."""
        rows, known = self.now.greenlets(ids)
        gone, is_gone = self._all_gone().at(ids)
        rows[is_gone] = gone[is_gone]
        return rows, known | is_gone

    def greenlets(self, ids: Array) -> Iterator[Life]:
        """Yield what is known of some greenlets."""
        rows, known = self.lives(ids)
        for number, row, is_known in zip(ids.tolist(), rows.tolist(), known.tolist(), strict=True):
            yield life_of(row) if is_known else Life(number, 0)

    def rows(self) -> Array:
        """Return a row of `LIVES` for every greenlet, by id."""
        gone, living = self._all_gone(), self.now.rows()
        rows = np.concatenate([gone.all, living[~gone.known(living["id"])]])
        return rows[np.argsort(rows["id"], kind="stable")]

    def __len__(self) -> int:
        """How many greenlets there ever were."""
        gone, living = self._all_gone(), self.now.rows()
        return len(gone.all) + int(np.count_nonzero(~gone.known(living["id"])))

    def hubs(self) -> Array:
        """Return the ids of all greenlets that are hubs."""
        return np.concatenate([rows["id"][rows["is_hub"]] for rows in (self._all_gone().all, self.now.rows())])

    def born(self, ids: Array) -> Array:
        """Return of which greenlets the birth was seen."""
        return np.asarray(self.lives(ids)[0]["born_ns"] != NEVER_BORN)
