"""Timeline: who was in which state when; a lane a greenlet.

In:  a Scene. Out: a ruler, lanes, the cursor over them. Never: the sums themselves; `lanes` has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.segment import Segment
from textual import events
from textual.strip import Strip

from greentrace.export.words import clipped
from greentrace.replay.model import GreenletEver

from .arrows import arrows
from .band import Band
from .lanes import picture
from .messages import Pointed
from .palette import (
    ARROW,
    CHOSEN,
    CURSOR,
    DEADLOCKED,
    ERROR,
    FAINT,
    LEVEL_MARKS,
    LEVEL_STYLES,
    PLAIN,
    RULER,
    STRONG,
    WARNING,
    bars,
)
from .pane import Line, Pane, scrolled, strip_of
from .pieces import Cut, Over
from .scene import Scene

_TALL = 10
"""From so many lines on there is room for the whole trace above the lanes."""


class Timeline(Pane):
    """The lanes."""

    def __init__(self, scene: Scene, id: str) -> None:
        super().__init__(scene, id)
        self._top = 0

    def _left(self, width: int) -> int:
        return min(30, max(width // 4, 14))

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        left = self._left(width)
        cells = max(width - left, 1)
        selection = self.scene.selection
        selection.cells = cells
        lanes = self.scene.lanes
        current = lanes.index_of(selection.place.greenlet)
        room = height - (2 if height >= _TALL else 1)
        self._top = scrolled(self._top, current, room, len(lanes))
        shown = lanes[self._top : self._top + room]
        drawn = self._drawn(shown, cells)
        column = self._column(cells)
        out: list[Line | Strip] = [self._overview(left, cells)] if height >= _TALL else []
        out.append(self._ruler(left, cells, column, len(lanes), room))
        wakes = arrows(self.scene.wakes, lanes, range(self._top, self._top + len(shown)), selection.place, cells)
        for row, g in enumerate(shown):
            over = {at: Over(mark, ARROW) for at, mark in wakes.get(self._top + row, {}).items()}
            if column >= 0:
                arrow = over.get(column, Over())
                over[column] = Over(arrow.mark, arrow.added + CURSOR)
            out.append(self._lane(g, drawn, row, left, over, self._top + row == current))
        if not lanes:
            out.append([("Nothing is recorded yet." if self.scene.live else "Nobody lives in this window; x shows all.", FAINT)])
        return out

    def _drawn(self, shown: Sequence[GreenletEver], cells: int) -> Cut:
        """Return the picture without a cursor; it stays while only the cursor moves."""
        scene = self.scene
        place = scene.place
        key = (scene.trace.version, place.a_ns, place.b_ns, cells, tuple(g.key for g in shown))
        keys, hubs = [g.key for g in shown], [g.is_hub for g in shown]
        return self.kept(key, lambda: Cut(picture(scene.trace, keys, hubs, place.a_ns, place.b_ns, cells)))

    def _column(self, cells: int) -> int:
        """Return the column of the cursor, -1 when it stands outside the window."""
        place = self.scene.place
        if not place.a_ns <= place.t_ns <= place.b_ns:
            return -1
        return min((place.t_ns - place.a_ns) * cells // max(place.width_ns, 1), cells - 1)

    def _lane(self, g: GreenletEver, drawn: Cut, row: int, left: int, over: Mapping[int, Over], current: bool) -> Strip:
        mark = self.scene.mark(g.key)
        style = CHOSEN if current else ERROR if mark == DEADLOCKED else WARNING if mark != " " else PLAIN
        arrow = "▸" if current else " "
        label = clipped(f"#{g.id} {self.scene.label(g)}", left - 4)
        segments = [Segment(f"{arrow}{mark} {label}".ljust(left)[:left], style), *drawn.lane(row, current).under(over)]
        return Band(segments, left + drawn.width)

    def _ruler(self, left: int, cells: int, column: int, total: int, height: int) -> Strip:
        scene = self.scene
        place = scene.place
        line = [" "] * cells
        step = _step(place.width_ns * 14 / cells)
        t_ns = -(-(place.a_ns - scene.trace.start_ns) // step) * step
        digits = max(0, 9 - len(str(step)) + 1) if step < 1_000_000_000 else 0
        end = 0
        while scene.trace.start_ns + t_ns <= place.b_ns:
            at = (scene.trace.start_ns + t_ns - place.a_ns) * cells // max(place.width_ns, 1)
            text = f"│{t_ns / 1e9:.{digits}f}s"
            if at >= end and at + len(text) <= cells:
                line[at : at + len(text)] = text
                end = at + len(text) + 1
            t_ns += step
        last = min(self._top + height, total)
        words = f" {total:,} greenlets" if total <= height else f" {self._top + 1:,}–{last:,} of {total:,}"
        segments = [Segment(words.ljust(left)[:left], FAINT)]
        text = "".join(line)
        for mark in scene.selection.marks:
            at = (mark - place.a_ns) * cells // max(place.width_ns, 1)
            if 0 <= at < cells:
                text = f"{text[:at]}◆{text[at + 1 :]}"
        if column >= 0:
            segments += [Segment(text[:column], RULER), Segment("▼", STRONG), Segment(text[column + 1 :], RULER)]
        else:
            segments.append(Segment(text, RULER))
        return strip_of([(segment.text, segment.style or PLAIN) for segment in segments], left + cells)

    def _overview(self, left: int, cells: int) -> Strip:
        """The whole trace: how much happened when, which part of it the window shows, and where the findings are."""
        scene, place = self.scene, self.scene.place
        start, whole = scene.trace.start_ns, max(scene.trace.end_ns - scene.trace.start_ns, 1)
        text = list(bars(scene.activity(cells)))
        styles = [FAINT] * cells
        for at in range((place.a_ns - start) * cells // whole, min((place.b_ns - start) * cells // whole + 1, cells)):
            styles[max(at, 0)] = CHOSEN
        for finding in reversed(scene.findings):
            if finding.level != "info":
                at = min(max((finding.t_ns - start) * cells // whole, 0), cells - 1)
                text[at], styles[at] = LEVEL_MARKS[finding.level], LEVEL_STYLES[finding.level]
        line = [(" whole trace".ljust(left)[:left], FAINT), *zip(text, styles, strict=True)]
        return strip_of(line, left + cells)

    def time_at(self, x: int) -> int | None:
        left = self._left(self.size.width)
        if x < left:
            return None
        place = self.scene.place
        cells = max(self.size.width - left, 1)
        # The cursor shows the end of what the cell shows.
        return place.a_ns + place.width_ns * (x - left) // cells

    def on_click(self, event: events.Click) -> None:
        above = 2 if self.size.height >= _TALL else 1
        t_ns = self.time_at(event.x)
        if t_ns is not None and above == 2 and event.y == 0:
            left = self._left(self.size.width)
            trace = self.scene.trace
            t_ns = trace.start_ns + (trace.end_ns - trace.start_ns) * (event.x - left) // max(self.size.width - left, 1)
        row = self._top + event.y - above
        lanes = self.scene.lanes
        greenlet = lanes[row].key if event.y >= above and row < len(lanes) else None
        self.post_message(Pointed(t_ns, greenlet))


def _step(ns: float) -> int:
    """Return the least of 1, 2, 5 times a power of ten that is at least `ns`."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= ns:
                return factor * power
        power *= 10
