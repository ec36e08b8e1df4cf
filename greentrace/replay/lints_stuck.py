"""Stuck: who has been parked for long, and of whom nobody is known who could wake it and has run since.

    able      who ever gave, took or set what it waits for; who holds it; whose end it is
    active    of each of them, until when it is known to have done something: for ever, if it may do so yet

In:  one process as its last event left it, as rows. Out: the ids of those who have nobody, and who would be able to wake each.
Never: a list of all pairs of who waits and who could wake it: there may be a hundred thousand on one queue. The trace is read from
its end, and only for as long as somebody is still suspected: of a busy server the last segments acquit everybody.
"""

from __future__ import annotations

import numpy as np

from greentrace.events import Kind, ResourceKind, State
from greentrace.lifecycle import ENDED
from greentrace.replay.index import Array
from greentrace.replay.lives import NEVER_BORN
from greentrace.replay.present import Present
from greentrace.replay.process import ProcessHistory
from greentrace.replay.rows import place
from greentrace.replay.segment import Segment

# Not CLEAR: who clears an Event object wakes nobody, and eventlet's clears itself when it is made.
_PASSED_ON = (Kind.ACQUIRE, Kind.RELEASE, Kind.PUT, Kind.GET, Kind.SET)
_ACTIVE = (State.RUNNING, State.RUNNABLE, State.UNKNOWN)
_FOR_EVER = np.uint64((1 << 64) - 1)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def with_nobody_able(h: ProcessHistory, rows: Present, ids: Array) -> dict[int, set[int]]:
    """Return those of the `ids` whom nobody able has had the chance to wake, and of each who would be able."""
    waits = rows.waits[np.isin(rows.waits["greenlet"], ids)]
    waiter, resource = waits["greenlet"].astype(np.uint64), waits["resource"]
    since = waits["since_ns"]
    found = [_standing(rows, resource)]
    suspected = np.ones(len(waits), bool)
    segments = reversed(h.segments)
    while suspected.any():
        suspected &= _suspected(waiter, resource, since, found[-1], _active(h, rows, found[-1]))
        # Who waits for several things is acquitted by one of them.
        suspected &= ~np.isin(waiter, waiter[~suspected])
        wanted = np.unique(resource[suspected])
        segment = next((each for each in segments if h.may_name(each, resources=wanted.tolist())), None)
        if segment is None:
            break
        found.append(_passed_on(segment, wanted))
    pairs = np.unique(np.concatenate(found))
    able: dict[int, set[int]] = {}
    for number, what in zip(waiter[suspected].tolist(), resource[suspected].tolist(), strict=True):
        low, high = np.searchsorted(pairs, [np.uint64(what) << _32, np.uint64(what + 1) << _32])
        able.setdefault(number, set()).update((pairs[low:high] & _LOW).tolist())
        able[number].discard(number)
    return able


def _passed_on(segment: Segment, resources: Array) -> Array:
    """Return resource << 32 | greenlet for each who gave, took or set one of some resources in a segment; ascending."""
    c = segment.columns
    at = np.flatnonzero(np.isin(c.kind, _PASSED_ON) & np.isin(c.other, resources))
    return np.unique(c.other[at].astype(np.uint64) << _32 | c.greenlet[at])


def _standing(rows: Present, resources: Array) -> Array:
    """Return resource << 32 | greenlet for each who holds one of some resources, or whose end it is; ascending."""
    resources = np.unique(resources)
    held, order = rows.held
    mine = np.isin(held, resources)
    holds = held[mine].astype(np.uint64) << _32 | rows.held_by[order[mine]]
    told, _ = rows.lives.resources(resources)
    ends = rows.lives.kinds(resources) == ResourceKind.GREENLET
    joins = resources[ends].astype(np.uint64) << _32 | (told["arg"][ends] & _LOW)
    return np.unique(np.concatenate([holds, joins[joins & _LOW != 0]]))


def _active(h: ProcessHistory, rows: Present, pairs: Array) -> Array:
    """Return until when the greenlet of each pair is known to have done something, ns; 0 for who will do nothing any more."""
    ids = (pairs & _LOW).astype(np.uint32)
    at, is_there = place(rows.greenlets["id"], ids)
    until = np.zeros(len(ids), np.uint64)
    if is_there.any():
        states, since = rows.greenlets["state"][at], rows.greenlets["since_ns"][at]
        until = np.where(np.isin(states, _ACTIVE), _FOR_EVER, np.where(np.isin(states, ENDED), np.uint64(0), since))
    lives, is_known = h.ages.lives(ids)
    return np.where(is_there, until, np.where(is_known & (lives["died_ns"] == NEVER_BORN), _FOR_EVER, np.uint64(0)))


def _suspected(waiter: Array, resource: Array, since: Array, pairs: Array, until: Array) -> Array:
    """Return which waits nobody of the pairs has had the chance to end since they began; oneself cannot."""
    if not len(pairs):
        return np.ones(len(waiter), bool)
    order = np.lexsort((until, pairs >> _32))
    of, who, until = (pairs[order] >> _32).astype(np.uint32), pairs[order] & _LOW, until[order]
    last = np.searchsorted(of, resource, "right") - 1
    # Who could wake itself is passed over: the one before it is the most active of the others.
    last -= (of[last] == resource) & (who[last] == waiter)
    return (last < 0) | (of[last] != resource) | (until[last] <= since)
