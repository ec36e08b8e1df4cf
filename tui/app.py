"""App: keys and layout; the one place where the cursor is moved.

In:  a replay.Trace, saved or live. Out: the exit code. Every key and every message ends in a move of the `Selection`, and then all
panes that are seen draw anew. Never: a word to the traced program; a live trace is only read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from textual import events
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from greentrace.errors import GreentraceError
from greentrace.export import views
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
from .messages import Asked, EventChosen, FindingChosen, GreenletChosen, Pointed, RowsTurned, ScreenChosen, Zoomed
from .palette import GROUND
from .pane import Pane
from .player import Player
from .prompt import Prompt
from .resources import Resources
from .scene import SORTS, Scene, next_of
from .statistics import Statistics
from .timeline import Timeline
from .timers import Timers
from .waits import Waits

_FRAMES_A_SECOND = 15
_BELOW = ("timeline", "greenlets")
"""Screens that have the short detail below them, if there is room."""
_OF_THINGS = ("fds", "timers", "resources")
"""Screens from which one goes to a greenlet's lane."""
_ROOMY = 18


class Replay(App[int]):
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
        super().__init__()
        self.scene = Scene(trace, live)
        self.player = Player(trace, self.scene.selection)
        self._searched = ""

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

    def on_mount(self) -> None:
        self._arrange(self.size.height)
        self.set_interval(1 / _FRAMES_A_SECOND, self._tick)
        self.run_worker(self._make_sure, thread=True)

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
        for pane in self.query(Pane):
            if pane.display and (pane.parent is not self._switcher or pane is self.pane):
                pane.redraw()

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

    # ---- moves

    def action_step(self, cells: int) -> None:
        self.scene.selection.step(cells)
        self._redraw()

    def action_zoom(self, factor: float) -> None:
        self.scene.selection.zoom(factor)
        self._redraw()

    def action_pan(self, fraction: float) -> None:
        self.scene.selection.pan(fraction)
        self._redraw()

    def action_fit(self) -> None:
        self.scene.selection.fit()
        self._redraw()

    def action_end(self) -> None:
        if self.scene.live:
            self.scene.selection.follow(True)
        else:
            self.scene.selection.jump(self.scene.trace.end_ns)
        self._redraw()

    def action_follow(self) -> None:
        if self.scene.live:
            self.scene.selection.follow(not self.scene.selection.following)
            self._redraw()
        else:
            self.notify("This trace has ended; there is nothing to follow.")

    def action_move(self, rows: int) -> None:
        self.pane.move(rows)
        self._redraw()

    def action_enter(self) -> None:
        self.pane.enter()

    def action_undo(self) -> None:
        self._travelled(self.scene.selection.undo(), "There is nothing to go back to.")

    def action_redo(self) -> None:
        self._travelled(self.scene.selection.redo(), "There is nothing to go on to.")

    def _travelled(self, moved: bool, words: str) -> None:
        if moved:
            self._redraw()
        else:
            self.notify(words)

    # ---- time goes by

    def action_play(self) -> None:
        if self.player.playing:
            self.player.stop()
        else:
            self.player.start()
        self._redraw()

    def action_play_events(self) -> None:
        self.player.start(by_event=True)
        self._redraw()

    def action_speed(self, factor: float) -> None:
        self.player.faster(factor)

    def action_reverse(self) -> None:
        self.player.forward = not self.player.forward
        self._redraw()

    def action_mark(self) -> None:
        self.scene.selection.toggle_mark()
        self._redraw()

    def action_to_mark(self) -> None:
        t_ns = self.scene.selection.next_mark()
        self._jump(jumps.Jump(t_ns, None) if t_ns is not None else None, "There is no mark: m sets one.")

    # ---- lists

    def action_sort(self) -> None:
        self.scene.sort = next_of(self.scene.sort, SORTS)
        self._redraw()

    def action_group(self) -> None:
        self.pane.group()
        self._redraw()

    def action_everybody(self) -> None:
        self.scene.everybody = not self.scene.everybody
        self._redraw()

    # ---- jumps

    def _jump(self, jump: jumps.Jump | None, words: str, walk: bool = False) -> None:
        """Go there, or say why not."""
        if jump is None:
            self.notify(words)
        elif walk and jump.event is not None:
            self.scene.selection.walk(jump.t_ns, jump.event)
        else:
            self.scene.selection.jump(jump.t_ns, jump.greenlet, jump.event)
        self._redraw()

    def action_event(self, direction: int) -> None:
        found = jumps.event_of(self.scene.trace, self.scene.place, direction > 0)
        self._jump(found, "No other event names this greenlet.", walk=True)

    def action_any(self, direction: int) -> None:
        self._jump(jumps.event_near(self.scene.trace, self.scene.place, direction > 0), "There is no other event.", walk=True)

    def action_change(self, direction: int) -> None:
        found = jumps.change_of(self.scene.trace, self.scene.place, direction > 0)
        self._jump(found, "Its state does not change any more.", walk=True)

    def action_object(self) -> None:
        now = self.scene.now
        wanted = [wait.resource for wait in now.waits if self.scene.resources.index_of(wait.resource) >= 0] if now else []
        if wanted:
            self.query_one(Resources).find(wanted[0])
        self.action_show("resources")

    def action_waker(self) -> None:
        self._jump(jumps.waker_of(self.scene.trace, self.scene.place), "Nobody is known to have woken it before.")

    def action_woken(self) -> None:
        self._jump(jumps.woken_by(self.scene.trace, self.scene.place), "It wakes nobody after this moment.")

    def action_closing(self) -> None:
        found = self.scene.deadlocks
        if not found:
            self.notify("There is no deadlock.")
            return
        deadlock = next((d for d in found if d.closed_ns > self.scene.place.t_ns), found[0])
        self._jump(jumps.Jump(deadlock.closed_ns, deadlock.closed_event, deadlock.greenlets[0]), "")

    def action_hit(self, direction: int) -> None:
        if self._searched:
            self._search(direction > 0, again=True)
        elif self.scene.findings:
            self._to_finding((self.scene.place.finding + direction) % len(self.scene.findings))
        else:
            self.notify("Nothing was found.")

    def _to_finding(self, index: int) -> None:
        finding = self.scene.findings[index]
        greenlet = finding.greenlets[0] if finding.greenlets else None
        event = finding.events[-1] if finding.events else None
        t_ns = self.scene.trace.event(event)[1].t_ns if event is not None else finding.t_ns
        self.scene.selection.jump(t_ns, greenlet, event, index)
        self.query_one(Findings).choose(index)
        self._redraw()

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

    def _search(self, forward: bool, again: bool) -> None:
        if self.scene.search(self._searched, forward, again):
            self._redraw()
        else:
            self.notify(f"Nobody here is called {self._searched!r}.")

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

    def action_export(self) -> None:
        self.run_worker(self._export, thread=True)

    def _export(self) -> None:
        scene = self.scene
        t_ns = scene.place.t_ns
        path = Path(f"{scene.trace.path.stem}-{scene.trace.seconds(t_ns):.6f}.svg")
        try:
            path.write_bytes(views.picture(scene.trace, t_ns))
        except (GreentraceError, OSError) as error:
            self.call_from_thread(self.notify, f"The picture was not written: {error}", severity="error")
        else:
            self.call_from_thread(self.notify, f"Written: {path}")

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
