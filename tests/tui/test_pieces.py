"""What lies over a lane, against looking at every cell."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from greentrace.tui.lanes import Picture
from greentrace.tui.palette import ARROW, CURRENT, CURSOR, cell_style
from greentrace.tui.pieces import Over, Pieces, pieces_of

lanes = st.lists(st.tuples(st.sampled_from("x-▁█ "), st.sampled_from([0, 3, 5, 6 + 16, 8 + 32])), max_size=12)
marks = st.builds(Over, st.sampled_from(["", "●", "│"]), st.sampled_from([CURSOR, ARROW, CURSOR + ARROW]))


def cells(pieces: Pieces, over: dict[int, Over]) -> list[tuple[str, Style | None]]:
    return [(character, segment.style) for segment in pieces.under(over) for character in segment.text]


@given(lane=lanes, over=st.dictionaries(st.integers(0, 11), marks), is_current=st.booleans())
def test_every_cell_is_its_own_or_what_lies_over_it(lane: list[tuple[str, int]], over: dict[int, Over], is_current: bool) -> None:
    codes = np.array([[ord(character) for character, _ in lane]], np.uint32)
    styles = np.array([[number for _, number in lane]], np.uint8)
    over = {column: mark for column, mark in over.items() if column < len(lane)}
    pieces = pieces_of(Picture(codes, styles), 0, is_current)
    expected = []
    for column, (character, number) in enumerate(lane):
        mark = over.get(column, Over())
        expected.append((mark.mark or character, cell_style(number + CURRENT * is_current + mark.added)))
    assert cells(pieces, over) == expected
    assert all(segment.text for segment in pieces.under(over))
