"""Measures: where the time of a window went: by function, by resource, by site, by length.

    greenlet    |run|wait for a lock|ready|run|      every stretch is one length; stretches that the window cuts count with what lies in it

In:  a `History`, a window [a, b] in ns, by what.
Out: `Measures`. Counts, sums and longest are exact, percentiles as `lengths` says. Hubs are left out: they run while nobody else does.
Never: a loop over stretches, or over greenlets.

By function, a stretch belongs to what its greenlet runs. By resource and by site, to what and where the greenlet last left off: so a
site has the waits there, how long those had to wait for their turn then, and how long they ran until they left the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from greentrace.events import ResourceKind, State
from greentrace.replay.history import History
from greentrace.replay.index import Array
from greentrace.replay.lazy import LazyEach
from greentrace.replay.lengths import GROUP_SHIFT, Lengths, Merging, Tally
from greentrace.replay.lives import Told
from greentrace.replay.model import Key, shown, split_key
from greentrace.replay.packing import KIND_OF, STATE_OF, begins, codes_of
from greentrace.replay.roster import Roster
from greentrace.replay.rows import place
from greentrace.replay.state import resource_of
from greentrace.replay.stretches import stretches

By = Literal["function", "resource", "site"]
Sort = tuple[State, ResourceKind]
"""What a stretch is: RUNNING, RUNNABLE (with UNKNOWN), or PARKED and on what."""
Hears = Callable[[float], None]
_CODE_BITS = 8
_CODE = np.uint64((1 << _CODE_BITS) - 1)
_LENGTH_OF = GROUP_SHIFT + _CODE_BITS
_32 = np.uint64(32)
_MET = np.dtype([("group", "<i8"), ("greenlet", "<u8")])
"""A greenlet had to do with a group."""


@dataclass(frozen=True)
class Row:
    """One function, resource or place: how many greenlets had to do with it, and the lengths of what they did.

    `latency`: woken, and waiting for their turn. `resource` is its key, None for functions and places.
    """

    name: str
    greenlets: int
    lengths: Lengths
    resource: Key | None = None

    def of(self, state: State) -> Lengths:
        """Return the lengths of one state, whatever was waited for."""
        return Lengths(self.lengths.rows[STATE_OF[self._codes] == state])

    @cached_property
    def by_sort(self) -> dict[Sort, Lengths]:
        """The lengths of each sort that there is."""
        sorts = {int(code): (State(int(STATE_OF[code])), ResourceKind(int(KIND_OF[code]))) for code in np.unique(self._codes)}
        return {sort: Lengths(self.lengths.rows[self._codes == code]) for code, sort in sorts.items()}

    @cached_property
    def _codes(self) -> Array:
        return _codes(self.lengths.rows)

    @cached_property
    def run(self) -> Lengths:
        return self.of(State.RUNNING)

    @cached_property
    def latency(self) -> Lengths:
        return self.of(State.RUNNABLE)

    @cached_property
    def wait(self) -> Lengths:
        return self.of(State.PARKED)


@dataclass(frozen=True)
class Measures:
    """The window; all of it as one row; rows by `by`, who ran most first, or what was waited for longest."""

    a_ns: int
    b_ns: int
    by: By
    all: Row
    rows: Sequence[Row]
    groups: _Groups = field(repr=False, compare=False)

    def named_by(self, history: History) -> Measures:
        """Return the same; names are looked up in another history of the same trace from now on."""
        self.groups.history = history
        return self


def measures(history: History, a_ns: int, b_ns: int, by: By = "function", told: Hears | None = None) -> Measures:
    """Measure the greenlets that are no hubs over [a, b]; `told` hears how much is done, from 0 to 1."""
    b_ns = min(b_ns, history.end_ns)
    groups = {"function": _Functions, "resource": _Resources, "site": _Sites}[by](history)
    for number in range(len(history.histories)):
        for done in groups.add(number, a_ns, b_ns):
            if told is not None:
                told((number + done) / len(history.histories))
    return Measures(a_ns, b_ns, by, groups.all(), groups.rows(), groups)


def _codes(rows: Array) -> Array:
    return (rows["key"] >> np.uint64(GROUP_SHIFT)) & _CODE


def _distinct(met: Array) -> Array:
    """Return each row once, by group and greenlet."""
    met = met[np.lexsort((met["greenlet"], met["group"]))]
    is_new = np.ones(len(met), bool)
    is_new[1:] = met[1:] != met[:-1]
    return met[is_new]


class _Groups:
    """Lengths by group and code; who had to do with each group."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._tally = Tally()
        self._met = Merging(_MET, _distinct)

    def add(self, process: int, a_ns: int, b_ns: int) -> Iterator[float]:
        """Take in a process; yield how much is done."""
        raise NotImplementedError

    def named(self, group: int) -> tuple[str, Key | None]:
        """Return the name of a group, and which resource it is."""
        raise NotImplementedError

    def take(self, groups: Array, codes: Array, ns: Array, ids: Array) -> None:
        """Count stretches of some groups and greenlets: `ids` differ between processes as well, u64."""
        here = (ns > 0) & (STATE_OF[codes] < State.FINISHED) & (STATE_OF[codes] != State.UNKNOWN)
        groups = groups[here]
        self._tally.add(groups << _CODE_BITS | codes[here], ns[here])
        met = np.empty(len(groups), _MET)
        met["group"], met["greenlet"] = groups, ids[here]
        self._met.add(met)

    def all(self) -> Row:
        """Return everything as one row."""
        return Row("all", len(np.unique(self._met.all["greenlet"])), Lengths(self._tally.rows))

    def order(self, groups: Array, sums: Array) -> Array:
        """Return the order of groups, whose ns are [group, state]."""
        return np.lexsort((groups, -sums[:, State.RUNNING], -sums[:, State.PARKED]))

    def rows(self) -> Sequence[Row]:
        """Return a row for each group."""
        rows = self._tally.rows
        every = (rows["key"] >> np.uint64(_LENGTH_OF)).astype(np.int64)
        first = begins(every)
        groups, stop = every[first], np.append(first[1:], len(rows))
        sums = np.zeros((len(groups), 8), np.int64)
        np.add.at(sums, (np.repeat(np.arange(len(groups)), stop - first), STATE_OF[_codes(rows)]), rows["total_ns"])
        met = self._met.all["group"].copy()
        greenlets = np.searchsorted(met, groups, "right") - np.searchsorted(met, groups, "left")
        order = self.order(groups, sums)

        def make(index: int) -> Row:
            at = int(order[index])
            name, resource = self.named(int(groups[at]))
            return Row(name, int(greenlets[at]), Lengths(rows[first[at] : stop[at]]), resource)

        return LazyEach(len(groups), make)


class _Functions(_Groups):
    """By what the greenlets run; the same function of several processes is one."""

    def __init__(self, history: History) -> None:
        super().__init__(history)
        roster = Roster(history)
        is_hub = roster.lives["is_hub"]
        # Numbers in the order of the names: who spent as much is named in that order.
        ranks = roster.runs.ranks
        called, numbers = np.unique(ranks[~is_hub], return_inverse=True)
        words = sorted(roster.runs.words)
        self._names = [words[rank] for rank in called.tolist()]
        groups = np.full(len(roster), -1, np.int64)
        groups[~is_hub] = numbers
        self._of = [(lives["id"], mine) for (_, lives), (_, mine) in zip(roster.parts(roster.lives), roster.parts(groups), strict=True)]

    def add(self, process: int, a_ns: int, b_ns: int) -> Iterator[float]:
        numbers, groups = self._of[process]
        for done, (ids, codes, ns) in self.history.histories[process].timelines.stretches(a_ns, b_ns):
            at, here = place(numbers, ids)
            here[here] = groups[at[here]] >= 0
            self.take(groups[at[here]], codes[here], ns[here].astype(np.int64), _keys(process, ids[here]))
            yield done

    def named(self, group: int) -> tuple[str, Key | None]:
        return self._names[group], None

    def order(self, groups: Array, sums: Array) -> Array:
        return np.lexsort((groups, -sums[:, State.PARKED], -sums[:, State.RUNNING]))


def _keys(process: int, ids: Array) -> Array:
    return np.uint64(process) << _32 | ids.astype(np.uint64)


class _ByRecord(_Groups):
    """By something that the records say."""

    def add(self, process: int, a_ns: int, b_ns: int) -> Iterator[float]:
        h = self.history.histories[process]
        hubs = h.ages.hubs()
        for done, found in stretches(h, a_ns, b_ns):
            here = np.flatnonzero(~np.isin(found.ids, hubs))
            ids, states, resources, sites, ns = (column[here] for column in found[1:])
            kinds = h.ages.at(found.position).kinds(resources)
            self.meet(process, found.position, resources, sites, codes_of(states, kinds), ns, _keys(process, ids))
            yield done

    def meet(self, process: int, position: int, resources: Array, sites: Array, codes: Array, ns: Array, ids: Array) -> None:
        """Take in stretches of one process."""
        raise NotImplementedError


class _Resources(_ByRecord):
    """By what was left for; who has left for nothing is in no row."""

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._seen: list[tuple[int, int, Array]] = []
        """(process, position, ids of resources, ascending, that were there by then)."""

    def meet(self, process: int, position: int, resources: Array, sites: Array, codes: Array, ns: Array, ids: Array) -> None:
        some = resources > 0
        self._seen.append((process, position, np.unique(resources)))
        # There are at most 2^12 processes.
        self.take(_keys(process, resources[some]).astype(np.int64), codes[some], ns[some], ids[some])

    def named(self, group: int) -> tuple[str, Key | None]:
        process, number = split_key(group)
        h = self.history.histories[process]
        position = next(p for one, p, ids in reversed(self._seen) if one == process and place(ids, np.array([number]))[1][0])
        told = h.ages.at(position).resource(number) or Told()
        return resource_of(h, number, told, position).label, group


class _Sites(_ByRecord):
    """By the place that people are shown of a site; all sites of one place are one row."""

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._places: dict[str, int] = {}
        self._known: dict[tuple[int, int], int] = {}

    def meet(self, process: int, position: int, resources: Array, sites: Array, codes: Array, ns: Array, ids: Array) -> None:
        some = sites > 0
        numbers, inverse = np.unique(sites[some], return_inverse=True)
        groups = np.array([self._group(process, number) for number in numbers.tolist()], np.int64)[inverse]
        self.take(groups, codes[some], ns[some], ids[some])

    def _group(self, process: int, site: int) -> int:
        if (process, site) not in self._known:
            frame = shown(self.history.stack(process, site))
            place_ = str(frame) if frame is not None else f"site {site}"
            self._known[process, site] = self._places.setdefault(place_, len(self._places))
        return self._known[process, site]

    def named(self, group: int) -> tuple[str, Key | None]:
        return list(self._places)[group], None
