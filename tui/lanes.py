"""Lanes: the cells of the time-line as characters.

In:  a Trace, keys of greenlets, a window, a width in cells.
Out: two matrices: the character of every cell, and the number of its style in the palette.
A bar stands over whatever a greenlet waited for while it also ran; a span that has room for it says what it is and how long it lasts.
Never: Textual, or a cursor; that is laid over it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from greentrace.export import cells
from greentrace.export.looks import WORDS, Look
from greentrace.export.words import duration
from greentrace.replay.model import Key
from greentrace.replay.parked import Parked
from greentrace.replay.reader import Trace

from .palette import HEIGHTS, PAINT, Ink

_WORDY = 8
"""A span of so many cells gets words."""
_HEIGHTS = np.array([ord(character) for character in HEIGHTS], np.uint32)
_GLYPHS = np.array([ord(PAINT[look].glyph) for look in Look], np.uint32)


class Picture(NamedTuple):
    """`codes` u32 [lanes, cells]: characters. `styles` u8 [lanes, cells]: look + 16 * ink."""

    codes: npt.NDArray[np.uint32]
    styles: npt.NDArray[np.uint8]


def picture(trace: Trace, parked: Parked, keys: Sequence[Key], hubs: Sequence[bool], a_ns: int, b_ns: int, width: int) -> Picture:
    """Draw the lanes of `keys` over the window [a, b]; `hubs` says which of them are hubs."""
    edges = cells.edges(a_ns, b_ns, max(width, 0))
    looks, share = cells.cells(trace, parked, keys, edges)
    ran = share > 0
    codes = np.where(ran, _HEIGHTS[np.ceil(share * 8).astype(np.intp)], _GLYPHS[looks])
    inks = np.where(ran, np.where(np.array(hubs, bool)[:, None], Ink.HUB, Ink.RUN), Ink.GLYPH)
    for row, key in enumerate(keys):
        _write_words(codes[row], looks[row], inks[row], parked.changes(key)[0].astype(np.int64), edges, hubs[row])
    return Picture(codes, (looks + 16 * inks).astype(np.uint8))


def _write_words(
    codes: np.ndarray, looks: np.ndarray, inks: np.ndarray, times: npt.NDArray[np.int64], edges: npt.NDArray[np.int64], is_hub: bool
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
        word = WORDS[Look.HUB if is_hub and look == Look.RUNNING else look].word
        text = f" {word} {duration(until - int(times[at]))}" if until is not None else f" {word} …"
        # Half a number would be a lie, half a word is none.
        if len(text) >= stop - start:
            text = f" {word}" if len(word) + 1 < stop - start else ""
        end = start + len(text)
        codes[start:end] = [ord(character) for character in text]
        inks[start:end] = Ink.TEXT
