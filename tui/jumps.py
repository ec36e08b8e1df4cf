"""Jumps: where to go next from a moment and a greenlet.

In:  a Trace, a `Place`.
Out: a `Jump`, or None when there is no such thing.
Never: a change of the place; who asked decides whether to go.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from greentrace.events import Waker
from greentrace.replay import seek
from greentrace.replay.model import Key, key_of, split_key
from greentrace.replay.reader import Trace
from greentrace.replay.spans import Changes, changes, positions

from .state import Place


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


def event_of(trace: Trace, place: Place, forward: bool) -> Jump | None:
    """Return the next or the previous event that names the current greenlet."""
    if place.greenlet is None:
        return None
    return _jump(trace, seek.of_greenlet(trace, place.greenlet, place.t_ns, place.event, forward))


def _jump(trace: Trace, found: seek.Found | None, to: str = "") -> Jump | None:
    """Return the jump to an event; `to` is the field that has the greenlet to go to, if one did what happened."""
    if found is None:
        return None
    process, position = found
    record = trace.histories[process].record(position)
    number = getattr(record, to) if to and (to != "other" or record.flags & 0x3F == Waker.GREENLET) else 0
    return Jump(record.t_ns, trace.number(process, position), key_of(process, number) if number else None)


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
    if place.greenlet is None:
        return None
    return _jump(trace, seek.waking(trace, place.greenlet, place.t_ns, place.event), "other")


def woken_by(trace: Trace, place: Place) -> Jump | None:
    """Return the next event by which the current greenlet made another one runnable, and that other one."""
    if place.greenlet is None:
        return None
    return _jump(trace, seek.woken_by(trace, place.greenlet, place.t_ns, place.event), "greenlet")
