"""Seek: the next event, or the previous one, that has to do with somebody or something.

In:  a `History`, a moment or an event to begin at, what is looked for.
Out: (process, position) of the nearest event, None where there is none.
Never: a look at a segment that cannot have it: the index knows whom and what each names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from greentrace.events import Kind
from greentrace.replay.history import History
from greentrace.replay.index import Array, Columns
from greentrace.replay.model import Key, split_key
from greentrace.replay.naming import names_greenlet, names_resource, woken_by_greenlets
from greentrace.replay.process import ProcessHistory
from greentrace.replay.segment import Segment

Found = tuple[int, int]


def of_greenlet(history: History, key: Key, t_ns: int, event: int | None, forward: bool) -> Found | None:
    """Return the nearest event that names a greenlet. `event`: the number of the event that one stands on at `t_ns`, if on one."""
    h, number = _of(history, key)
    return _nearest(history, h, t_ns, event, forward, lambda c: names_greenlet(c, number), greenlet=number)


def of_resource(history: History, key: Key, t_ns: int, event: int | None, forward: bool) -> Found | None:
    """Return the nearest event that names a resource."""
    h, number = _of(history, key)
    return _nearest(history, h, t_ns, event, forward, lambda c: names_resource(c, number), resource=number)


def of_kind(history: History, kind: int, t_ns: int, event: int | None, forward: bool) -> Found | None:
    """Return the nearest event of a kind, of whichever process."""
    found = []
    for h in history.histories:
        one = _nearest(history, h, t_ns, event, forward, lambda c: c.kind == kind, kind=kind)
        if one is not None:
            found.append((history.number(*one), one))
    if not found:
        return None
    return (min(found) if forward else max(found))[1]


def waking(history: History, key: Key, t_ns: int, event: int | None, forward: bool = False) -> Found | None:
    """Return the last event, or the next, that woke a greenlet: its `other` is who did, if a greenlet did."""
    h, number = _of(history, key)
    return _nearest(history, h, t_ns, event, forward, lambda c: (c.greenlet == number) & (c.kind == Kind.WAKE), greenlet=number)


def woken_by(history: History, key: Key, t_ns: int, event: int | None, forward: bool = True) -> Found | None:
    """Return the next event, or the last, by which a greenlet woke another one: its `greenlet`."""
    h, number = _of(history, key)
    return _nearest(history, h, t_ns, event, forward, lambda c: (c.other == number) & woken_by_greenlets(c), greenlet=number)


def _of(history: History, key: Key) -> tuple[ProcessHistory, int]:
    process, number = split_key(key)
    return history.histories[process], number


def _bounds(history: History, h: ProcessHistory, t_ns: int, event: int | None) -> tuple[int, int]:
    """Return (how many records of a process lie before the place, how many up to it): the event stood on is in neither direction."""
    if event is not None:
        process, position = history.find(event)
        if process == h.index:
            return position, position + 1
        # Of two events of one moment, that of the later process comes after.
        until = h.count_until(history.histories[process].record(position).t_ns, "right" if h.index < process else "left")
        return until, until
    until = h.count_until(t_ns, "right")
    return until, until


def _nearest(
    history: History, h: ProcessHistory, t_ns: int, event: int | None, forward: bool, mask: Callable[[Columns], Array], *,
    greenlet: int | None = None, resource: int | None = None, kind: int | None = None,
) -> Found | None:  # fmt: skip
    before, after = _bounds(history, h, t_ns, event)
    for segment in _possible(h, after if forward else before, forward, greenlet, resource, kind):
        low = max(after - segment.first, 0) if forward else 0
        high = segment.count if forward else min(before - segment.first, segment.count)
        at = np.flatnonzero(mask(segment.columns.slice(low, high)))
        if len(at):
            return h.index, segment.first + low + int(at[0 if forward else -1])
    return None


def _possible(
    h: ProcessHistory, position: int, forward: bool, greenlet: int | None, resource: int | None, kind: int | None
) -> Iterator[Segment]:
    """Yield the segments from a position on, the nearest first, that may have what is looked for."""
    greenlets, resources = [() if one is None else (one,) for one in (greenlet, resource)]
    every = h.segments
    wanted = [s for s in every if s.first + s.count > position] if forward else [s for s in reversed(every) if s.first < position]
    for segment in wanted:
        if kind is not None and not h.counts(segment)[kind]:
            continue
        if (greenlets or resources) and not h.may_name(segment, greenlets, resources):
            continue
        yield segment
