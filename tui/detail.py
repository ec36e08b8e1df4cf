"""Detail: everything about the current greenlet at the cursor.

In:  a Scene. Out: state, waits and their holders, holdings, stack with its source, spawner, and the history around the cursor.
Never: a guess. What was not recorded reads `unknown`.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterator, Sequence

import numpy as np
from textual.strip import Strip

from greentrace.events import State
from greentrace.export.looks import look_of
from greentrace.export.words import STATE_WORDS, count, duration, state_words, wait_words
from greentrace.lifecycle import ENDED
from greentrace.replay.model import Frame, GreenletNow, Key, Span, shown
from greentrace.replay.spans import changes, spans

from .palette import DEADLOCKED, ERROR, FAINT, LINK, PLAIN, STRONG, WARNING, state_style
from .pane import Line, Pane
from .scene import Scene

_AROUND = 6
"""So many spans before and after the one of the cursor."""


class Detail(Pane):
    """The current greenlet, short (below the lanes) or whole (a screen of its own)."""

    def __init__(self, scene: Scene, id: str, whole: bool = False) -> None:
        super().__init__(scene, id)
        self._whole = whole

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        key = self.scene.place.greenlet
        if key is None:
            return [[("No greenlet is chosen: ↑ and ↓ choose one.", FAINT)]]
        out: list[Line | Strip] = [] if self._whole else [[("─" * width, FAINT)]]
        if not self._whole and not self.scene.is_settled:
            g = self.scene.trace.greenlet(key)
            return [*out, [(f"#{g.id} {self.scene.label(g)}", STRONG), ("  …", FAINT)]]
        now = self.scene.now
        out += list(self._about(now) if now is not None else self._absent(key))
        if self._whole:
            place = (self.scene.trace.version, key, self.scene.place.t_ns)
            out += self.kept(place, lambda: list(self._history(key)))
            out += list(self._children(key))
        return out

    def _absent(self, key: Key) -> Iterator[Line]:
        scene = self.scene
        g = scene.trace.greenlet(key)
        yield [(f"#{g.id} {scene.label(g)}", STRONG), ("  is not there at the cursor", FAINT)]
        if g.born_ns is not None:
            yield [(f"  created {scene.moment(g.born_ns)}", PLAIN)]
        if g.died_ns is not None:
            how = f" ({g.how.name.lower()}{': ' + g.error if g.error else ''})" if g.how is not None else ""
            yield [(f"  ended {scene.moment(g.died_ns)}{how}", PLAIN)]

    def _about(self, g: GreenletNow) -> Iterator[Line]:
        scene = self.scene
        mark = scene.mark(g.key)
        verdict = {DEADLOCKED: ("  ✖ deadlocked", ERROR), " ": ("", PLAIN)}.get(mark, ("  ▲ will never run again", WARNING))
        age = f" for {duration(max(scene.world.t_ns - g.since_ns, 0))}, since {scene.moment(g.since_ns)}"
        function = f"  ({g.function})" if g.function not in ("", g.label) else ""
        yield [
            (f"#{g.id} {scene.label(g)}", STRONG),
            (function + "  ", FAINT),
            (f" {STATE_WORDS[g.state]} ", state_style(look_of(g.state, scene.kind(g)))),
            ("" if g.state == State.UNKNOWN else age, PLAIN),
            verdict,
        ]
        if g.state == State.PARKED:
            yield from self._waits(g)
        elif g.state in ENDED:
            yield [(f"  {state_words(scene.world, g)}", PLAIN)]
        for hold in g.holds:
            frame = shown(hold.site)
            at = f", taken at {frame}" if frame else ""
            guess = "" if hold.observed else " (inferred)"
            yield [
                ("  holds ", FAINT),
                (f"{scene.thing(hold.resource)}", PLAIN),
                (f"{at}, since {scene.moment(hold.since_ns)}{guess}", FAINT),
            ]
        yield from self._stack(g)
        frame = shown(g.spawned_at)
        if g.spawner is not None or frame is not None:
            by = scene.name(g.spawner) if g.spawner is not None else "somebody unknown"
            yield [("  created by ", FAINT), (by, PLAIN), (f" at {frame}" if frame else "", FAINT)]

    def _waits(self, g: GreenletNow) -> Iterator[Line]:
        scene = self.scene
        for wait in g.waits:
            until = f", until {scene.moment(wait.deadline_ns)} at most" if wait.deadline_ns is not None else ""
            guess = "" if wait.observed else " (inferred)"
            yield [("  ", PLAIN), (wait_words(scene.world, wait), PLAIN), (until + guess, FAINT)]
            resource = scene.world.resources.get(wait.resource)
            for holder in dict.fromkeys(resource.holders if resource is not None else ()):
                frame = shown(holder.site)
                now = scene.world.greenlets.get(holder.greenlet)
                doing = f", {STATE_WORDS[now.state]}" if now is not None else ""
                at = f", taken at {frame}" if frame else ""
                yield [("    held by ", FAINT), (scene.name(holder.greenlet), LINK), (f"{doing}{at}", FAINT)]
        if g.timeout_ns is not None:
            yield [(f"  a timer will wake it {scene.moment(g.timeout_ns)}", FAINT)]

    def _stack(self, g: GreenletNow) -> Iterator[Line]:
        if g.state == State.RUNNING:
            yield [("  it runs: its stack is known again when it leaves", FAINT)]
            return
        frames = [frame for frame in g.stack if not frame.runtime] or list(g.stack[:1])
        for frame in frames if self._whole else frames[:4]:
            yield [("  at ", FAINT), (f"{frame.place}", LINK), (f" in {frame.function}", PLAIN), (_source(frame), FAINT)]
        if not self._whole and len(frames) > 4:
            yield [(f"     … {count(len(frames) - 4, 'frame')} more: 3", FAINT)]

    def _history(self, key: Key) -> Iterator[Line]:
        scene = self.scene
        t_ns = scene.place.t_ns
        times = changes(scene.trace, key, t_ns, t_ns, around=_AROUND + 1).t_ns
        if not len(times):
            return
        at = int(np.searchsorted(times, np.uint64(max(t_ns, 0)), "right")) - 1
        low = int(times[max(at - _AROUND, 0)])
        high = int(times[at + _AROUND + 1]) if at + _AROUND + 1 < len(times) else scene.trace.end_ns
        yield [("", PLAIN)]
        yield [("history around the cursor", STRONG)]
        for span in spans(scene.trace, key, low, high):
            yield self._span(span)

    def _span(self, span: Span) -> Line:
        scene = self.scene
        here = span.t0_ns <= scene.place.t_ns < span.t1_ns or span.t0_ns == scene.place.t_ns
        resource = scene.world.resources.get(span.resource) if span.resource is not None else None
        what = f" {scene.thing(span.resource)}" if resource is not None and span.resource is not None else ""
        by = f", then woken by {span.waker}" if span.waker else ""
        style = STRONG if here else PLAIN
        return [
            (f"{'▶' if here else ' '} {scene.moment(span.t0_ns):>14}  ", style),
            (f" {STATE_WORDS[span.state]} ".ljust(11), state_style(look_of(span.state, resource.kind if resource else None))),
            (f" {duration(span.ns):>8}{what}{by}", style),
        ]

    def _children(self, key: Key) -> Iterator[Line]:
        made = self.scene.roster.made_by(key)
        if len(made):
            some = ", ".join(f"#{g.id} {g.label}" for g in map(self.scene.trace.greenlet, made[:12].tolist()))
            yield [("", PLAIN)]
            yield [(f"created {count(len(made), 'greenlet')}: ", STRONG), (some + (" …" if len(made) > 12 else ""), PLAIN)]


def _source(frame: Frame) -> str:
    """Return the line of a frame, if its file is a Python file that is still there and still has it."""
    # A path from a stranger's trace is only looked at when it names a plain file: not a pipe, not a device.
    if not frame.file.endswith(".py") or not os.path.isfile(frame.file):
        return ""
    text = linecache.getline(frame.file, frame.line).strip()
    return f"   {text}" if text else ""
