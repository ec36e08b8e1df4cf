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
from greentrace.replay.packing import NEVER
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


def picture(trace: Trace, keys: Sequence[Key], hubs: Sequence[bool], a_ns: int, b_ns: int, width: int) -> Picture:
    """Draw the lanes of `keys` over the window [a, b]; `hubs` says which of them are hubs."""
    edges = cells.edges(a_ns, b_ns, max(width, 0))
    drawn = cells.cells(trace, keys, edges)
    ran = drawn.ran > 0
    codes = np.where(ran, _HEIGHTS[np.ceil(drawn.ran * 8).astype(np.intp)], _GLYPHS[drawn.looks])
    inks = np.where(ran, np.where(np.array(hubs, bool)[:, None], Ink.HUB, Ink.RUN), Ink.GLYPH)
    for row in range(len(keys)):
        _write_words(codes[row], inks[row], drawn, row, hubs[row])
    return Picture(codes, (drawn.looks + 16 * inks).astype(np.uint8))


def _write_words(codes: np.ndarray, inks: np.ndarray, drawn: cells.Cells, row: int, is_hub: bool) -> None:
    """Write the state and how long it lasts into every span that fills enough cells."""
    since, until = drawn.since_ns[row], drawn.until_ns[row]
    # Where one span goes on from edge to edge, it began at the same moment.
    whole = since[1:] == since[:-1]
    bounds = np.flatnonzero(np.diff(np.concatenate(([False], whole, [False])).astype(np.int8)))
    for start, stop in zip(bounds[::2].tolist(), bounds[1::2].tolist(), strict=True):
        look = Look(int(drawn.looks[row, start]))
        if stop - start < _WORDY or look in (Look.BLANK, Look.FINISHED):
            continue
        word = WORDS[Look.HUB if is_hub and look == Look.RUNNING else look].word
        text = f" {word} {duration(int(until[start]) - int(since[start]))}" if until[start] != NEVER else f" {word} …"
        # Half a number would be a lie, half a word is none.
        if len(text) >= stop - start:
            text = f" {word}" if len(word) + 1 < stop - start else ""
        end = start + len(text)
        codes[start:end] = [ord(character) for character in text]
        inks[start:end] = Ink.TEXT
