"""Waits: the wait-for graph at the cursor, drawn in cells.

    ✖ DEADLOCK of 2, closed at 0.025657 s
    ╭▶ #3 alice  waits for lock created at bank.py:12 (main)  at bank.py:20 (alice)
    │    held by #4 bob
    ╰─ #4 bob  waits for lock created at bank.py:13 (main)  at bank.py:27 (bob)
         held by #3 alice

In:  a Scene. Out: rings first, who waits behind them, then every other thing that somebody waits for, with its queue.
Never: a verdict of its own; `Graph` has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.style import Style
from textual import events
from textual.strip import Strip

from greentrace.events import ResourceKind
from greentrace.export.words import STATE_WORDS, count, duration
from greentrace.replay.model import Deadlock, Key, ResourceNow

from .messages import Pointed
from .palette import CHOSEN, ERROR, FAINT, GOOD, PLAIN, STRONG, WARNING
from .pane import Line, Pane, scrolled
from .scene import Scene

_MOST = 12
"""Waiters of one thing that are listed."""
_QUEUES = 100
"""Things that are drawn with their queues."""


class Row(NamedTuple):
    """A line, and the greenlet that it speaks of."""

    line: Line
    greenlet: Key | None = None


class Waits(Pane):
    """The graph; ↑ and ↓ walk along its greenlets."""

    def __init__(self, scene: Scene, id: str) -> None:
        super().__init__(scene, id)
        self._top = 0
        self._rows: list[Row] = []

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        scene = self.scene
        self._rows = self.kept((scene.trace.version, scene.place.t_ns), lambda: list(self._drawn()))
        current = self._current()
        self._top = scrolled(self._top, current, height, len(self._rows))
        out: list[Line] = []
        for i, row in enumerate(self._rows[self._top : self._top + height], self._top):
            chosen = i == current
            out.append([(text, CHOSEN if chosen else style) for text, style in row.line])
        return out

    def _current(self) -> int:
        key = self.scene.place.greenlet
        return next((i for i, row in enumerate(self._rows) if row.greenlet == key and key is not None), -1)

    def _drawn(self) -> Iterator[Row]:
        graph = self.scene.graph
        world = graph.world
        if world.unknown:
            yield Row([("Nothing is known of this moment: it lies before the first keyframe, or events were lost.", WARNING)])
            return
        for deadlock in graph.deadlocks:
            yield from self._ring(deadlock)
            yield Row([("", PLAIN)])
        if not graph.deadlocks:
            yield Row([("No deadlock at this moment.", GOOD)])
            yield Row([("", PLAIN)])
        for process in graph.exhausted:
            pid = self.scene.trace.histories[process].feed.pid
            yield Row([(f"✖ Process {pid}: everybody is parked and nothing is left that could wake anybody.", ERROR)])
        drawn = {key for deadlock in graph.deadlocks for key in deadlock.resources}
        used = self.scene.used
        busy = [key for key in used["key"][used["waiters"] > 0].tolist() if key not in drawn]
        for key in busy[:_QUEUES]:
            yield from self._queue(world.resources[key])
        if len(busy) > _QUEUES:
            yield Row([(f"… and {len(busy) - _QUEUES:,} more things that somebody waits for: o lists them all", FAINT)])
        outside = self.scene.outside
        if outside:
            yield Row([(f"not drawn: {count(outside, 'greenlet')} waiting for the network, for time, or for a switch", FAINT)])

    def _ring(self, deadlock: Deadlock) -> Iterator[Row]:
        scene = self.scene
        by = f" by event #{deadlock.closed_event}" if deadlock.closed_event is not None else ""
        yield Row([(f"✖ DEADLOCK of {len(deadlock.greenlets)}", ERROR), (f", closed at {scene.moment(deadlock.closed_ns)}{by}", PLAIN)])
        last = len(deadlock.greenlets) - 1
        for i, (key, resource) in enumerate(zip(deadlock.greenlets, deadlock.resources, strict=True)):
            corner = ("╭▶" if i == 0 else "╰─" if i == last else "├─") if last else "↻ "
            now = scene.world.greenlets[key]
            at = f"  at {now.site}" if now.site else ""
            yield Row([(f"{corner} ", ERROR), (self._who(key), ERROR), (f"  waits for {scene.thing(resource)}{at}", PLAIN)], key)
            yield Row([("│    " if i < last else "     ", ERROR), (f"held by {self._holders(resource)}", FAINT)])
        if deadlock.victims:
            yield Row([(f"   ▲ {count(len(deadlock.victims), 'victim')} behind them:", WARNING)])
            for key in deadlock.victims[:_MOST]:
                yield Row([("     ", PLAIN), (self._who(key), WARNING), (f"  {scene.words(scene.world.greenlets[key])}", PLAIN)], key)
            if len(deadlock.victims) > _MOST:
                yield Row([(f"     … and {len(deadlock.victims) - _MOST:,} more", FAINT)])
        if deadlock.assumption:
            yield Row([(f"   assumed: {deadlock.assumption}", FAINT)])

    def _holders(self, key: Key) -> str:
        resource = self.scene.world.resources[key]
        held = dict.fromkeys(holder.greenlet for holder in resource.holders)
        return ", ".join(map(self._who, held or ([resource.greenlet] if resource.greenlet is not None else []))) or "nobody known"

    def _queue(self, resource: ResourceNow) -> Iterator[Row]:
        scene = self.scene
        words = scene.thing(resource.key) if resource.kind != ResourceKind.GREENLET else f"the end of {scene.thing(resource.key)}"
        yield Row([("● ", PLAIN), (words, STRONG), (f"  {count(len(resource.waiters), 'waiter')}", FAINT)])
        held = dict.fromkeys(holder.greenlet for holder in resource.holders)
        for key in held:
            now = scene.world.greenlets.get(key)
            doing = f"  {STATE_WORDS[now.state]}" if now is not None else ""
            yield Row([("  held by ", FAINT), (self._who(key), PLAIN), (doing, FAINT)], key)
        if resource.greenlet is not None and (target := scene.world.greenlets.get(resource.greenlet)) is not None:
            yield Row([("  that is ", FAINT), (self._who(target.key), PLAIN), (f"  {STATE_WORDS[target.state]}", FAINT)], target.key)
        elif not held:
            yield Row([("  held by nobody known: anybody may end the wait", FAINT)])
        for key in resource.waiters[:_MOST]:
            now = scene.world.greenlets.get(key)
            since = f"  for {duration(max(scene.world.t_ns - now.since_ns, 0))}" if now is not None else ""
            until = " with a deadline" if now is not None and now.deadline_ns is not None else ""
            style: Style = WARNING if key in scene.graph.doomed else PLAIN
            yield Row([("  ├─◀ ", FAINT), (self._who(key), style), (since + until, FAINT)], key)
        if len(resource.waiters) > _MOST:
            yield Row([(f"  … and {len(resource.waiters) - _MOST:,} more", FAINT)])

    def _who(self, key: Key) -> str:
        return f"#{key & 0xFFFFFFFF} {self.scene.name(key)}"

    def move(self, rows: int) -> None:
        whom = [row.greenlet for row in self._rows if row.greenlet is not None]
        key = self.scene.place.greenlet
        at = whom.index(key) if key in whom else (-1 if rows > 0 else 0)
        step = at
        # The next row may speak of the same greenlet again.
        while whom and 0 <= step + (1 if rows > 0 else -1) < len(whom) and (abs(step - at) < abs(rows) or whom[step] == key):
            step += 1 if rows > 0 else -1
        if whom and step >= 0:
            self.scene.selection.choose(whom[step])

    def on_click(self, event: events.Click) -> None:
        row = self._top + event.y
        if row < len(self._rows) and self._rows[row].greenlet is not None:
            self.post_message(Pointed(None, self._rows[row].greenlet))
