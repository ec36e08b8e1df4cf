"""Pieces: a lane as stretches of cells that look the same, and what lies over some of its cells.

    lane    xxxxxxxxxx-------▁▁▁▁      three pieces; they stay as they are while only the cursor moves
    over         │        ●            single cells: the cursor, an arrow
    shown   xxxxx│xxxx----●--▁▁▁▁

In:  a row of a picture; for some columns what lies over them. Out: segments.
Never: a look at every cell for a cursor that moved by one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from rich.segment import Segment

from .lanes import Picture
from .palette import CURRENT, cell_style


class Over(NamedTuple):
    """What lies over a cell: a character in its place ("": the one that is there), what is added to the number of its style."""

    mark: str = ""
    added: int = 0


class Pieces(NamedTuple):
    """Where each piece begins, the number of its style, and the piece itself."""

    starts: list[int]
    numbers: list[int]
    segments: list[Segment]

    def under(self, over: Mapping[int, Over]) -> list[Segment]:
        """Return the segments with single cells laid over them, by column."""
        out: list[Segment] = []
        piece = begin = 0

        def rest(until: int) -> None:
            text, style, _ = self.segments[piece]
            left = text[begin - self.starts[piece] : until - self.starts[piece]]
            if left:
                out.append(Segment(left, style))

        for column in sorted(over):
            at = bisect_right(self.starts, column) - 1
            if at > piece:
                rest(self.starts[piece + 1])
                out += self.segments[piece + 1 : at]
                piece, begin = at, self.starts[at]
            rest(column)
            mark, added = over[column]
            mark = mark or self.segments[piece].text[column - self.starts[piece]]
            out.append(Segment(mark, cell_style(self.numbers[piece] + added)))
            begin = column + 1
        if self.segments:
            rest(self.starts[piece] + len(self.segments[piece].text))
        return [*out, *self.segments[piece + 1 :]]


class Cut:
    """A picture; each of its lanes is cut into pieces once, when it is drawn first."""

    def __init__(self, drawn: Picture) -> None:
        self._drawn = drawn
        self._lanes: dict[tuple[int, bool], Pieces] = {}

    @property
    def width(self) -> int:
        """How many cells a lane has."""
        return self._drawn.codes.shape[1]

    def lane(self, row: int, is_current: bool) -> Pieces:
        """Return the pieces of a lane, the current one or another."""
        found = self._lanes.get((row, is_current))
        if found is None:
            found = self._lanes[row, is_current] = pieces_of(self._drawn, row, is_current)
        return found


def pieces_of(drawn: Picture, row: int, is_current: bool) -> Pieces:
    """Cut a lane into pieces."""
    styles = drawn.styles[row]
    text = drawn.codes[row].tobytes().decode("utf-32-le")
    starts = [0, *(np.flatnonzero(styles[1:] != styles[:-1]) + 1).tolist()][: len(styles)]
    numbers = [number + CURRENT * is_current for number in styles[starts].tolist()]
    bounds = pairwise([*starts, len(styles)])
    segments = [Segment(text[start:stop], cell_style(number)) for (start, stop), number in zip(bounds, numbers, strict=True)]
    return Pieces(starts, numbers, segments)
