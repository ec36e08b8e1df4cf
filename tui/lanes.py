"""Lanes: the cells of the time-line, computed.

    edges     e0      e1      e2      e3       a cell shows the state that filled most of it, exact to the ns;
    lane      |~~~~~~~|▁▁▁▁▁▁▁|lock 3 ms       a bar over it for any running at all, so that a burst is never lost;
                                               and words where one span has room for them

In:  a Trace, keys of greenlets, a window, a width in cells.
Out: two matrices: the character of every cell, and the number of its style in the palette.
Never: Textual, or a cursor; that is laid over it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from greentrace.events import ResourceKind, State
from greentrace.export.words import duration
from greentrace.replay.model import Key
from greentrace.replay.parked import Parked
from greentrace.replay.reader import Trace
from greentrace.replay.spans import ABSENT, time_in_states

from .palette import HEIGHTS, PAINT, Ink, Look, look_of

_WORDY = 8
"""A span of so many cells gets words."""
_HEIGHTS = np.array([ord(character) for character in HEIGHTS], np.uint32)
_GLYPHS = np.array([ord(PAINT[look].glyph) for look in Look], np.uint32)
_LOOKS = np.zeros((ABSENT + 1, 32), np.uint8)
"""[state, kind of resource] -> look."""
for _state in State:
    for _kind in ResourceKind:
        _LOOKS[_state, _kind] = look_of(_state, _kind)
_LOOKS[ABSENT] = Look.BLANK


class Picture(NamedTuple):
    """`codes` u32 [lanes, cells]: characters. `styles` u8 [lanes, cells]: look + 16 * ink."""

    codes: npt.NDArray[np.uint32]
    styles: npt.NDArray[np.uint8]


def picture(trace: Trace, parked: Parked, keys: Sequence[Key], hubs: Sequence[bool], a_ns: int, b_ns: int, width: int) -> Picture:
    """Draw the lanes of `keys` over the window [a, b]; `hubs` says which of them are hubs."""
    edges = a_ns + (np.arange(width + 1, dtype=np.int64) * max(b_ns - a_ns, 1)) // max(width, 1)
    codes = np.full((len(keys), width), ord(" "), np.uint32)
    styles = np.zeros((len(keys), width), np.uint8)
    if not len(keys) or width <= 0:
        return Picture(codes, styles)
    spent = time_in_states(trace, keys, edges)
    for row, (key, is_hub) in enumerate(zip(keys, hubs, strict=True)):
        codes[row], styles[row] = _lane(*parked.changes(key), is_hub, edges, spent[row])
    return Picture(codes, styles)


def _lane(
    t_ns: np.ndarray, states: np.ndarray, kinds: np.ndarray, is_hub: bool, edges: npt.NDArray[np.int64], spent: npt.NDArray[np.uint64]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the characters and the styles of one lane."""
    times = t_ns.astype(np.int64)
    running = spent[:, State.RUNNING].astype(np.float64)
    filled = spent.sum(axis=1).astype(np.float64)
    others = spent.copy()
    others[:, State.RUNNING] = 0
    state = np.where(others.any(axis=1), others.argmax(axis=1), State.RUNNING)
    looks = _looks(times, states, kinds, edges, state)
    share = np.divide(running, filled, out=np.zeros(len(running)), where=filled > 0)
    height = np.ceil(share * 8).astype(np.intp)
    ran = running > 0
    codes = np.where(ran, _HEIGHTS[height], _GLYPHS[looks])
    ink = np.where(ran, Ink.HUB if is_hub else Ink.RUN, Ink.GLYPH)
    # Outside the trace there is nothing.
    outside = filled == 0
    codes[outside], looks[outside], ink[outside] = ord(" "), Look.BLANK, Ink.GLYPH
    _write_words(codes, looks, ink, times, edges, is_hub)
    return codes, (looks + 16 * ink).astype(np.uint8)


def _looks(
    times: npt.NDArray[np.int64], states: np.ndarray, kinds: np.ndarray, edges: npt.NDArray[np.int64], state: np.ndarray
) -> npt.NDArray[np.uint8]:
    """Return the look of each cell: of its longest state; of a wait, the look of the wait nearest to the middle of the cell."""
    kind = np.zeros(len(state), np.uint8)
    if len(times):
        missing = state == State.PARKED
        for part in (2, 1, 3, 0, 4):
            at = np.searchsorted(times, edges[:-1] + (edges[1:] - edges[:-1]) * part // 4, "right") - 1
            here = missing & (at >= 0) & (states[np.maximum(at, 0)] == State.PARKED)
            kind[here] = kinds[at[here]]
            missing &= ~here
    return _LOOKS[state, kind].copy()


def _write_words(
    codes: np.ndarray, looks: np.ndarray, ink: np.ndarray, times: npt.NDArray[np.int64], edges: npt.NDArray[np.int64], is_hub: bool
) -> None:
    """Write the state and how long it lasts into every span that fills enough cells."""
    if not len(times):
        return
    index = np.searchsorted(times, edges, "right") - 1
    # Where one span goes on from edge to edge, the difference is 0.
    whole = np.diff(index) == 0
    bounds = np.flatnonzero(np.diff(np.concatenate(([False], whole, [False])).astype(np.int8)))
    for start, stop in zip(bounds[::2].tolist(), bounds[1::2].tolist(), strict=True):
        at = int(index[start])
        look = Look(int(looks[start]))
        if stop - start < _WORDY or at < 0 or look in (Look.BLANK, Look.FINISHED):
            continue
        until = int(times[at + 1]) if at + 1 < len(times) else None
        word = "hub" if is_hub and look == Look.RUNNING else PAINT[look].word
        text = f"{word} {duration(until - int(times[at]))}" if until is not None else f"{word} …"
        text = f" {text}"[: stop - start - 1]
        end = start + len(text)
        codes[start:end] = [ord(character) for character in text]
        ink[start:end] = Ink.TEXT
