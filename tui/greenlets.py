"""Greenlets: the list of who lives at the cursor, and what each does.

In:  a Scene. Out: a table, a greenlet a row. Never: more rows than are seen; the list may have a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual import events
from textual.strip import Strip

from greentrace.events import State
from greentrace.export.looks import look_of
from greentrace.export.words import STATE_WORDS, clipped, duration
from greentrace.replay.model import GreenletNow, shown

from .messages import Pointed, ScreenChosen
from .palette import CHOSEN, DEADLOCKED, ERROR, FAINT, PLAIN, RULER, WARNING, state_style
from .pane import Line, Pane, scrolled
from .scene import Scene


class Greenlets(Pane):
    """The table."""

    def __init__(self, scene: Scene, id: str) -> None:
        super().__init__(scene, id)
        self._top = 0

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        scene = self.scene
        rows = scene.rows
        keys = [g.key for g in rows]
        current = keys.index(scene.place.greenlet) if scene.place.greenlet in keys else -1
        self._top = scrolled(self._top, current, height - 1, len(rows))
        names = min(max(width // 5, 14), 30)
        place = min(max(width // 6, 0), 32) if width >= 110 else 0
        waits = max(width - 3 - 7 - names - 11 - 10 - place, 10)
        head = f"   {'id':<7}{'greenlet':<{names}}{'state':<11}{'since':<10}{'does, waits for':<{waits}}{'at' if place else ''}"
        out: list[Line | Strip] = [[(head[: max(width - 22, 0)], RULER), (f"  sort: {scene.sort}", FAINT)]]
        for i, g in enumerate(rows[self._top : self._top + height - 1]):
            out.append(self._row(g, self._top + i == current, names, waits, place))
        if not rows:
            out.append([("Nobody lives at this moment." if scene.trace.event_count else "Nothing is recorded yet.", FAINT)])
        return out

    def _row(self, g: GreenletNow, current: bool, names: int, waits: int, place: int) -> Line:
        scene = self.scene
        mark = scene.mark(g.key)
        plain = CHOSEN if current else ERROR if mark == DEADLOCKED else WARNING if mark != " " else PLAIN
        age = duration(max(scene.world.t_ns - g.since_ns, 0)) if g.state != State.UNKNOWN else ""
        look = look_of(g.state, scene.kind(g))
        name = clipped(scene.label(g), names - 1)
        site = shown(g.stack)
        line: list[tuple[str, Style]] = [
            (f"{'▸' if current else ' '}{mark} #{g.id:<6}{name:<{names}}"[: 3 + 7 + names], plain),
            (f" {STATE_WORDS[g.state]} ".ljust(10), state_style(look)),
            (" " + f"{age:<10}", plain),
            (clipped(scene.words(g), waits - 1).ljust(waits), plain),
        ]
        if place:
            line.append((clipped(site.place if site else "", place), plain))
        return line

    def move(self, rows: int) -> None:
        self.scene.move_row(rows)

    def on_click(self, event: events.Click) -> None:
        row = self._top + event.y - 1
        if event.y >= 1 and row < len(self.scene.rows):
            self.post_message(Pointed(None, self.scene.rows[row].key))

    def enter(self) -> None:
        """Show the current greenlet."""
        self.post_message(ScreenChosen("detail"))
