"""Stretches: how long everybody was in each state in a window, with what and where each last left off.

    greenlet    |wait at app.py:12 for lock 7|ready|run|wait at app.py:40 ...
    belongs to  |app.py:12, lock 7           |  "  | " |app.py:40            so a site has its waits, and what came after each

In:  a `ProcessHistory`, a window [a, b] in ns.
Out: `Stretches`, a batch a segment: those that ended there, and at the end those that had not; clipped to the window.
Never: a loop over records. `timelines` has the same stretches, faster, but for sites and resources one has to look at the records.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from greentrace.events import Kind, State
from greentrace.replay.index import Array
from greentrace.replay.packing import begins
from greentrace.replay.process import ProcessHistory
from greentrace.replay.rows import place
from greentrace.replay.segment import Segment

_LOW = np.uint64(0xFFFFFFFF)
_FIELDS = {"id": "<u4", "state": "u1", "since_ns": "<u8", "resource": "<u4", "site": "<u4", "told": "<u4"}
OPEN = np.dtype(list(_FIELDS.items()))
"""A stretch that has begun: since when, or since the window began; `told`: what it waits for, where no switch said so."""


class Stretches(NamedTuple):
    """Columns: `states` u8, `ns` i64; ids of the greenlets, of what they left for (0: nothing, or not known), of where they left (0: the
    same), u32. `position`: all of them had begun by that record of the process."""

    position: int
    ids: Array
    states: Array
    resources: Array
    sites: Array
    ns: Array


class _Left(NamedTuple):
    """Changes of state, greenlet by greenlet; `leaves`: it says what for and where; `told`: as in `OPEN`."""

    ids: Array
    t_ns: Array
    states: Array
    leaves: Array
    resources: Array
    sites: Array
    told: Array


def stretches(h: ProcessHistory, a_ns: int, b_ns: int) -> Iterator[tuple[float, Stretches]]:
    """Yield (how much is done, the stretches of a segment)."""
    a, b = np.uint64(max(a_ns, 0)), np.uint64(max(a_ns, b_ns, 0))
    found = h.at_time(a_ns)
    first = 0 if found is None else found[0].number
    wanted = [segment for segment in h.segments if segment.number >= first and segment.t0_ns <= b]
    # Before its first record nothing is known of a process.
    opened = np.empty(0, OPEN) if found is None else _opened(*found, a)
    p = -1 if found is None else found[1]
    for done, segment in enumerate(wanted):
        if done and not (segment.known and not segment.fresh):
            yield done / len(wanted), _closed(opened, segment.t0_ns, segment.first)
            opened = opened[:0]
        _tell(opened, segment, -1 if done else p)
        ended, opened = _over(_left(segment), opened, a, b)
        if len(ended.ids):
            yield (done + 1) / len(wanted), ended._replace(position=segment.first + len(segment) - 1)
    if wanted:
        yield 1.0, _closed(opened, b, wanted[-1].first + len(wanted[-1]) - 1)


def _opened(segment: Segment, p: int, a: np.uint64) -> Array:
    """Return what everybody was in just after a record."""
    snapshot = segment.at(p)
    rows = snapshot.greenlets[snapshot.greenlets["state"] < State.FINISHED]
    opened = np.zeros(len(rows), OPEN)
    for name in ("id", "state", "site"):
        opened[name] = rows[name]
    opened["since_ns"], opened["resource"] = a, rows["parked_on"]
    # Whoever was parked already when the recording began is on what the keyframe told first; a PARK may park whoever was woken again.
    waits = snapshot.waits[np.argsort(snapshot.waits["at"], kind="stable")[::-1]]
    at, told = place(rows["id"], waits["greenlet"])
    at, waits = at[told], waits[told]
    parked = rows["state"][at] == State.PARKED
    for says in ((rows["parked_on"][at] == 0), rows["at"][at] == waits["at"]):
        opened["told"][at[parked & says]] = waits["resource"][parked & says]
    return opened


def _left(segment: Segment) -> _Left:
    changes, c = segment.changes, segment.columns
    at, states = changes.positions, changes.states
    ids = np.repeat(changes.latest.ids, np.diff(np.append(changes.latest.starts, len(states))))
    kind = c.kind[at]
    # The doubled position of a switch is even for whom it left, odd for whom it entered.
    switched = ((kind == Kind.SWITCH) | (kind == Kind.THROW)) & (changes.latest.positions & 1 == 0)
    stated = kind == Kind.STATE
    resources = np.where(switched, np.minimum(c.arg[at], _LOW), 0).astype(np.uint32)
    told = np.where(kind == Kind.PARK, c.other[at], np.uint32(0))
    untold = np.flatnonzero((states == State.PARKED) & (resources == 0) & (told == 0))
    until = np.append(np.where(ids[1:] == ids[:-1], at[1:], len(c)), len(c))
    told[untold] = _parks(segment, ids[untold], at[untold], until[untold])
    return _Left(ids.astype(np.uint32), changes.t_ns, states, switched | stated, resources, c.site[at], told)


def _tell(opened: Array, segment: Segment, p: int) -> None:
    """Note what those wait for of whom a PARK says so after record `p`, before their state changes: a keyframe may be cut in two."""
    untold = np.flatnonzero((opened["state"] == State.PARKED) & (opened["resource"] == 0) & (opened["told"] == 0))
    changes = segment.changes
    if len(untold) and len(segment.parks.ids):
        ids = opened["id"][untold]
        rank, changed = place(changes.latest.ids, ids.astype(np.uint64))
        positions = np.append(changes.positions, len(segment))
        until = np.full(len(ids), len(segment))
        after = np.full(len(ids), p)
        index = changes.latest.before(rank[changed], 2 * after[changed] + 1)
        stop = np.append(changes.latest.starts[1:], len(changes.latest.keys))[rank[changed]]
        until[changed] = np.where(index < stop, positions[index], len(segment))
        opened["told"][untold] = _parks(segment, ids, after, until)


def _parks(segment: Segment, ids: Array, after: Array, until: Array) -> Array:
    """Return what the first PARK of each greenlet between two positions, both exclusive, is on; 0 where there is none."""
    parks, c = segment.parks, segment.columns
    rank, here = place(parks.ids, ids.astype(np.uint64))
    if not len(parks.ids) or not here.any():
        return np.zeros(len(ids), np.uint32)
    at = parks.positions[np.minimum(parks.before(rank, after), len(parks.keys) - 1)]
    return np.where(here & (c.greenlet[at] == ids) & (at > after) & (at < until), c.other[at], np.uint32(0))


def _over(left: _Left, opened: Array, a: np.uint64, b: np.uint64) -> tuple[Stretches, Array]:
    """Return (the stretches that changes end, those that have begun then)."""
    inside = (left.t_ns > a) & (left.t_ns <= b)
    ids, t_ns, states, leaves, resources, sites, told = (column[inside] for column in left)
    _, is_touched = place(ids, opened["id"])
    touched, opened = opened[is_touched], opened[~is_touched]
    rows = np.zeros(len(touched) + len(ids), OPEN)
    for name, column in zip(_FIELDS, (ids, states, t_ns, resources, sites, told), strict=True):
        rows[name] = np.concatenate([touched[name], column])
    leaves = np.concatenate([np.ones(len(touched), bool), leaves])
    # Stable: what had begun comes before the changes of its greenlet.
    order = np.argsort(rows["id"], kind="stable")
    rows, leaves = rows[order], leaves[order]
    for name in ("resource", "site"):
        rows[name][~leaves] = 0
    is_first = np.zeros(len(rows), bool)
    is_first[begins(rows["id"])] = True
    # Who does not leave belongs where it left last.
    for name, says in (("resource", leaves), ("site", rows["site"] != 0)):
        rows[name] = rows[name][np.maximum.accumulate(np.where(says | is_first, np.arange(len(rows)), 0))]
    is_last = np.append(is_first[1:], True)[: len(rows)]
    over = np.flatnonzero(~is_last)
    last = rows[is_last & (rows["state"] < State.FINISHED)]
    return _ended(rows[over], rows["since_ns"][over + 1], 0), np.insert(opened, np.searchsorted(opened["id"], last["id"]), last)


def _ended(rows: Array, t_ns: Array | np.uint64, position: int) -> Stretches:
    resources = np.where(rows["told"] > 0, rows["told"], rows["resource"])
    return Stretches(position, rows["id"], rows["state"], resources, rows["site"], (t_ns - rows["since_ns"]).astype(np.int64))


def _closed(opened: Array, t_ns: int | np.uint64, position: int) -> Stretches:
    return _ended(opened, np.maximum(opened["since_ns"], np.uint64(t_ns)), position)
