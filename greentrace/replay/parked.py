"""Parked: what kind of thing each greenlet waited for, change by change.

In:  a segment; the kinds of all resources of its process, as far as they are told.
Out: its changes of state as codes of `packing`: a state, or PARKED on something of a kind.
Never: a look at one record at a time.
"""

from __future__ import annotations

import numpy as np

from greentrace.events import Kind, State
from greentrace.replay.chapters import Coded
from greentrace.replay.index import Array
from greentrace.replay.lives import Lives
from greentrace.replay.packing import codes_of
from greentrace.replay.segment import Segment


def coded(segment: Segment, lives: Lives) -> Coded:
    """Return the changes of state of a segment, greenlet by greenlet."""
    found = segment.changes
    ids = np.repeat(found.latest.ids, np.diff(np.append(found.latest.starts, len(found.states))))
    return Coded(ids.astype(np.uint32), found.t_ns, codes_of(found.states, _kinds(segment, lives)))


def _kinds(segment: Segment, lives: Lives) -> Array:
    kinds = np.zeros(len(segment.changes.states), np.uint8)
    parked = np.flatnonzero(segment.changes.states == State.PARKED)
    at, c = segment.changes.positions[parked], segment.columns
    # A PARK names its resource as `other`, a switch as `arg`; a STATE leaves that to the PARK that comes after it.
    told = np.flatnonzero(c.kind[at] == Kind.STATE)
    if len(told):
        at[told] = _parks_after(segment, parked[told])
    switched = (c.kind[at] == Kind.SWITCH) | (c.kind[at] == Kind.THROW)
    resource = np.where(switched, c.arg[at] & np.uint64(0xFFFFFFFF), np.uint64(0))
    resource = np.where(c.kind[at] == Kind.PARK, c.other[at], resource)
    kinds[parked] = lives.kinds(resource.astype(np.uint32))
    return kinds


def _parks_after(segment: Segment, parked: Array) -> Array:
    """Return the position of the first PARK of the same greenlet between each change, of at least one, and its next; else its own."""
    found, parks = segment.changes, segment.parks
    own = found.positions[parked]
    if not len(parks.ids):
        return own
    run = (found.latest.keys >> np.uint64(32)).astype(np.int64)
    until = np.full(len(own), len(segment))
    ends = np.minimum(parked + 1, len(run) - 1)
    again = (ends > parked) & (run[ends] == run[parked])
    until[again] = found.positions[ends[again]]
    ids = found.latest.ids[run[parked]]
    rank = np.minimum(np.searchsorted(parks.ids, ids), len(parks.ids) - 1)
    index = np.minimum(parks.before(rank, own), len(parks.keys) - 1)
    at = parks.positions[index]
    is_theirs = (parks.keys[index] >> np.uint64(32)).astype(np.int64) == rank
    return np.where((parks.ids[rank] == ids) & is_theirs & (at > own) & (at < until), at, own)
