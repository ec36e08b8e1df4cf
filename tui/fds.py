"""Fds: what the hub listens to at the cursor, and who waits there.

In:  a Scene. Out: a table, an fd a row: its generation (a number that was closed and used again is another fd), who waits and since when,
how often it has been ready so far. Enter goes to who waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from greentrace.events import Kind, State
from greentrace.export.words import duration
from greentrace.replay.model import ResourceNow

from .messages import GreenletChosen
from .palette import FAINT, PLAIN
from .table import Cell, Column, Table


class Fds(Table):
    """The table."""

    columns = (
        Column("fd", 7, right=True),
        Column("gen", 6, right=True),
        Column("listens for", 14),
        Column("waits", 14, 4),
        Column("since", 10),
        Column("ready", 9, right=True),
        Column("last ready", 16, 1, right=True),
    )
    nothing = "No fd is listened to at this moment."

    def title(self) -> str:
        return "ready: since the window began"

    def rows(self) -> Sequence[ResourceNow]:
        return self.scene.fds

    def cells(self, row: ResourceNow) -> Sequence[Cell]:
        scene = self.scene
        modes = dict.fromkeys(listener.mode.name.lower() for listener in scene.world.listeners if listener.resource == row.key)
        waiters = [scene.world.greenlets[key] for key in row.waiters if key in scene.world.greenlets]
        parked = [g for g in waiters if g.state == State.PARKED]
        who = scene.label(waiters[0]) + (f" +{len(waiters) - 1}" if len(waiters) > 1 else "") if waiters else "a callback"
        since = duration(max(scene.world.t_ns - min(g.since_ns for g in parked), 0)) if parked else ""
        touched = scene.touched(Kind.FD_READY, row.key)
        ready, last_ns = touched or (0, None)
        return (
            Cell(str(row.fd)),
            Cell(str(row.generation), FAINT),
            Cell(", ".join(modes) or "-"),
            Cell(who),
            Cell(since),
            Cell("zoom in" if touched is None else f"{ready:,}", FAINT if touched is None else PLAIN),
            Cell(scene.moment(last_ns) if last_ns is not None else "-", FAINT),
        )

    def enter(self) -> None:
        rows = self.rows()
        index = self.chosen(rows)
        if rows and rows[index].waiters:
            self.post_message(GreenletChosen(rows[index].waiters[0]))
        else:
            self.app.notify("No greenlet waits there.")
