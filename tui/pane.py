"""Pane: the base of all widgets that draw.

In:  a `Scene` and a size. Out: strips, one a line, made once for a place and a size.
Never: a move; a pane posts messages, the app moves the cursor and has all panes drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.filter import ANSIToTruecolor
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from .messages import GreenletChosen, RowsTurned, Zoomed
from .palette import PLAIN
from .scene import Scene

T = TypeVar("T")
Words = tuple[str, Style]
Line = Sequence[Words]
"""One line: words and how they look."""


def strip_of(line: Line, width: int, ground: Style = PLAIN) -> Strip:
    """Return a line as exactly `width` cells; what does not fit ends in `…`."""
    segments: list[Segment] = []
    left = width
    for text, style in line:
        size = cell_len(text)
        if size > left:
            cut = Strip([Segment(text, style)]).crop(0, max(left - 1, 0))
            segments += [*cut, Segment("…", style)] if left > 0 else []
            left = 0
            break
        segments.append(Segment(text, style))
        left -= size
    if left > 0:
        segments.append(Segment(" " * left, ground))
    return Strip(segments, width).adjust_cell_length(width, ground)


def scrolled(top: int, current: int, height: int, total: int) -> int:
    """Return the first row to show so that the current one is in sight, moving as little as possible."""
    if current >= 0:
        top = min(top, current)
        top = max(top, current - height + 1)
    return min(max(top, 0), max(total - height, 0))


def meter(done: float, cells: int = 20) -> str:
    """Return how far something is as a bar and a number: `████······ 42%`."""
    full = int(min(max(done, 0.0), 1.0) * cells)
    return f"{'█' * full}{'·' * (cells - full)} {done:.0%}"


def working(scene: Scene, name: str, doing: str) -> str:
    """Return how far the work on a question is, in words."""
    done = scene.errands.progress(name)
    return "That was stopped; Enter begins again." if done is None else f"{doing} {meter(done)}   Esc stops"


class Pane(Widget):
    """Draws lines; `lines` is all that a pane has to say."""

    ALLOW_SELECT = False
    can_focus = False
    ground = PLAIN

    def __init__(self, scene: Scene, id: str) -> None:
        super().__init__(id=id)
        self.scene = scene
        self._strips: list[Strip] | None = None
        self._kept: tuple[Hashable, Any] = (None, None)

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        """Return what stands in the pane, from the top; at most `height` lines are shown."""
        raise NotImplementedError

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made for a key; made anew when it is another key than the last time. A pane keeps one thing so."""
        if self._kept[0] != key:
            self._kept = (key, make())
        return self._kept[1]  # type: ignore[no-any-return]

    def redraw(self) -> None:
        """Draw anew: the place or the trace has changed."""
        self._strips = None
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self._strips = None

    def render_line(self, y: int) -> Strip:
        width, height = self.size.width, self.size.height
        if self._strips is None:
            drawn = self.lines(width, height)[:height]
            self._strips = [line if isinstance(line, Strip) else strip_of(line, width, self.ground) for line in drawn]
        return self._strips[y] if y < len(self._strips) else strip_of((), width, self.ground)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Hand the strips over as they are: all their colours are whole ones, there is no border, and no line is made anew for it."""
        if any(not isinstance(each, ANSIToTruecolor) for each in self.app.get_line_filters()):
            return super().render_lines(crop)
        strips = [self.render_line(y) for y in range(crop.y, crop.bottom)]
        if crop.x == 0 and crop.width >= self.size.width:
            return strips
        return [strip.crop(crop.x, crop.right) for strip in strips]

    # ---- what a key means here; the app asks the pane that is shown

    def move(self, rows: int) -> None:
        """Go up or down by rows."""
        self.scene.move_lane(rows)

    def enter(self) -> None:
        """Go to who holds what the current greenlet waits for."""
        now = self.scene.now
        holders = self.scene.holders(now) if now is not None else []
        if holders:
            self.post_message(GreenletChosen(holders[0]))
        else:
            self.app.notify("It waits for nothing that somebody holds.")

    def search(self, text: str, forward: bool, again: bool) -> bool:
        """Go to the next thing that is called so, or the one before; return whether there is one."""
        return self.scene.search(text, forward, again)

    def begins_again(self, name: str) -> bool:
        """Ask a question once more that somebody has stopped; return whether that was so."""
        was_stopped = self.scene.errands.was_stopped(name)
        if was_stopped:
            self.scene.errands.again(name)
            self.redraw()
        return was_stopped

    def group(self) -> None:
        """Count by something else."""
        self.app.notify("g is for the statistics: by function, by resource, by site.")

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scrolled(event, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scrolled(event, -1)

    def _scrolled(self, event: events.MouseEvent, rows: int) -> None:
        event.stop()
        t_ns = self.time_at(event.x)
        if event.ctrl and t_ns is not None:
            self.post_message(Zoomed(t_ns, 2.0**rows))
        else:
            self.post_message(RowsTurned(3 * rows))

    def time_at(self, x: int) -> int | None:
        """Return the moment that stands in a column, None where columns are no time."""
        return None
