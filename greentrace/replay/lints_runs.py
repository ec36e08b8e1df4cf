"""Runs that are too long: who kept a hub from turning.

In:  the timelines of one process; what a watchdog told.
Out: (greenlet, when it began, ns) of every uninterrupted run above a limit; and those that a watchdog has seen in the act, with
their stacks.
Never: a run across a gap, or of a thread that has no hub: nobody waits there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from greentrace.events import Kind, State
from greentrace.replay.index import Columns
from greentrace.replay.process import ProcessHistory
from greentrace.replay.segment import Segment

_UP_TO_GREENLET = 1 + Columns._fields.index("greenlet")


class Run(NamedTuple):
    """A greenlet that ran without switching."""

    greenlet: int
    since_ns: int
    ns: int


def blocked_runs(h: ProcessHistory, limit_ns: int) -> list[Run]:
    """Return the runs of more than `limit_ns`, by the moment they began."""
    lives = h.ages.rows()
    hubs = lives["id"][lives["is_hub"]]
    watched = lives["id"][np.isin(lives["thread"], lives["thread"][lives["is_hub"]])]
    rows = h.timelines.long_runs()
    rows = rows[(rows["end_ns"] - rows["begin_ns"] > limit_ns) & np.isin(rows["id"], watched) & ~np.isin(rows["id"], hubs)]
    told = h.having(Kind.STATE)
    found = [Run(number, begin_ns, end_ns - begin_ns) for number, _, begin_ns, end_ns in rows.tolist()]
    found = [run for run in found if _was_entered(h, run, told)]
    return sorted([*found, *_open(h, limit_ns, set(watched.tolist()) - set(hubs.tolist()))], key=lambda run: run.since_ns)


def entered_at(h: ProcessHistory, number: int, t_ns: int) -> int:
    """Return the position of the last switch to a greenlet at a moment, -1 if there is none."""
    for segment in reversed(h.segments):
        if segment.last_ns < t_ns:
            break
        if segment.first_ns <= t_ns and h.may_name(segment, greenlets=[number]):
            c = h.sealed.glance(segment, _UP_TO_GREENLET)
            low, high = np.searchsorted(c.t_ns, np.array([t_ns, t_ns + 1], np.uint64))
            mine = (c.greenlet[low:high] == number) & np.isin(c.kind[low:high], (Kind.SWITCH, Kind.THROW))
            if mine.any():
                return segment.first + int(low) + int(np.flatnonzero(mine)[-1])
    return -1


def _was_entered(h: ProcessHistory, run: Run, told: list[Segment]) -> bool:
    """Whether a switch began the run: who ran when the recording began, or after a gap, ran in nobody's place."""
    if not any(segment.first_ns <= run.since_ns <= segment.last_ns for segment in told):
        return True
    return entered_at(h, run.greenlet, run.since_ns) >= 0


def _open(h: ProcessHistory, limit_ns: int, watched: set[int]) -> list[Run]:
    """Return what still ran at the last event; the main greenlet may have done with its hub."""
    if not h.segments or not h.segments[-1].known:
        return []
    found = []
    for number, state, since_ns, at, _, _ in h.segments[-1].end.greenlets.tolist():
        if state == State.RUNNING and at >= 0 and number in watched and h.last_ns - since_ns > limit_ns:
            life = h.ages.greenlet(number)
            if life is not None and not life.is_main:
                found.append(Run(number, since_ns, h.last_ns - since_ns))
    return found


class Seen(NamedTuple):
    """A run that the watchdog has seen: when it began, how long it had lasted then, the position of the HOG, and its site."""

    greenlet: int
    since_ns: int
    ns: int
    position: int
    site: int


def seen_runs(h: ProcessHistory) -> list[Seen]:
    """Return of each run that the watchdog has seen the last that it told."""
    seen: dict[tuple[int, int], Seen] = {}
    for segment in h.having(Kind.HOG):
        c = segment.columns
        for i in np.flatnonzero(c.kind == Kind.HOG).tolist():
            t_ns, ns = int(c.t_ns[i]), int(c.arg[i])
            one = Seen(int(c.greenlet[i]), max(t_ns - ns, 0), min(ns, t_ns), segment.first + i, int(c.site[i]))
            seen[one.greenlet, one.since_ns] = one
    return list(seen.values())
