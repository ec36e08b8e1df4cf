"""Measures: where the time of a window went: by function, by what was waited for, by length.

    greenlet    |run|wait for a lock|ready|run|      every stretch is one length; stretches that the window cuts count with what lies in it

In:  a `History` and its `Parked`, a window [a, b] in ns.
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
from greentrace.replay.parked import Parked

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


def measures(history: History, parked: Parked, a_ns: int, b_ns: int, told: Callable[[float], None] | None = None) -> Measures:
    """Measure the greenlets that are no hubs over [a, b]; `told` hears how much is done, from 0 to 1."""
    rows: dict[str, Row] = {}
    parts: dict[Sort, list[Array]] = {}
    greenlets = [g for g in history.greenlets if not g.is_hub]
    for number, g in enumerate(greenlets):
        if told is not None and number % 256 == 0:
            told(number / len(greenlets))
        times, states, kinds = parked.changes(g.key)
        lasts = _lasts(times, a_ns, min(b_ns, history.end_ns))
        here = lasts > 0
        if not here.any():
            continue
        row = rows.setdefault(g.function or g.label, Row(g.function or g.label))
        row.greenlets += 1
        states, kinds, lasts = states[here], kinds[here], lasts[here]
        for state in _MEASURED:
            of_state = states == state
            if of_state.any():
                _count(row, state, lasts[of_state])
                for kind in np.unique(kinds[of_state]).tolist() if state == State.PARKED else (0,):
                    chosen = of_state & (kinds == kind) if state == State.PARKED else of_state
                    parts.setdefault((state, ResourceKind(kind)), []).append(lasts[chosen])
    found = Measures(a_ns, b_ns)
    found.rows = sorted(rows.values(), key=lambda row: (-row.run_ns, -row.parked_ns, row.function))
    found.lengths = {sort: Lengths(np.concatenate(lengths)) for sort, lengths in parts.items()}
    return found


def _lasts(times: Array, a_ns: int, b_ns: int) -> Array:
    """Return how long each stretch lasts inside of [a, b], in ns; the last one lasts to b."""
    begin = np.clip(times.astype(np.int64), a_ns, b_ns)
    return np.append(begin[1:], b_ns) - begin if len(begin) else begin


def _count(row: Row, state: State, lasts: Array) -> None:
    total, longest = int(lasts.sum()), int(lasts.max())
    if state == State.RUNNING:
        row.run_ns += total
        row.runs += len(lasts)
        row.longest_run_ns = max(row.longest_run_ns, longest)
    elif state == State.RUNNABLE:
        row.latency_ns += total
        row.longest_latency_ns = max(row.longest_latency_ns, longest)
    else:
        row.parked_ns += total
