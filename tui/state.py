"""State: the one thing that moves.

    |-------------------- trace --------------------|
              a_ns |------ t_ns ------| b_ns             one window, one cursor, one current greenlet

In:  the bounds of a trace; wishes: step, pan, zoom, jump, undo.
Out: a `Place`, and the way back to the places before it. Every pane is a function of the trace and of the place.
Never: Textual, and never a look into the trace. Times are ns of the trace's clock, integers throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from greentrace.replay.model import Key

NARROWEST_NS = 400
"""A window is at least as many ns wide as any terminal has cells, so that no cell is empty of time."""
_KEPT = 500
"""So many places are remembered."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one looks. `event` is the number of the event stood on, None when the cursor was moved by time;
    `finding` the index of the finding that was gone to last, -1 for none."""

    t_ns: int
    a_ns: int
    b_ns: int
    greenlet: Key | None = None
    event: int | None = None
    finding: int = -1

    @property
    def width_ns(self) -> int:
        return self.b_ns - self.a_ns


class Selection:
    """The place, its history and its bounds. `cells` is how many columns the time-line has: one step is one of them."""

    def __init__(self, start_ns: int, end_ns: int, following: bool = False) -> None:
        self.start_ns, self.end_ns = start_ns, max(start_ns, end_ns)
        self.cells = 80
        self.following = following
        self.fitted = True
        self.marks: list[int] = []
        """Moments that somebody wants to come back to, or to measure from; the one set last is measured from."""
        self.place = Place(self.end_ns if following else start_ns, start_ns, self._limit())
        self._before: list[Place] = []
        self._after: list[Place] = []
        self._last = ""

    def _limit(self) -> int:
        return max(self.end_ns, self.start_ns + NARROWEST_NS)

    def start_at(self, t_ns: int, greenlet: Key | None) -> None:
        """Begin somewhere; that is no move, and nothing to go back from."""
        self.place = replace(self.place, t_ns=t_ns, greenlet=greenlet)

    @property
    def has_moved(self) -> bool:
        """Whether somebody has gone anywhere."""
        return bool(self._before or self._after)

    # ---- moves

    def step(self, cells: int) -> None:
        """Move the cursor by cells; the window comes along at its edges."""
        t_ns = self.place.t_ns + cells * max(self.place.width_ns // max(self.cells, 1), 1)
        self._go("step", replace(self.place, t_ns=t_ns, event=None))

    def pan(self, fraction: float) -> None:
        """Move the window, and the cursor with it if it would fall out."""
        by = round(self.place.width_ns * fraction)
        a, b = self._window(self.place.a_ns + by, self.place.width_ns)
        t_ns = min(max(self.place.t_ns, a), b)
        event = self.place.event if t_ns == self.place.t_ns else None
        self._go("pan", replace(self.place, a_ns=a, b_ns=b, t_ns=t_ns, event=event))

    def zoom(self, factor: float, around_ns: int | None = None) -> None:
        """Make the window `factor` times as wide; `around_ns` (the cursor, if None) stays in its column."""
        pivot = self.place.t_ns if around_ns is None else around_ns
        old = self.place.width_ns
        width = min(max(round(old * factor), NARROWEST_NS), self._limit() - self.start_ns)
        a, b = self._window(pivot - (pivot - self.place.a_ns) * width // old, width)
        following = self.following
        self._go("zoom", replace(self.place, a_ns=a, b_ns=b), hold=around_ns is not None)
        self.following = following

    def fit(self) -> None:
        """Show the whole trace."""
        following = self.following
        self._go("fit", replace(self.place, a_ns=self.start_ns, b_ns=self._limit()))
        self.following = following

    def choose(self, greenlet: Key | None) -> None:
        """Make another greenlet the current one, at the same moment."""
        following = self.following
        self._go("row", replace(self.place, greenlet=greenlet))
        self.following = following

    def jump(self, t_ns: int, greenlet: Key | None = None, event: int | None = None, finding: int | None = None) -> None:
        """Go somewhere; what is not given stays. The window moves only if the moment lies outside."""
        greenlet = self.place.greenlet if greenlet is None else greenlet
        finding = self.place.finding if finding is None else finding
        self._go("", replace(self.place, t_ns=t_ns, greenlet=greenlet, event=event, finding=finding))

    def point(self, t_ns: int | None, greenlet: Key | None) -> None:
        """Take the cursor and the row to where somebody pointed."""
        if t_ns is None:
            self.choose(self.place.greenlet if greenlet is None else greenlet)
        else:
            self._go("point", replace(self.place, t_ns=t_ns, event=None, greenlet=self.place.greenlet if greenlet is None else greenlet))

    def walk(self, t_ns: int, event: int) -> None:
        """Step to an event; many such steps are one in the history."""
        self._go("walk", replace(self.place, t_ns=t_ns, event=event))

    def follow(self, following: bool) -> None:
        """Stay at the end of a live trace, or stop doing so."""
        if following:
            self._go("", replace(self.place, t_ns=self.end_ns, event=None))
        self.following = following

    def play(self, t_ns: int) -> None:
        """Let the cursor run; wherever it gets to, undo goes back to where it began."""
        self._go("play", replace(self.place, t_ns=t_ns, event=None))

    # ---- marks

    def toggle_mark(self) -> bool:
        """Set a mark at the cursor, or take away the one that is there; return whether there is one now."""
        t_ns = self.place.t_ns
        if t_ns in self.marks:
            self.marks.remove(t_ns)
            return False
        self.marks.append(t_ns)
        return True

    def next_mark(self) -> int | None:
        """Return the mark after the cursor, or the first one behind the last."""
        after = [t_ns for t_ns in self.marks if t_ns > self.place.t_ns]
        return min(after) if after else min(self.marks, default=None)

    # ---- the way back

    def undo(self) -> bool:
        return self._travel(self._before, self._after)

    def redo(self) -> bool:
        return self._travel(self._after, self._before)

    def _travel(self, source: list[Place], other: list[Place]) -> bool:
        if not source:
            return False
        other.append(self.place)
        self.place = source.pop()
        self._last, self.following = "", False
        self._see_fitted()
        return True

    # ---- bounds

    def grow(self, start_ns: int, end_ns: int) -> None:
        """The trace became longer. What is followed or wholly shown stays so; nothing of it is history."""
        first = self.start_ns == self.end_ns
        self.start_ns, self.end_ns = start_ns, max(start_ns, end_ns)
        place = self.place
        if self.fitted or first:
            place = replace(place, a_ns=start_ns, b_ns=self._limit())
            self.fitted = True
        if self.following:
            place = replace(place, t_ns=self.end_ns, event=None)
        elif first:
            place = replace(place, t_ns=start_ns)
        self.place = self._seen(place)

    def _go(self, move: str, place: Place, hold: bool = False) -> None:
        place = replace(place, t_ns=min(max(place.t_ns, self.start_ns), self.end_ns))
        if not hold and move != "pan":
            place = self._seen(place)
        self.following = False
        if place == self.place:
            return
        # Steps of one sort in a row are one place in the history: undo goes back to where they began.
        if not move or move != self._last:
            self._before = [*self._before[-_KEPT:], self.place]
        self._after.clear()
        self._last, self.place = move, place
        self._see_fitted()

    def _see_fitted(self) -> None:
        self.fitted = self.place.a_ns <= self.start_ns and self.place.b_ns >= self._limit()

    def _seen(self, place: Place) -> Place:
        """Return the place with its window moved so that the cursor is in it: by little at the edges, to the middle from afar."""
        if place.a_ns <= place.t_ns <= place.b_ns:
            return place
        width = place.width_ns
        far = place.t_ns < place.a_ns - width // 4 or place.t_ns > place.b_ns + width // 4
        before = width // 2 if far else width // 10 if place.t_ns < place.a_ns else width - width // 10
        a, b = self._window(place.t_ns - before, width)
        return replace(place, a_ns=a, b_ns=b)

    def _window(self, a_ns: int, width_ns: int) -> tuple[int, int]:
        a = max(min(a_ns, self._limit() - width_ns), self.start_ns)
        return a, a + width_ns
