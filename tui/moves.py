"""Moves: every key that goes somewhere; the one place, with the answers of `app`, where the cursor is moved.

In:  the keys' actions. Out: moves of the `Selection`, after which all panes that are seen draw anew; a word where there is no way.
Never: a look into the trace of its own; `jumps` finds where to go.
"""

from __future__ import annotations

from textual.app import App

from greentrace.replay.model import Key
from greentrace.replay.reader import Trace

from . import jumps
from .findings import Findings
from .pane import Pane
from .player import Player
from .resources import Resources
from .scene import SORTS, Scene, next_of


class Moves(App[int]):
    """The windows as something that one moves in."""

    def __init__(self, trace: Trace, live: bool = False) -> None:
        super().__init__()
        self.scene = Scene(trace, live, self._errand_moved)
        self.player = Player(trace, self.scene.selection)
        self._searched = ""

    @property
    def pane(self) -> Pane:
        """The screen that is shown."""
        raise NotImplementedError

    def action_show(self, name: str) -> None:
        """Show a screen."""
        raise NotImplementedError

    def _redraw(self) -> None:
        raise NotImplementedError

    def _errand_moved(self) -> None:
        raise NotImplementedError

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

    def action_stop(self) -> None:
        if self.scene.errands.cancel():
            self.notify("Stopped.")
            self._redraw()

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
            self._to_resource(wanted[0])
        else:
            self.action_show("resources")

    def _to_resource(self, key: Key) -> None:
        if not self.query_one(Resources).find(key):
            self.notify("At the cursor nobody holds it and nobody waits for it; x shows all.")
        self.action_show("resources")

    def action_waker(self) -> None:
        self._jump(jumps.waker_of(self.scene.trace, self.scene.place), "Nobody is known to have woken it before.")

    def action_woken(self) -> None:
        self._jump(jumps.woken_by(self.scene.trace, self.scene.place), "It wakes nobody after this moment.")

    def action_arrows(self) -> None:
        self.scene.arrows = not self.scene.arrows
        self._redraw()

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

    def _search(self, forward: bool, again: bool) -> None:
        if self.pane.search(self._searched, forward, again):
            self._redraw()
        else:
            self.notify(f"Nothing else here is called {self._searched!r}.")
