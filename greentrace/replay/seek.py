"""Seek: the next event, or the previous one, that has to do with somebody or something.

In:  a `History`, a moment or an event to begin at, what is looked for.
Out: (process, position) of the nearest event, None where there is none; the wakes around a moment.
Never: a look at a segment that cannot have it: the index knows whom and what each names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from greentrace.events import Kind
from greentrace.replay.history import History
from greentrace.replay.index import Array, Columns
from greentrace.replay.model import Key, key_of, split_key
from greentrace.replay.naming import names_any, names_greenlet, names_resource, woken_by_greenlets
from greentrace.replay.process import ProcessHistory
from greentrace.replay.segment import Segment

Found = tuple[int, int]
_ASKED_FOR = 64
"""Of so many greenlets it is asked whether a segment names them; of more, every segment is looked at."""
_SEGMENTS = 16
"""For the wakes around a moment, so many segments are looked at on either side."""


class Wake(NamedTuple):
    """When somebody was woken, whom it woke, and the greenlet that did, if one did."""

    t_ns: int
    woken: Key
    waker: Key | None


def of_greenlet(history: History, key: Key, t_ns: int, event: int | None, forward: bool) -> Found | None:
    """Return the nearest event that names a greenlet. `event`: the number of the event that one stands on at `t_ns`, if on one."""
    h, number = _of(history, key)
    return _nearest(history, h, t_ns, event, forward, lambda c: names_greenlet(c, number), partial(h.may_name, greenlets=(number,)))


def of_resource(history: History, key: Key, t_ns: int, event: int | None, forward: bool) -> Found | None:
    """Return the nearest event that names a resource."""
    h, number = _of(history, key)
    return _nearest(history, h, t_ns, event, forward, lambda c: names_resource(c, number), partial(h.may_name, resources=(number,)))


def of_kind(history: History, kind: int, t_ns: int, event: int | None, forward: bool) -> Found | None:
    """Return the nearest event of a kind, of whichever process."""
    return telling_of(history, (kind,), (), t_ns, event, forward)


def telling_of(history: History, kinds: Sequence[int], keys: Sequence[Key], t_ns: int, event: int | None, forward: bool) -> Found | None:
    """Return the nearest event, of whichever process, that is of one of the kinds or names one of the greenlets."""
    found = []
    for h in history.histories:
        numbers = [number for process, number in map(split_key, keys) if process == h.index]
        one = _nearest_telling(history, h, np.array(kinds, np.uint8), numbers, t_ns, event, forward)
        if one is not None:
            found.append((history.number(*one), one))
    if not found:
        return None
    return (min(found) if forward else max(found))[1]


def _nearest_telling(
    history: History, h: ProcessHistory, kinds: Array, numbers: list[int], t_ns: int, event: int | None, forward: bool
) -> Found | None:
    ids = np.array(numbers, np.uint32)

    def may_have(segment: Segment) -> bool:
        return len(ids) > _ASKED_FOR or bool(h.counts(segment)[kinds].any()) or (len(ids) > 0 and h.may_name(segment, numbers))

    return _nearest(history, h, t_ns, event, forward, lambda c: np.isin(c.kind, kinds) | names_any(c, ids), may_have)


def waking(history: History, key: Key, t_ns: int, event: int | None, forward: bool = False) -> Found | None:
    """Return the last event, or the next, that woke a greenlet: its `other` is who did, if a greenlet did."""
    h, number = _of(history, key)
    return _nearest(
        history, h, t_ns, event, forward, lambda c: (c.greenlet == number) & (c.kind == Kind.WAKE), partial(h.may_name, greenlets=(number,))
    )


def woken_by(history: History, key: Key, t_ns: int, event: int | None, forward: bool = True) -> Found | None:
    """Return the next event, or the last, by which a greenlet woke another one: its `greenlet`."""
    h, number = _of(history, key)
    return _nearest(
        history, h, t_ns, event, forward, lambda c: (c.other == number) & woken_by_greenlets(c), partial(h.may_name, greenlets=(number,))
    )


def wakes(history: History, key: Key, a_ns: int, t_ns: int, b_ns: int, most: int) -> list[Wake]:
    """Return, in order, who woke a greenlet and whom it woke in [a, b]: at most so many up to `t_ns`, and as many after it.

    The nearest ones; and of a window that is so wide that they lie far away, none.
    """
    h, number = _of(history, key)
    begin, until, end = h.count_until(a_ns, "left"), h.count_until(t_ns, "right"), h.count_until(b_ns, "right")
    return [*reversed(_wakes(h, number, begin, until, False, most)), *_wakes(h, number, until, end, True, most)]


def _wakes(h: ProcessHistory, number: int, begin: int, end: int, forward: bool, most: int) -> list[Wake]:
    """Return the nearest wakes of records [begin, end), the nearest first."""
    found: list[Wake] = []
    for segment in islice(_possible(h, begin if forward else end, forward, partial(h.may_name, greenlets=(number,))), _SEGMENTS):
        low, high = max(begin - segment.first, 0), min(end - segment.first, segment.count)
        if low >= high or len(found) >= most:
            break
        c = segment.columns.slice(low, high)
        by_greenlets = woken_by_greenlets(c)
        at = np.flatnonzero((c.kind == Kind.WAKE) & ((c.greenlet == number) | ((c.other == number) & by_greenlets)))
        for i in (at if forward else at[::-1])[: most - len(found)].tolist():
            waker = key_of(h.index, int(c.other[i])) if by_greenlets[i] and c.other[i] else None
            found.append(Wake(int(c.t_ns[i]), key_of(h.index, int(c.greenlet[i])), waker))
    return found


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
    history: History,
    h: ProcessHistory,
    t_ns: int,
    event: int | None,
    forward: bool,
    mask: Callable[[Columns], Array],
    may_have: Callable[[Segment], bool],
) -> Found | None:
    before, after = _bounds(history, h, t_ns, event)
    for segment in _possible(h, after if forward else before, forward, may_have):
        low = max(after - segment.first, 0) if forward else 0
        high = segment.count if forward else min(before - segment.first, segment.count)
        at = np.flatnonzero(mask(segment.columns.slice(low, high)))
        if len(at):
            return h.index, segment.first + low + int(at[0 if forward else -1])
    return None


def _possible(h: ProcessHistory, position: int, forward: bool, may_have: Callable[[Segment], bool]) -> Iterator[Segment]:
    """Yield the segments from a position on, the nearest first, that may have what is looked for."""
    every = h.segments
    wanted = [s for s in every if s.first + s.count > position] if forward else [s for s in reversed(every) if s.first < position]
    return filter(may_have, wanted)
