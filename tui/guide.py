"""Guide: the page behind `?`: what the cells mean, and every key.

In:  the palette and the table of keys. Out: a screen that any key closes.
"""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from greentrace.export.looks import WORDS, Look

from .keys import SHELVES
from .palette import FAINT, KEYCAP, PAINT, STRONG, state_style

_INTRODUCTION = (
    "Everything shows one moment: that of the cursor ▼. ✖ marks who is in a deadlock there, ▲ who will never run again because of one.\n"
    "A cell of a lane has the colour of the longest state in it; a green bar over it says that the greenlet also ran.\n"
    "The mouse: click chooses a greenlet and a moment, the wheel turns rows, Ctrl and the wheel zooms.\n"
)


def text() -> Text:
    """Return the page."""
    page = Text(_INTRODUCTION)
    page.append("\nlegend\n", STRONG)
    for look in Look:
        paint = PAINT[look]
        if WORDS[look].word:
            page.append(f" {paint.glyph * 3} ", state_style(look))
            page.append(f"  {WORDS[look].sentence}\n")
    for shelf in SHELVES:
        page.append(f"\n{shelf.title}\n", STRONG)
        for key in shelf.keys:
            page.append(f" {key.shown:^8} ", KEYCAP)
            page.append(f"  {key.sentence}\n")
    page.append("\n↑ ↓ scroll, any other key closes this page", FAINT)
    return page


class Guide(ModalScreen[None]):
    """The page."""

    CSS = """
    Guide { align: center middle; }
    Guide VerticalScroll { width: 90%; max-width: 110; height: 90%; background: #1b1b26; border: round #8fc7ff; padding: 0 1; }
    """
    BINDINGS = [Binding("escape,q,question_mark,enter,space", "dismiss", show=False)]

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(text())
