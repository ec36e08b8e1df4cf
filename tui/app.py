"""App: the windows, what they say, and what is taken out of them.

In:  a replay.Trace, saved or live. Out: the exit code. Every key and every message ends in a move of the `Selection`, and then all
panes that are seen draw anew. Never: a word to the traced program; a live trace is only read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from textual import events
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import ContentSwitcher

from greentrace.errors import GreentraceError
from greentrace.export import views
from greentrace.export.render import render
from greentrace.replay.reader import Trace

from . import jumps
from .bars import Foot, Head
from .detail import Detail
from .fds import Fds
from .findings import Findings
from .greenlets import Greenlets
from .guide import Guide
from .keys import SHELVES
from .log import Log
from .messages import (
    Asked,
    EventChosen,
    FilterChosen,
    FindingChosen,
    GreenletChosen,
    Pointed,
    ResourceChosen,
    RowsTurned,
    ScreenChosen,
    Zoomed,
)
from .moves import Moves
from .palette import GROUND
from .pane import Pane
from .prompt import Prompt
from .resources import Resources
from .settings import Settings
from .statistics import Statistics
from .takeaway import free_path, stack_text
from .timeline import Timeline
from .timers import Timers
from .waits import Waits

_FRAMES_A_SECOND = 15
_BELOW = ("timeline", "greenlets")
"""Screens that have the short detail below them, if there is room."""
_OF_THINGS = ("fds", "timers", "resources")
"""Screens from which one goes to a greenlet's lane."""
_ROOMY = 18
_LATE_SECONDS = 1 / 60
_REST_SECONDS = 0.06
"""A cursor that has not moved for so long rests."""


class Replay(Moves):
    """The windows over one trace."""

    TITLE = "greentrace"
    AUTO_FOCUS = None
    CSS = f"""
    Screen {{ background: {GROUND}; }}
    #head {{ height: 3; }}
    #foot {{ height: 2; }}
    ContentSwitcher {{ height: 1fr; }}
    ContentSwitcher > Pane {{ height: 1fr; }}
    #below {{ height: 9; }}
    .roomy #below {{ height: 14; }}
    .narrow #below {{ display: none; }}
    Prompt {{ display: none; height: 1; border: none; padding: 0 1; background: #26263a; }}
    """
    BINDINGS = [Binding(key.keys, key.action, key.sentence, show=False) for shelf in SHELVES for key in shelf.keys]

    def __init__(self, trace: Trace, live: bool = False) -> None:
        super().__init__(trace, live)
        self._settings = Settings.load()
        self._settings.apply(self.scene)

    def compose(self) -> ComposeResult:
        scene = self.scene
        yield Head(scene, self.player, "head")
        with Vertical(), ContentSwitcher(initial="timeline"):
            yield Timeline(scene, "timeline")
            yield Greenlets(scene, "greenlets")
            yield Detail(scene, "detail", whole=True)
            yield Waits(scene, "waits")
            yield Fds(scene, "fds")
            yield Timers(scene, "timers")
            yield Findings(scene, "findings")
            yield Statistics(scene, "statistics")
            yield Resources(scene, "resources")
            yield Log(scene, "log")
        yield Detail(scene, "below")
        yield Prompt(id="prompt")
        yield Foot(scene, "foot")

    _rest: Timer | None = None
    _late: Timer | None = None

    def on_mount(self) -> None:
        self._arrange(self.size.height)
        self.set_interval(1 / _FRAMES_A_SECOND, self._tick)
        self.call_after_refresh(self._begin_errands)

    def _begin_errands(self) -> None:
        """What may wait until something is seen."""
        self.scene.errands.begin()
        self.run_worker(self._make_sure, thread=True)
        self._redraw()

    def on_unmount(self) -> None:
        settings = Settings.of(self.scene)
        if settings != self._settings:
            settings.save()
        self.scene.errands.close()

    def _errand_moved(self) -> None:
        """Called in the thread of the errands."""
        with suppress(RuntimeError):
            self.call_later(self._heard)

    def _heard(self) -> None:
        fault, self.scene.errands.fault = self.scene.errands.fault, ""
        if fault:
            self.notify(f"{fault}. Please report this.", severity="error")
        self.scene.heard()
        self._redraw()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange(event.size.height)

    # ---- drawing

    @property
    def _switcher(self) -> ContentSwitcher:
        return self.query_one(ContentSwitcher)

    @property
    def pane(self) -> Pane:
        """The screen that is shown."""
        return self.query_one(f"#{self._switcher.current}", Pane)

    def _arrange(self, height: int) -> None:
        self.screen.set_class(height < _ROOMY or self._switcher.current not in _BELOW, "narrow")
        self.screen.set_class(height >= 36, "roomy")

    def _redraw(self) -> None:
        if self._is_behind():
            # A slow link: what is still on its way is seen first, and what would have come in between never.
            if self._late is None:
                self._late = self.set_timer(_LATE_SECONDS, self._redraw_late)
            return
        for pane in self.query(Pane):
            if pane.display and (pane.parent is not self._switcher or pane is self.pane):
                pane.redraw()
        if self._rest is not None:
            self._rest.stop()
            self._rest = None
        if not self.scene.is_settled:
            self._rest = self.set_timer(_REST_SECONDS, self._settle)

    def _redraw_late(self) -> None:
        self._late = None
        self._redraw()

    def _is_behind(self) -> bool:
        """Whether the terminal has yet to take what was written before. Textual queues its writing without a word of how much there is."""
        queue = getattr(getattr(self._driver, "_writer_thread", None), "_queue", None)
        return queue is not None and not queue.empty()

    def _settle(self) -> None:
        """The cursor rests: what takes long is made now."""
        self.scene.graph  # noqa: B018
        self._redraw()

    def _tick(self) -> None:
        grown = self.scene.live and self.scene.refresh()
        if self.player.pass_by(1 / _FRAMES_A_SECOND) or grown:
            self._redraw()

    # ---- the screens

    def action_show(self, name: str) -> None:
        self._switcher.current = name
        self.query_one(Head).shown = name
        self._arrange(self.size.height)
        self._redraw()

    def action_guide(self) -> None:
        self.push_screen(Guide())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every key is a command of the palette too."""
        for shelf in SHELVES:
            for key in shelf.keys:
                yield SystemCommand(f"{shelf.title}: {key.sentence}", f"key {key.shown}", lambda key=key: self.run_action(key.action))

    # ---- questions

    def action_ask(self, what: str) -> None:
        self.query_one(Prompt).ask(what, self.scene.filter_line if what == "filter" else "")

    def on_asked(self, message: Asked) -> None:
        if message.what == "filter" and message.text is not None:
            self._show_only(message.text)
        elif not message.text:
            self._searched = "" if message.what == "search" else self._searched
        elif message.what == "search":
            self._searched = message.text
            self._search(forward=True, again=False)
        else:
            self._go(message.text)

    def _show_only(self, line: str) -> None:
        try:
            self.scene.set_filter(line)
        except ValueError as error:
            self.notify(str(error), severity="warning")
        self._redraw()

    def _go(self, text: str) -> None:
        trace = self.scene.trace
        try:
            event = int(text[1:]) if text.startswith("#") and text[1:].isdigit() else None
            self._jump(jumps.Jump(trace.parse_time(text), event), "")
        except GreentraceError as error:
            self.notify(f"{error.happened} {error.advice}", severity="warning")

    def _make_sure(self) -> None:
        """What was believed so that the trace could be shown at once is looked at while it is shown."""
        if not self.scene.trace.is_sure():
            self.call_from_thread(self._begin_again)

    def _begin_again(self) -> None:
        self.scene.trace.begin_again()
        self.notify("The index of the trace was damaged; a new one was made.", severity="warning")
        self._redraw()

    # ---- to take away

    def action_export(self, suffix: str) -> None:
        screen = self.pane.id or ""
        path = free_path(self.scene, screen, suffix)
        if screen == "waits" and suffix == ".svg":
            # Of the graph there is a better picture than that of its cells; to lay it out takes a while.
            drawn = views.drawing(self.scene.trace, self.scene.graph)
            self.run_worker(lambda: self._write(path, lambda: render(drawn, "svg")), thread=True)
        elif suffix == ".svg":
            self._write(path, lambda: self.export_screenshot(title=self.scene.trace.name).encode())
        else:
            strips = self.screen._compositor.render_strips(self.size)
            self._write(path, ("\n".join(strip.text.rstrip() for strip in strips) + "\n").encode)

    def _write(self, path: Path, made: Callable[[], bytes]) -> None:
        try:
            data = made()
            with path.open("xb") as file:
                file.write(data)
        except (GreentraceError, OSError) as error:
            self._say(f"The view was not written: {error}", "error")
        else:
            self._say(f"Written: {path}")

    def _say(self, words: str, severity: Literal["information", "error"] = "information") -> None:
        if threading.current_thread() is threading.main_thread():
            self.notify(words, severity=severity)
        else:
            self.call_from_thread(self.notify, words, severity=severity)

    def action_copy(self) -> None:
        text = stack_text(self.scene)
        if text is None:
            self.notify("The current greenlet is not there at the cursor.")
        else:
            self.copy_to_clipboard(text)
            self.notify("The stack was given to the terminal's clipboard.")

    # ---- what widgets say

    def on_pointed(self, message: Pointed) -> None:
        self.scene.selection.point(message.t_ns, message.greenlet)
        self._redraw()

    def on_greenlet_chosen(self, message: GreenletChosen) -> None:
        self.scene.selection.jump(self.scene.place.t_ns, message.greenlet, self.scene.place.event)
        if self.pane.id in _OF_THINGS:
            self.action_show("timeline")
        self._redraw()

    def on_rows_turned(self, message: RowsTurned) -> None:
        self.action_move(message.rows)

    def on_zoomed(self, message: Zoomed) -> None:
        self.scene.selection.zoom(message.factor, message.t_ns)
        self._redraw()

    def on_finding_chosen(self, message: FindingChosen) -> None:
        self._to_finding(message.index)
        self.action_show("timeline")

    def on_resource_chosen(self, message: ResourceChosen) -> None:
        self._to_resource(message.resource)

    def on_filter_chosen(self, message: FilterChosen) -> None:
        self._show_only(message.line)
        self.action_show("greenlets")

    def on_event_chosen(self, message: EventChosen) -> None:
        self.scene.selection.walk(self.scene.trace.event(message.number)[1].t_ns, message.number)
        self._redraw()

    def on_screen_chosen(self, message: ScreenChosen) -> None:
        self.action_show(message.screen)


def run(trace: Trace, live: bool = False) -> int:
    """Show a trace until the user leaves; return the exit code."""
    app = Replay(trace, live)
    app.run()
    return app.return_code or 0
