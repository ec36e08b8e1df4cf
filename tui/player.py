"""Player: lets the cursor run.

In:  how much real time has gone by. Out: moves of a `Selection`: so many ns of the trace for each second, or one event for each frame; in
either direction, until the end. Never: Textual, and never a clock of its own.
"""

from __future__ import annotations

from greentrace.replay.reader import Trace

from . import jumps
from .state import Selection

_WHOLE_WINDOW_SECONDS = 10.0


class Player:
    """Plays, or stands."""

    def __init__(self, trace: Trace, selection: Selection) -> None:
        self._trace = trace
        self._selection = selection
        self.playing = False
        self.by_event = False
        self.forward = True
        self.speed = 0.0
        """ns of the trace for each second."""

    def start(self, by_event: bool = False) -> None:
        """Play, from the beginning if the cursor stands at the end."""
        selection = self._selection
        end = selection.end_ns if self.forward else selection.start_ns
        if selection.place.t_ns == end:
            selection.jump(selection.start_ns if self.forward else selection.end_ns)
        self.playing, self.by_event = True, by_event
        self.speed = selection.place.width_ns / _WHOLE_WINDOW_SECONDS

    def stop(self) -> None:
        self.playing = False

    def faster(self, factor: float) -> None:
        """Change the speed; between a ns and a day for each second."""
        self.speed = min(max(self.speed * factor, 1.0), 86400e9)

    def pass_by(self, seconds: float) -> bool:
        """Let so much time go by; return whether the cursor moved."""
        selection = self._selection
        before = selection.place
        if not self.playing:
            return False
        if self.by_event:
            found = jumps.event_near(self._trace, before, self.forward)
            if found is None or found.event is None:
                self.stop()
                return False
            selection.walk(found.t_ns, found.event)
            return True
        step = max(round(self.speed * seconds), 1)
        t_ns = before.t_ns + (step if self.forward else -step)
        if not selection.start_ns < t_ns < selection.end_ns:
            self.stop()
        selection.play(t_ns)
        return selection.place != before
