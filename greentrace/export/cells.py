"""Cells: a window over a trace, cut into as many cells as there is room for.

    edges     e0      e1      e2      e3       a cell shows the state that filled most of it, exact to the ns,
    lane      |~~~~~~~|▁▁▁▁▁▁▁|xxxxxxx|        and how much of it was running, so that a burst is never lost

In:  a Trace, keys of greenlets, the edges of the cells in ns, ascending.
Out: `Cells`: matrices that a window turns into paint.
Never: an idea of colours. Of a wait, a cell has the look of the wait nearest to its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from greentrace.events import ResourceKind, State
from greentrace.export.looks import Look, look_of
from greentrace.replay.model import Key
from greentrace.replay.parked import Parked
from greentrace.replay.reader import Trace
from greentrace.replay.spans import ABSENT, time_in_states

_LOOKS = np.zeros((ABSENT + 1, 32), np.uint8)
"""[state, kind of resource] -> look."""
for _state in State:
    for _kind in ResourceKind:
        _LOOKS[_state, _kind] = look_of(_state, _kind)
_LOOKS[ABSENT] = Look.BLANK


class Cells(NamedTuple):
    """`looks` u8 [lanes, cells]: of the longest state that is not running, RUNNING where there is no other, BLANK where the greenlet
    does not live. `ran` f8: the share of the cell in which it ran, 0 to 1."""

    looks: npt.NDArray[np.uint8]
    ran: npt.NDArray[np.float64]


def edges(a_ns: int, b_ns: int, count: int) -> npt.NDArray[np.int64]:
    """Return the `count` + 1 edges of equal cells over [a, b]."""
    return a_ns + (np.arange(count + 1, dtype=np.int64) * max(b_ns - a_ns, 1)) // max(count, 1)


def cells(trace: Trace, parked: Parked, keys: Sequence[Key], at: npt.NDArray[np.int64]) -> Cells:
    """Return what the lanes of `keys` look like between the edges `at`."""
    shape = (len(keys), max(len(at) - 1, 0))
    looks, ran = np.zeros(shape, np.uint8), np.zeros(shape)
    if not len(keys) or not shape[1]:
        return Cells(looks, ran)
    spent = time_in_states(trace, keys, at)
    filled = spent.sum(axis=2).astype(np.float64)
    np.divide(spent[:, :, State.RUNNING].astype(np.float64), filled, out=ran, where=filled > 0)
    # Who lives for a part of a cell is seen in it, however short that part.
    spent[:, :, (State.RUNNING, State.COLLECTED, ABSENT)] = 0
    waits = spent.any(axis=2)
    state = np.where(waits, spent.argmax(axis=2), State.RUNNING)
    for row, key in enumerate(keys):
        looks[row] = _LOOKS[state[row], _kinds(*parked.changes(key), at, state[row])]
    looks[~waits & (ran == 0)] = Look.BLANK
    return Cells(looks, ran)


def _kinds(t_ns: np.ndarray, states: np.ndarray, kinds: np.ndarray, at: npt.NDArray[np.int64], state: np.ndarray) -> npt.NDArray[np.uint8]:
    """Return the kind of what is waited for in each cell whose longest state is PARKED."""
    found = np.zeros(len(state), np.uint8)
    missing = state == State.PARKED
    times = t_ns.astype(np.int64)
    for part in (2, 1, 3, 0, 4) if len(times) else ():
        index = np.searchsorted(times, at[:-1] + (at[1:] - at[:-1]) * part // 4, "right") - 1
        here = missing & (index >= 0) & (states[np.maximum(index, 0)] == State.PARKED)
        found[here] = kinds[index[here]]
        missing &= ~here
    return found
