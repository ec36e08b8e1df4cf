"""Arrows: who woke whom, from lane to lane.

    bob      ──────●──────     the waker, at the moment of the wake
    carol    ──────│──────     only passed by
    alice    ──────▼──────     who was woken

In:  wakes, the lanes, which of them are seen, a window. Out: characters to lay over the cells of each lane.
Never: an arrow without a wake that was recorded. Where no greenlet of the lanes is known to have done it (a timer, an fd), a `◆`.
"""

from __future__ import annotations

from collections.abc import Iterable

from greentrace.replay.lazy import Listing
from greentrace.replay.model import GreenletEver
from greentrace.replay.seek import Wake

from .state import Place

WAKER, DOWN, UP, PASSED, OTHER = "●", "▼", "▲", "│", "◆"

Marks = dict[int, dict[int, str]]
"""For each row, the character of a column."""


def arrows(wakes: Iterable[Wake], lanes: Listing[GreenletEver], rows: range, place: Place, cells: int) -> Marks:
    """Return the marks of wakes in the lanes of which `rows` are seen, by the number of the row; over a window of so many cells."""
    marks: Marks = {}

    def put(row: int, column: int, mark: str) -> None:
        here = marks.setdefault(row, {})
        # The ends of an arrow stand over the lines of others.
        if row in rows and (mark != PASSED or column not in here):
            here[column] = mark

    for wake in wakes:
        column = min((wake.t_ns - place.a_ns) * cells // max(place.width_ns, 1), cells - 1)
        stop = lanes.index_of(wake.woken)
        start = lanes.index_of(wake.waker)
        if start < 0 or stop < 0 or start == stop:
            put(stop, column, OTHER)
            continue
        low, high = min(start, stop), max(start, stop)
        for row in range(max(low + 1, rows.start), min(high, rows.stop)):
            put(row, column, PASSED)
        put(start, column, WAKER)
        put(stop, column, DOWN if stop > start else UP)
    return marks
