"""Cells: a window over a trace, cut into as many cells as there is room for.

    edges     e0      e1      e2      e3       a cell shows the state that filled most of it, exact to the ns,
    lane      |~~~~~~~|▁▁▁▁▁▁▁|xxxxxxx|        and how much of it was running, so that a burst is never lost

In:  a Trace, keys of greenlets, the edges of the cells in ns, ascending.
Out: `Cells`: matrices that a window turns into paint.
Never: an idea of colours. Of a wait, a cell has the look of the wait in its middle, else at its edges, else at its quarters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from greentrace.events import ResourceKind, State
from greentrace.export.looks import Look, look_of
from greentrace.replay.model import Key
from greentrace.replay.packing import KIND_OF, PARKED_CODES, PARKED_ON_UNKNOWN, STATE_OF
from greentrace.replay.reader import Trace
from greentrace.replay.spans import ABSENT, codes_at, frame


def _look(code: int) -> Look:
    if STATE_OF[code] == ABSENT or code >= PARKED_CODES:
        return Look.BLANK
    return look_of(State(int(STATE_OF[code])), ResourceKind(int(KIND_OF[code])))


_LOOKS = np.array([_look(code) for code in range(len(STATE_OF))], np.uint8)
"""[code] -> look."""


class Cells(NamedTuple):
    """`looks` u8 [lanes, cells]: of the longest state that is not running, RUNNING where there is no other, BLANK where the greenlet
    does not live. `ran` f8: the share of the cell in which it ran, 0 to 1. [lanes, edges]: when the state at each edge began and when
    it ends, in ns; the latter `NEVER` where it does not."""

    looks: npt.NDArray[np.uint8]
    ran: npt.NDArray[np.float64]
    since_ns: npt.NDArray[np.uint64]
    until_ns: npt.NDArray[np.uint64]


def edges(a_ns: int, b_ns: int, count: int) -> npt.NDArray[np.int64]:
    """Return the `count` + 1 edges of equal cells over [a, b]."""
    each, rest = divmod(max(b_ns - a_ns, 1), max(count, 1))
    at = np.arange(count + 1, dtype=np.int64)
    return a_ns + at * each + at * rest // max(count, 1)


def cells(trace: Trace, keys: Sequence[Key], at: npt.NDArray[np.int64]) -> Cells:
    """Return what the lanes of `keys` look like between the edges `at`, of which there are at least two."""
    found = frame(trace, keys, at)
    spent = np.diff(found.spent, axis=1)
    filled = spent.sum(axis=2).astype(np.float64)
    ran = np.zeros(filled.shape)
    np.divide(spent[:, :, State.RUNNING].astype(np.float64), filled, out=ran, where=filled > 0)
    # Who lives for a part of a cell is seen in it, however short that part.
    spent[:, :, (State.RUNNING, State.COLLECTED, ABSENT)] = 0
    waits = spent.any(axis=2)
    codes = np.where(waits, spent.argmax(axis=2), State.RUNNING).astype(np.uint8)
    _say_for_what(trace, keys, at, codes, found.codes)
    looks = _LOOKS[codes]
    looks[~waits & (ran == 0)] = Look.BLANK
    return Cells(looks, ran, found.since_ns, found.until_ns)


def _say_for_what(trace: Trace, keys: Sequence[Key], at: npt.NDArray[np.int64], codes: np.ndarray, at_edges: np.ndarray) -> None:
    """Write into `codes` what is waited for in each cell whose longest state is PARKED."""
    missing = codes == State.PARKED
    for part in (2, 0, 4, 1, 3):
        if not missing.any():
            return
        if part in (0, 4):
            there = at_edges[:, 1:] if part else at_edges[:, :-1]
        else:
            there = codes_at(trace, keys, at[:-1] + (at[1:] - at[:-1]) * part // 4, missing)
        here = missing & (STATE_OF[there] == State.PARKED)
        codes[here] = there[here]
        missing &= ~here
    codes[missing] = PARKED_ON_UNKNOWN
