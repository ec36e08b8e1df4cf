"""Bars: what always stands above and below.

In:  a Scene, the name of the screen that is shown. Out: whose trace it is, the verdict, the screens; the legend and the keys.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.strip import Strip

from greentrace.export.looks import WORDS, Look
from greentrace.export.words import clipped, count, duration

from .keys import SCREENS, SHELVES
from .messages import ScreenChosen
from .palette import (
    ERROR,
    FAINT,
    GOOD,
    KEYCAP,
    LEVEL_MARKS,
    LEVEL_STYLES,
    LIVE,
    PAINT,
    PLAIN,
    TITLE,
    TITLE_STRONG,
    WARNING,
    state_style,
)
from .pane import Line, Pane, working
from .player import Player
from .scene import Scene


class Head(Pane):
    """Three lines: the trace and the cursor; the verdict; the screens."""

    def __init__(self, scene: Scene, player: Player, id: str) -> None:
        super().__init__(scene, id)
        self._player = player
        self.shown = SCREENS[0].name
        self._narrow = False

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        self._narrow = width < 110
        return [self._title(width), self._verdict(), self._screens()]

    def _title(self, width: int) -> Line:
        scene, place = self.scene, self.scene.place
        trace = scene.trace
        live = " LIVE " if scene.selection.following else " live, standing still " if scene.live else ""
        lost = f"  ✖ {trace.lost:,} lost" if trace.lost else ""
        event = f" #{place.event}" if place.event is not None else ""
        play = (" ▶ " if self._player.forward else " ◀ ") if self._player.playing else ""
        mark = scene.selection.marks[-1] if scene.selection.marks else None
        measured = f"  {'+' if place.t_ns >= mark else ''}{duration(place.t_ns - mark)} from ◆" if mark is not None else ""
        only = f"  only {scene.filter_line}" if scene.filter_line else ""
        where = f"{play}cursor {scene.moment(place.t_ns)}{event}{measured}  window {duration(place.width_ns)}{only} "
        what = f"  {count(trace.event_count, 'event')}  {count(scene.greenlet_count, 'greenlet')}"
        room = width - len(where) - len(live) - len(lost) - 1
        name = clipped(trace.name, max(room, 8))
        if len(name) + len(what) <= room:
            name += what
        left: list[tuple[str, object]] = [(f" {name}", TITLE_STRONG), (live, LIVE), (lost, ERROR)]
        used = 1 + len(name) + len(live) + len(lost)
        return [*left, (" " * max(width - used - len(where), 1), TITLE), (where, TITLE)]  # type: ignore[list-item]

    def _verdict(self) -> Line:
        scene = self.scene
        if not scene.is_judged:
            return [(f" {working(scene, 'verdict', 'Looking for trouble')}", FAINT)]
        first = next(iter(scene.findings), None)
        if first is not None:
            more = f"  (+{len(scene.findings) - 1}: 7)" if len(scene.findings) > 1 else ""
            return [(f" {LEVEL_MARKS[first.level]} {first.line}", LEVEL_STYLES[first.level]), (more, FAINT)]
        if scene.trace.lost or scene.trace.damage:
            return [(" Nothing was found in what is left; some of it was lost.", WARNING)]
        return [(" Nothing was found." if scene.trace.event_count else " Nothing is recorded yet.", GOOD)]

    def _tabs(self) -> list[tuple[str, str]]:
        """Return (name of the screen, its tab)."""
        return [(screen.name, f"{screen.key} {screen.short} " if self._narrow else f" {screen.key} {screen.name} ") for screen in SCREENS]

    def _screens(self) -> Line:
        return [(tab, KEYCAP if name == self.shown else FAINT) for name, tab in self._tabs()]

    def on_click(self, event: events.Click) -> None:
        at = 0
        for name, tab in self._tabs():
            if event.y == 2 and at <= event.x < at + len(tab):
                self.post_message(ScreenChosen(name))
            at += len(tab)


class Foot(Pane):
    """Two lines: what the cells mean, and what one can do."""

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        return [self._legend(), self._hints()]

    def _legend(self) -> Line:
        line: list[tuple[str, object]] = [(" ", PLAIN)]
        for look in Look:
            paint = PAINT[look]
            if WORDS[look].word:
                # What is as bright as its background says enough by that.
                words = f" {WORDS[look].word} " if paint.glyph == "█" else f"{paint.glyph} {WORDS[look].word}"
                line += [(words, state_style(look)), (" ", PLAIN)]
        return line  # type: ignore[return-value]

    def _hints(self) -> Line:
        line: list[tuple[str, object]] = [(" ", PLAIN)]
        every = [key.hint for shelf in SHELVES for key in shelf.keys if key.hint]
        # What leads to all the others comes first: it is seen on the narrowest terminal too.
        for hint in sorted(every, key=lambda hint: not hint.startswith(("?", "q"))):
            keycap, _, words = hint.partition(" ")
            line += [(keycap, KEYCAP), (f" {words} ", FAINT)]
        return line  # type: ignore[return-value]
