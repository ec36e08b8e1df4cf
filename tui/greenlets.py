"""Greenlets: the list of who lives at the cursor, and what each does.

In:  a Scene. Out: a table, a greenlet a row; its chosen row is the current greenlet of all screens.
"""

from __future__ import annotations

from collections.abc import Sequence

from greentrace.events import State
from greentrace.export.looks import look_of
from greentrace.export.words import STATE_WORDS, duration
from greentrace.replay.model import GreenletNow, shown

from .messages import ScreenChosen
from .palette import DEADLOCKED, ERROR, PLAIN, WARNING, state_style
from .table import Cell, Column, Table


class Greenlets(Table):
    """The table."""

    columns = (
        Column("", 2),
        Column("id", 8),
        Column("greenlet", 12, 2),
        Column("state", 11),
        Column("since", 10),
        Column("does, waits for", 20, 6),
        Column("at", 16, 2, from_width=110),
    )

    @property
    def nothing(self) -> str:  # type: ignore[override]
        return "Nobody lives at this moment." if self.scene.trace.event_count else "Nothing is recorded yet."

    def title(self) -> str:
        return f"sort: {self.scene.sort}"

    def rows(self) -> Sequence[GreenletNow]:
        return self.scene.rows

    def cells(self, row: GreenletNow) -> Sequence[Cell]:
        scene = self.scene
        mark = scene.mark(row.key)
        style = ERROR if mark == DEADLOCKED else WARNING if mark != " " else PLAIN
        age = duration(max(scene.world.t_ns - row.since_ns, 0)) if row.state != State.UNKNOWN else ""
        site = shown(row.stack)
        return (
            Cell(mark, style),
            Cell(f"#{row.id}", style),
            Cell(scene.label(row), style),
            Cell(f" {STATE_WORDS[row.state]} ", state_style(look_of(row.state, scene.kind(row))), fixed=True),
            Cell(age, style),
            Cell(scene.words(row), style),
            Cell(site.place if site else "", style),
        )

    def chosen(self, rows: Sequence[GreenletNow]) -> int:
        return self.scene.rows.index_of(self.scene.place.greenlet)

    def choose(self, index: int, rows: Sequence[GreenletNow]) -> None:
        if rows:
            self.scene.selection.choose(rows[min(max(index, 0), len(rows) - 1)].key)

    def enter(self) -> None:
        """Show the current greenlet."""
        self.post_message(ScreenChosen("detail"))
