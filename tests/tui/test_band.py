"""A band looks on the terminal as a strip does, and takes fewer bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from greentrace.tui.band import Band

COLOURS = st.sampled_from([None, "#000000", "#50d7a0", "#c44800", "#121218"])
STYLES = st.builds(lambda colour, back, bold: Style(color=colour, bgcolor=back, bold=bold), COLOURS, COLOURS, st.booleans())
SEGMENTS = st.lists(st.builds(Segment, st.text("ab█▁ ", min_size=1, max_size=5), STYLES | st.none()), max_size=12)


def seen(written: str) -> list[tuple[str, bool, str, str]]:
    """Return what a terminal shows: of each character whether it is bold, its colour, its background."""
    bold, colour, back = False, "39", "49"
    cells = []
    for codes, character in re.findall(r"\x1b\[([0-9;]*)m|(.)", written, re.S):
        if character:
            cells.append((character, bold, colour, back))
            continue
        words = codes.split(";")
        while words:
            word = words.pop(0)
            if word in ("0", ""):
                bold, colour, back = False, "39", "49"
            elif word == "1":
                bold = True
            elif word in ("38", "48"):
                many = 4 if words[0] == "2" else 2
                value = ";".join([word, *words[:many]])
                del words[:many]
                colour, back = (value, back) if word == "38" else (colour, value)
            elif int(word) in (*range(30, 40), *range(90, 98)):
                colour = word
            else:
                back = word
    assert (bold, colour, back) == (False, "39", "49"), "it leaves the terminal as it was"
    return cells


@pytest.mark.parametrize("system", ["truecolor", "256", "standard"])
@given(segments=SEGMENTS)
def test_a_band_looks_like_a_strip(system: str, segments: list[Segment]) -> None:
    console = Console(color_system=system, force_terminal=True)  # type: ignore[arg-type]
    band, strip = Band(segments).render(console), Strip(segments).render(console)
    assert seen(band) == seen(strip)


def test_a_busy_line_takes_fewer_bytes() -> None:
    console = Console(color_system="truecolor", force_terminal=True)
    segments = [Segment("▃", Style(color="#50d7a0", bgcolor=f"#{at:02x}4800")) for at in range(200)]
    assert len(Band(segments).render(console)) < 0.6 * len(Strip(segments).render(console))
