"""Palette: the paint of every look, on a terminal.

In:  a `Look`. Out: its glyph and colours; and styles for the rest of the screen.
Never: a meaning that only the colour carries. The colours of the first eight differ by dE76 >= 19 for protanopes, deuteranopes and
tritanopes; whoever sees none of them has the glyph in short spans and the word in long ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from rich.style import Style

from greentrace.export.looks import Look


class Paint(NamedTuple):
    """Glyph, background, the glyph's faint colour, the colour of text on it."""

    glyph: str
    back: str
    faint: str
    text: str


GROUND = "#121218"
PAINT: dict[Look, Paint] = {
    Look.BLANK: Paint(" ", GROUND, GROUND, "#c0c0c0"),
    Look.UNKNOWN: Paint("░", GROUND, "#77777f", "#d0d0d0"),
    Look.CREATED: Paint("'", "#20262c", "#7f8a94", "#c0c8d0"),
    Look.RUNNING: Paint("█", "#50d7a0", "#50d7a0", "#06281b"),
    Look.RUNNABLE: Paint("+", "#ffec78", "#8f7d10", "#2c2600"),
    Look.IO: Paint("~", "#0e4280", "#5f8fc8", "#e0ecff"),
    Look.LOCK: Paint("x", "#c44800", "#ffb890", "#fff2ea"),
    Look.QUEUE: Paint("=", "#b280c4", "#60386e", "#1c0624"),
    Look.SLEEP: Paint("-", "#34343c", "#74747e", "#d0d0d8"),
    Look.JOIN: Paint("&", "#5c521c", "#b0a468", "#fff8d8"),
    Look.FINISHED: Paint("·", GROUND, "#66666e", "#8a8a92"),
    Look.HUB: Paint("█", "#2c6e55", "#2c6e55", "#d8fff0"),
}
HEIGHTS = " ▁▂▃▄▅▆▇█"


def bars(numbers: Iterable[int]) -> str:
    """Return numbers as bars, a character each; the greatest is as high as a cell, and only 0 has none."""
    every = list(map(int, numbers))
    most = max(every, default=0) or 1
    return "".join(HEIGHTS[-(-8 * number // most)] for number in every)


class Ink(IntEnum):
    """What is written into a cell."""

    GLYPH = 0
    TEXT = 1
    RUN = 2
    HUB = 3


CURSOR = 64
"""Added to a cell's style number in the column of the cursor."""
CURRENT = 128
"""Added in the lane of the current greenlet."""
ARROW = 256
"""Added where an arrow lies over a cell."""


def _mixed(colour: str, other: str, share: float) -> str:
    parts = [(int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)


def _readable(back: str) -> str:
    """Return black or white, whichever is read on a background."""
    return "#000000" if sum(int(back[i : i + 2], 16) for i in (1, 3, 5)) > 330 else "#ffffff"


@lru_cache(maxsize=512)
def cell_style(number: int) -> Style:
    """Return the style `look + 16 * ink`, with `CURSOR`, `CURRENT` and `ARROW` added where they apply."""
    paint = PAINT[Look(number & 15)]
    ink = Ink(number >> 4 & 3)
    colour = {Ink.GLYPH: paint.faint, Ink.TEXT: paint.text, Ink.RUN: PAINT[Look.RUNNING].back, Ink.HUB: PAINT[Look.HUB].back}[ink]
    back = paint.back
    if number & CURRENT and back == GROUND:
        back = "#23232e"
    if number & CURSOR:
        # Lighter, but what stands there is still to be read.
        colour, back = _mixed(colour, "#ffffff", 0.45), _mixed(back, "#ffffff", 0.45)
        if ink in (Ink.GLYPH, Ink.TEXT):
            colour = _readable(back)
    if number & ARROW:
        return Style(color=_readable(back), bgcolor=back, bold=True)
    return Style(color=colour, bgcolor=back, bold=ink == Ink.TEXT and bool(number & CURSOR))


PLAIN = Style.parse(f"#c8c8d0 on {GROUND}")
FAINT = Style.parse(f"#85858f on {GROUND}")
STRONG = Style.parse(f"bold #ffffff on {GROUND}")
ERROR = Style.parse(f"bold #ff7b6b on {GROUND}")
WARNING = Style.parse(f"bold #ffce5c on {GROUND}")
GOOD = Style.parse(f"#50d7a0 on {GROUND}")
LINK = Style.parse(f"underline #8fc7ff on {GROUND}")
CHOSEN = Style.parse("bold #ffffff on #343450")
TITLE = Style.parse("#d8d8e8 on #26263a")
TITLE_STRONG = Style.parse("bold #ffffff on #26263a")
LIVE = Style.parse("bold #ffffff on #a01830")
RULER = Style.parse(f"#9a9aa8 on {GROUND}")
KEYCAP = Style.parse("bold #ffffff on #3a3a58")

LEVEL_MARKS = {"error": "✖", "warning": "!", "info": "i"}
LEVEL_STYLES = {"error": ERROR, "warning": WARNING, "info": PLAIN}
DEADLOCKED, DOOMED = "✖", "▲"
"""Marks of a greenlet: in a deadlock; doomed all the same."""


def state_style(look: Look) -> Style:
    """Return a style for the name of a state in a table."""
    paint = PAINT[look]
    return Style(color=paint.text, bgcolor=paint.back)
