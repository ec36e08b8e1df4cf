"""Table: the base of all screens that are lists of things at the cursor.

In:  a Scene; a subclass names its columns, its rows and what stands in a row.
Out: a head and as many rows as are seen. ↑ and ↓ choose a row, a click too, Enter follows it.
Never: more work than for the rows that are seen; a list may have a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.style import Style
from textual import events
from textual.strip import Strip

from greentrace.export.words import clipped

from .palette import CHOSEN, FAINT, PLAIN, RULER
from .pane import Line, Pane, scrolled
from .scene import Scene


class Column(NamedTuple):
    """A column of `width` cells, and a share of what is left over; hidden on terminals narrower than `from_width`."""

    title: str
    width: int
    share: int = 0
    right: bool = False
    from_width: int = 0


class Cell(NamedTuple):
    """What stands in a row, and how it looks where the row is not the chosen one; `fixed` keeps its look even there."""

    text: str
    style: Style = PLAIN
    fixed: bool = False


class Table(Pane):
    """A list; `chosen` is the index of its chosen row, -1 for none."""

    columns: tuple[Column, ...] = ()
    nothing = "There is nothing here at this moment."

    def __init__(self, scene: Scene, id: str) -> None:
        super().__init__(scene, id)
        self._top = 0
        self._index = 0

    def rows(self) -> Sequence[Any]:
        """Return all rows, in order."""
        raise NotImplementedError

    def cells(self, row: Any) -> Sequence[Cell]:
        """Return what stands in a row, a cell a column (hidden ones too)."""
        raise NotImplementedError

    def chosen(self, rows: Sequence[Any]) -> int:
        """Return the index of the chosen row."""
        return min(self._index, len(rows) - 1)

    def choose(self, index: int, rows: Sequence[Any]) -> None:
        """Make a row the chosen one."""
        self._index = min(max(index, 0), max(len(rows) - 1, 0))

    def title(self) -> str:
        """Return what stands at the right end of the head."""
        return ""

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        rows = self.rows()
        if not rows:
            return [[(self.nothing, FAINT)]]
        widths = self._widths(width)
        index = self.chosen(rows)
        self._top = scrolled(self._top, index, height - 1, len(rows))
        head = "".join(_fitted(column.title, size, column.right) for column, size in zip(self.columns, widths, strict=True))
        note = self.title()
        room = width - 2 - len(head.rstrip())
        out: list[Line | Strip] = [[("  " + head.rstrip(), RULER), (f"{note:>{room}}" if len(note) < room else "", FAINT)]]
        for i, row in enumerate(rows[self._top : self._top + height - 1], self._top):
            out.append(self._line(self.cells(row), widths, i == index))
        return out

    def _widths(self, width: int) -> list[int]:
        shown = [column if width >= column.from_width else Column(column.title, 0) for column in self.columns]
        left = max(width - 2 - sum(column.width for column in shown), 0)
        shares = max(sum(column.share for column in shown), 1)
        return [column.width + left * column.share // shares for column in shown]

    def _line(self, cells: Sequence[Cell], widths: list[int], chosen: bool) -> Line:
        line = [("▸ " if chosen else "  ", CHOSEN if chosen else PLAIN)]
        for cell, size, column in zip(cells, widths, self.columns, strict=True):
            if size:
                line.append((_fitted(cell.text, size, column.right), CHOSEN if chosen and not cell.fixed else cell.style))
        return line

    def move(self, rows: int) -> None:
        every = self.rows()
        self.choose(self.chosen(every) + rows, every)

    def on_click(self, event: events.Click) -> None:
        rows = self.rows()
        index = self._top + event.y - 1
        if event.y >= 1 and index < len(rows):
            self.choose(index, rows)
            if event.chain > 1:
                self.enter()
            self.redraw()


def _fitted(text: str, width: int, right: bool) -> str:
    """Return a text in exactly `width` cells, the last of which is empty."""
    if width <= 0:
        return ""
    text = clipped(text, width - 1)
    return f"{text:>{width - 1}} " if right else f"{text:<{width}}"
