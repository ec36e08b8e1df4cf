"""Measures: where the time of a window went: by function, by what was waited for, by length.

    greenlet    |run|wait for a lock|ready|run|      every stretch is one length; stretches that the window cuts count with what lies in it

In:  a `History`, a window [a, b] in ns.
Out: `Measures`. Lengths are exact, percentiles are of the lengths themselves.
Never: a loop over stretches; one over greenlets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from greentrace.events import ResourceKind, State
from greentrace.replay.history import History
from greentrace.replay.index import Array
from greentrace.replay.model import GreenletEver
from greentrace.replay.packing import KIND_OF, STATE_OF

Sort = tuple[State, ResourceKind]
"""What a stretch is: RUNNING, RUNNABLE (with UNKNOWN), or PARKED and on what."""
_MEASURED = (State.RUNNING, State.RUNNABLE, State.PARKED)


@dataclass
class Lengths:
    """Stretches of one sort: how many, all together, the longest, all in ns; `of` has each of them."""

    of: Array

    @classmethod
    def joined(cls, parts: Iterable[Lengths]) -> Lengths:
        """Return the stretches of several as one."""
        return cls(np.concatenate([np.empty(0, np.int64), *(part.of for part in parts)]))

    @property
    def count(self) -> int:
        return len(self.of)

    @property
    def total_ns(self) -> int:
        return int(self.of.sum()) if len(self.of) else 0

    @property
    def longest_ns(self) -> int:
        return int(self.of.max()) if len(self.of) else 0

    def percentile_ns(self, percent: float) -> int:
        """Return the length that so many percent of the stretches do not exceed; 0 if there are none."""
        return int(np.percentile(self.of, percent, method="lower")) if len(self.of) else 0

    def histogram(self) -> Array:
        """Return how many stretches are of 2^i to 2^(i+1) ns, i from 0 to 63; those of 0 ns are among the first."""
        powers = np.floor(np.log2(np.maximum(self.of, 1).astype(np.float64))).astype(np.int64)
        return np.bincount(np.clip(powers, 0, 63), minlength=64)


@dataclass
class Row:
    """All greenlets that run one function: times in ns. `latency`: woken, and waiting for their turn."""

    function: str
    greenlets: int = 0
    run_ns: int = 0
    runs: int = 0
    longest_run_ns: int = 0
    latency_ns: int = 0
    longest_latency_ns: int = 0
    parked_ns: int = 0

    def add(self, other: Row) -> None:
        """Take in the same function of another process."""
        for name in ("greenlets", "run_ns", "runs", "latency_ns", "parked_ns"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("longest_run_ns", "longest_latency_ns"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))


@dataclass
class Measures:
    """The window; rows by function, who ran most first; lengths by sort."""

    a_ns: int
    b_ns: int
    rows: list[Row] = field(default_factory=list)
    lengths: dict[Sort, Lengths] = field(default_factory=dict)

    def of(self, state: State) -> Lengths:
        """Return all lengths of a state, whatever was waited for."""
        return Lengths.joined(lengths for (one, _), lengths in self.lengths.items() if one == state)


def measures(history: History, a_ns: int, b_ns: int, told: Callable[[float], None] | None = None) -> Measures:
    """Measure the greenlets that are no hubs over [a, b]; `told` hears how much is done, from 0 to 1."""
    rows: dict[str, Row] = {}
    parts: dict[Sort, list[Array]] = {}
    b_ns = min(b_ns, history.end_ns)
    of: dict[int, list[GreenletEver]] = {}
    for g in history.greenlets:
        if not g.is_hub:
            of.setdefault(g.process, []).append(g)
    for process, greenlets in of.items():
        functions = sorted({g.function or g.label for g in greenlets})
        table = _Table(functions, greenlets)
        for done, (ids, codes, ns) in history.histories[process].timelines.stretches(a_ns, b_ns):
            if told is not None:
                told((process + done) / len(history.histories))
            table.add(ids, codes, ns, parts)
        for row in table.rows():
            rows.setdefault(row.function, Row(row.function)).add(row)
    found = Measures(a_ns, b_ns)
    found.rows = sorted(rows.values(), key=lambda row: (-row.run_ns, -row.parked_ns, row.function))
    found.lengths = {sort: Lengths(np.concatenate(lengths)) for sort, lengths in parts.items()}
    return found


class _Table:
    """The rows of one process, as columns."""

    def __init__(self, functions: list[str], greenlets: list[GreenletEver]) -> None:
        self._functions = functions
        number = {function: index for index, function in enumerate(functions)}
        order = sorted(greenlets, key=lambda g: g.id)
        self._ids = np.array([g.id for g in order], np.uint32)
        self._row_of = np.array([number[g.function or g.label] for g in order], np.int64)
        self._met = np.zeros(len(order), bool)
        self._total, self._longest, self._count = (np.zeros((8, len(functions)), np.int64) for _ in range(3))

    def add(self, ids: Array, codes: Array, ns: Array, parts: dict[Sort, list[Array]]) -> None:
        """Count stretches, and keep their lengths by sort."""
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        states = STATE_OF[codes]
        here = (self._ids[at] == ids) & (ns > 0) & (states < State.FINISHED)
        at, codes, states, lasted = at[here], codes[here], states[here], ns[here].astype(np.int64)
        self._met[at] = True
        for state in _MEASURED:
            chosen = np.flatnonzero(states == state)
            row, long = self._row_of[at[chosen]], lasted[chosen]
            np.add.at(self._total[state], row, long)
            np.maximum.at(self._longest[state], row, long)
            self._count[state] += np.bincount(row, minlength=len(self._functions))
            kinds = KIND_OF[codes[chosen]]
            for kind in np.flatnonzero(np.bincount(kinds)).tolist():
                parts.setdefault((state, ResourceKind(kind)), []).append(long[kinds == kind])

    def rows(self) -> Iterable[Row]:
        """Yield the rows of whoever was there."""
        greenlets = np.bincount(self._row_of[self._met], minlength=len(self._functions))
        for i in np.flatnonzero(greenlets).tolist():
            run, ready, parked = (int(self._total[state][i]) for state in _MEASURED)
            longest_run, longest_ready, _ = (int(self._longest[state][i]) for state in _MEASURED)
            runs = int(self._count[State.RUNNING][i])
            yield Row(self._functions[i], int(greenlets[i]), run, runs, longest_run, ready, longest_ready, parked)
