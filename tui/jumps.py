"""Jumps: where to go next from a moment and a greenlet.

In:  a Trace, a `Place`.
Out: a `Jump`, or None when there is no such thing.
Never: a change of the place; who asked decides whether to go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from greentrace.events import Kind, Waker
from greentrace.replay.index import Array, Columns
from greentrace.replay.model import Key, key_of, split_key
from greentrace.replay.process import ProcessHistory
from greentrace.replay.reader import Trace
from greentrace.replay.spans import Changes, changes, positions

from .state import Place

Mask = Callable[[Columns, int], Array]
"""(columns, id of a greenlet) -> where something holds."""
_STRETCH = 1 << 16
_NAMES_OTHER = (Kind.SPAWN, Kind.START, Kind.SWITCH, Kind.THROW, Kind.STATE)
"""Kinds whose `other` is a greenlet; of a WAKE it is one if the waker is."""


class Jump(NamedTuple):
    """A moment, the number of the event there, and whose it is (None: the greenlet stays)."""

    t_ns: int
    event: int | None
    greenlet: Key | None = None


def event_near(trace: Trace, place: Place, forward: bool) -> Jump | None:
    """Return the event after the place, or before it."""
    if place.event is not None:
        number = place.event + (1 if forward else -1)
    else:
        number = trace.number_at(place.t_ns) - (0 if forward else 1)
    if not 0 <= number < trace.event_count:
        return None
    return Jump(trace.event(number)[1].t_ns, number)


def _named(c: Columns, number: int) -> Array:
    """Return where a greenlet is named."""
    wakes = (c.kind == Kind.WAKE) & (c.flags & 7 == Waker.GREENLET)
    return (c.greenlet == number) | ((c.other == number) & (np.isin(c.kind, _NAMES_OTHER) | wakes))


def _woken(c: Columns, number: int) -> Array:
    return (c.greenlet == number) & (c.kind == Kind.WAKE)


def _wakes(c: Columns, number: int) -> Array:
    return (c.other == number) & (c.kind == Kind.WAKE) & (c.flags & 7 == Waker.GREENLET)


def _bounds(trace: Trace, h: ProcessHistory, place: Place) -> tuple[int, int]:
    """Return (how many records of a process lie before the place, how many up to it): the event stood on is in neither direction."""
    if place.event is not None:
        process, position = trace.find(place.event)
        if process == h.index:
            return position, position + 1
    until = h.count_until(place.t_ns, "right")
    return until, until


def _find(trace: Trace, place: Place, forward: bool, mask: Mask) -> tuple[ProcessHistory, int] | None:
    """Return the nearest record of the current greenlet's process, after the place or before it, for which the mask holds."""
    if place.greenlet is None:
        return None
    process, number = split_key(place.greenlet)
    h = trace.histories[process]
    before, after = _bounds(trace, h, place)
    stretches = (
        ((low, min(low + _STRETCH, h.count)) for low in range(after, h.count, _STRETCH))
        if forward
        else ((max(high - _STRETCH, 0), high) for high in range(before, 0, -_STRETCH))
    )
    for low, high in stretches:
        found = np.flatnonzero(mask(h.columns(low, high), number))
        if len(found):
            return h, low + int(found[0 if forward else -1])
    return None


def event_of(trace: Trace, place: Place, forward: bool) -> Jump | None:
    """Return the next or the previous event that names the current greenlet."""
    found = _find(trace, place, forward, _named)
    return _jump(trace, *found) if found else None


def _jump(trace: Trace, h: ProcessHistory, position: int, greenlet: int = 0) -> Jump:
    return Jump(h.record(position).t_ns, trace.number(h.index, position), key_of(h.index, greenlet) if greenlet else None)


def change_of(trace: Trace, place: Place, forward: bool) -> Jump | None:
    """Return the next or the previous change of state of the current greenlet."""
    if place.greenlet is None:
        return None
    found = changes(trace, place.greenlet, place.t_ns, place.t_ns, around=2)
    t = np.uint64(place.t_ns)
    at = int(np.searchsorted(found.t_ns, t, "right")) if forward else int(np.searchsorted(found.t_ns, t, "left")) - 1
    if not 0 <= at < len(found.t_ns):
        return None
    position = int(positions(trace, place.greenlet, Changes(*(column[at : at + 1] for column in found)))[0])
    process = split_key(place.greenlet)[0]
    return Jump(int(found.t_ns[at]), trace.number(process, position) if position >= 0 else None)


def waker_of(trace: Trace, place: Place) -> Jump | None:
    """Return the last event that made the current greenlet runnable, and the greenlet that did it, if one did."""
    found = _find(trace, place, False, _woken)
    if found is None:
        return None
    record = found[0].record(found[1])
    return _jump(trace, *found, greenlet=record.other if record.flags & 7 == Waker.GREENLET else 0)


def woken_by(trace: Trace, place: Place) -> Jump | None:
    """Return the next event by which the current greenlet made another one runnable, and that other one."""
    found = _find(trace, place, True, _wakes)
    return _jump(trace, *found, greenlet=found[0].record(found[1]).greenlet) if found else None
