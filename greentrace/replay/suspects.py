"""Suspects: who may be doomed, found without a look at everybody.

In:  the rows of one process at one moment.
Out: ids: all greenlets that `waits` could call doomed, or suspect, are among them; mostly nobody is. The same for two of the lints.
Never: a verdict, and nobody left out who deserves one: what is not known here keeps a greenlet in.

    parked, without a deadline, and each thing that it waits for has holders, or is a greenlet's end   then, again and again:
    whoever waits for something that a living greenlet holds who is none of these goes free
"""

from __future__ import annotations

import numpy as np

from greentrace.events import FIRST_RESOURCE, HELD, Op, ResourceKind, State
from greentrace.lifecycle import ENDED
from greentrace.replay.index import Array
from greentrace.replay.present import Present
from greentrace.replay.rows import place

_ROUNDS = 16
"""So many links of a chain are followed here; a longer one keeps its end in."""
_HELD = np.zeros(32, bool)
_HELD[[*HELD, ResourceKind.POOL]] = True
_LOW = np.uint64(0xFFFFFFFF)


def suspects(rows: Present) -> Array:
    """Return the ids of those who may be doomed, ascending."""
    ids, states = rows.greenlets["id"], rows.greenlets["state"]
    if not rows.whole or not len(ids):
        return ids[:0]
    waits = rows.waits
    held_up = states == State.PARKED
    for others in (rows.history.ages.hubs(), rows.timeouts[0]):
        at, is_there = place(ids, others)
        held_up[at[is_there]] = False
    waiter = np.searchsorted(ids, waits["greenlet"])
    # Most of those who wait do so for a while, or for what comes from outside: that is seen at once.
    held_up[waiter[~waits["told"] | (waits["deadline_ns"] != 0) | (waits["resource"] < FIRST_RESOURCE)]] = False
    mine = held_up[waiter]
    waits, waiter = waits[mine], waiter[mine]
    told, is_told = rows.lives.resources(waits["resource"])
    kind = told["flags"] & 0x1F
    # What was told again is looked at by whoever judges.
    sure = is_told & ~told["changed"]
    is_join, is_held = sure & (kind == ResourceKind.GREENLET), sure & _HELD[kind]
    holders = np.searchsorted(rows.held[0], waits["resource"], "right") - np.searchsorted(rows.held[0], waits["resource"])
    is_open = ~is_told | (told["signal_at"] <= rows.position)
    is_open |= sure & ~(is_join | (is_held & (holders > 0) & (waits["op"] != Op.PUT)))
    held_up[waiter[is_open]] = False
    dead = np.isin(states, ENDED)
    # (waiter, waker) of every join, and of every hold of what is waited for.
    target, is_there = place(ids, (told["arg"][is_join] & _LOW).astype(np.uint32))
    held_up[waiter[is_join][~is_there]] = False
    held_up[waiter[is_join][is_there][dead[target[is_there]] | (states[target[is_there]] == State.UNKNOWN)]] = False
    resource, order = rows.held
    owner, has_owner = place(ids, rows.held_by[order])
    for _ in range(_ROUNDS if held_up.any() else 0):
        before = int(np.count_nonzero(held_up))
        free = ~has_owner | (~held_up[owner] & ~dead[owner])
        opened = np.unique(resource[free])
        held_up[waiter[is_held & np.isin(waits["resource"], opened)]] = False
        held_up[waiter[is_join][is_there][~held_up[target[is_there]]]] = False
        if int(np.count_nonzero(held_up)) == before:
            break
    return ids[held_up]


def orphaned(rows: Present) -> Array:
    """Return the ids, ascending, of the resources that somebody waits for and that a greenlet holds that has ended."""
    ids, states = rows.greenlets["id"], rows.greenlets["state"]
    at, is_there = place(ids, rows.held_by)
    is_there[is_there] = np.isin(states[at[is_there]], ENDED)
    return np.intersect1d((rows.holds["pair"][is_there] & _LOW).astype(np.uint32), rows.waits["resource"])


def stuck(rows: Present, before_ns: int, kinds: Array) -> Array:
    """Return the ids, ascending, of those who are parked since before a moment, without a deadline, and on things of some kinds alone.

    `kinds`: whether a `ResourceKind` is one of them, by its number.
    """
    parked = (rows.greenlets["state"] == State.PARKED) & (rows.greenlets["since_ns"] < np.uint64(max(before_ns, 0)))
    ids = np.intersect1d(rows.greenlets["id"][parked], rows.waits["greenlet"])
    elsewhere = rows.waits["greenlet"][~kinds[rows.lives.kinds(rows.waits["resource"])] | (rows.waits["deadline_ns"] != 0)]
    return np.setdiff1d(ids, np.concatenate([elsewhere, rows.timeouts[0], rows.history.ages.hubs()]))


def is_busy(rows: Present) -> bool:
    """Whether a hub of the process has anything to do, or may have: then it is not exhausted."""
    if len(rows.timers) or len(rows.listeners):
        return True
    states = rows.greenlets["state"]
    return bool(np.isin(states, (State.UNKNOWN, State.CREATED, State.RUNNABLE)).any())
