"""Log: the events around the cursor, one by one, both ways.

In:  a Scene. Out: a row an event, in words. Never: a list of all events; there may be a hundred million.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.strip import Strip

from greentrace.events import NAMES, Kind
from greentrace.replay.model import key_of

from .messages import EventChosen
from .palette import CHOSEN, FAINT, PLAIN, RULER, STRONG, WARNING
from .pane import Line, Pane
from .scene import Scene

_LOSSES = (Kind.GAP, Kind.DISPLACED, Kind.ERROR)


class Log(Pane):
    """The events; the one of the cursor stands in the middle."""

    def __init__(self, scene: Scene, id: str) -> None:
        super().__init__(scene, id)
        self._first = 0

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        trace, place = self.scene.trace, self.scene.place
        current = place.event if place.event is not None else trace.number_at(place.t_ns) - 1
        self._first = max(min(current - height // 2, trace.event_count - height), 0)
        rows = trace.events(self._first, self._first + height)
        out: list[Line | Strip] = []
        for number, event in enumerate(rows, self._first):
            here = number == current
            mine = place.greenlet is not None and place.greenlet == key_of(int(event["process"]), int(event["greenlet"]))
            kind = int(event["kind"])
            style = CHOSEN if here else WARNING if kind in _LOSSES else STRONG if mine else PLAIN
            out.append(
                [
                    (f"{'▶' if here else ' '}#{number:<10,}", CHOSEN if here else FAINT),
                    (f"{self.scene.moment(int(event['t_ns'])):>15}  ", CHOSEN if here else RULER),
                    (f"{NAMES.get(kind, str(kind)):<12}", style),
                    (trace.describe_event(number), style),
                ]
            )
        return out

    def move(self, rows: int) -> None:
        trace, place = self.scene.trace, self.scene.place
        current = place.event if place.event is not None else trace.number_at(place.t_ns) - 1
        number = min(max(current + rows, 0), trace.event_count - 1)
        if number >= 0:
            self.scene.selection.walk(trace.event(number)[1].t_ns, number)

    def search(self, text: str, forward: bool, again: bool) -> bool:
        number = self.scene.event_saying(text, forward)
        if number is not None:
            self.scene.selection.jump(self.scene.trace.event(number)[1].t_ns, event=number)
        return number is not None

    def on_click(self, event: events.Click) -> None:
        number = self._first + event.y
        if number < self.scene.trace.event_count:
            self.post_message(EventChosen(number))
