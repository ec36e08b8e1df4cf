"""Naming: which greenlets and which resources a record names.

In:  columns of records.
Out: where a greenlet or a resource is named, by whichever field; all that are.
Never: what the record says of them.
"""

from __future__ import annotations

import numpy as np

from greentrace.events import Kind, State, Waker
from greentrace.replay.index import Array, Columns

_BY_OTHER = np.zeros(256, bool)
"""Kinds whose `other` is a greenlet; of a WAKE it is one if the waker is."""
_BY_OTHER[[Kind.SPAWN, Kind.START, Kind.SWITCH, Kind.THROW, Kind.STATE]] = True
_WAKER = 0x3F
_LOW = np.uint64(0xFFFFFFFF)


def woken_by_greenlets(c: Columns) -> Array:
    """Return where a greenlet, `other`, wakes another one."""
    return (c.kind == Kind.WAKE) & (c.flags & _WAKER == Waker.GREENLET)


def _other_is_greenlet(c: Columns) -> Array:
    return _BY_OTHER[c.kind] | woken_by_greenlets(c)


def _parks(c: Columns) -> Array:
    """Where a switch leaves a greenlet parked: its `arg` is a resource."""
    return ((c.kind == Kind.SWITCH) | (c.kind == Kind.THROW)) & (c.flags & 7 == State.PARKED)


def names_greenlet(c: Columns, number: int) -> Array:
    """Return where a greenlet is named."""
    return (c.greenlet == number) | ((c.other == number) & _other_is_greenlet(c))


def names_any(c: Columns, numbers: Array) -> Array:
    """Return where one of these greenlets is named."""
    return np.isin(c.greenlet, numbers) | (np.isin(c.other, numbers) & _other_is_greenlet(c))


def names_resource(c: Columns, number: int) -> Array:
    """Return where a resource is named."""
    return ((c.other == number) & ~_other_is_greenlet(c)) | (_parks(c) & (c.arg & _LOW == number))


def named_in(c: Columns) -> tuple[Array, Array]:
    """Return (ids of greenlets, ids of resources) as often as they are named, in no order; u32."""
    by_other, parks = _other_is_greenlet(c), _parks(c)
    greenlets = np.concatenate([c.greenlet, c.other[by_other]])
    return greenlets, np.concatenate([c.other[~by_other], (c.arg[parks] & _LOW).astype(np.uint32)])
