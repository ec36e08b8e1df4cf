"""Timers: what the hubs are to do next, at the cursor.

In:  a Scene. Out: a table, a timer a row, the earliest first: when it is due or by how much it is late, whom it concerns, what it does to
it, and where it was armed. Enter goes to the greenlet.
"""

from __future__ import annotations

from collections.abc import Sequence

from greentrace.export.words import duration
from greentrace.replay.model import TimerNow, shown

from .messages import GreenletChosen
from .palette import FAINT, PLAIN, WARNING
from .table import Cell, Column, Table


class Timers(Table):
    """The table."""

    columns = (
        Column("due in", 12, right=True),
        Column("at", 17, right=True),
        Column("does", 20),
        Column("greenlet", 12, 2),
        Column("armed at", 16, 2),
    )
    nothing = "No timer is armed at this moment."

    def rows(self) -> Sequence[TimerNow]:
        return self.scene.timers

    def cells(self, row: TimerNow) -> Sequence[Cell]:
        scene = self.scene
        left = row.due_ns - scene.world.t_ns
        site = shown(row.site)
        what = "calls a function" if row.calls else "throws a Timeout" if row.throws else "wakes it"
        return (
            Cell(duration(left) if left >= 0 else f"{duration(-left)} late", WARNING if left < 0 else PLAIN),
            Cell(scene.moment(row.due_ns), FAINT),
            Cell(what),
            Cell(scene.name(row.greenlet) if row.greenlet is not None else "-"),
            Cell(str(site) if site else "-", FAINT),
        )

    def enter(self) -> None:
        rows = self.rows()
        whom = rows[self.chosen(rows)].greenlet if rows else None
        if whom is not None:
            self.post_message(GreenletChosen(whom))
        else:
            self.app.notify("It concerns no greenlet that is known.")
