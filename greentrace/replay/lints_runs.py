"""Runs that are too long: who kept a hub from turning.

In:  the records of one process.
Out: (greenlet, position of the switch that let it run, ns) of every uninterrupted run above a limit; and those that a watchdog
has seen in the act, with their stacks.
Never: a run across a gap, or of a thread that has no hub: nobody waits there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from greentrace.events import Kind, State
from greentrace.replay.process import ProcessHistory
from greentrace.replay.segment import Segment


def blocked_runs(h: ProcessHistory, limit_ns: int) -> Iterator[tuple[int, int, int]]:
    """Yield the runs of more than `limit_ns`, thread by thread."""
    rows = h.ages.rows()
    hubs = set(rows["thread"][rows["is_hub"]].tolist())
    for stretch in _stretches(h):
        parts = []
        for segment in stretch:
            at = np.flatnonzero((segment.columns.kind == Kind.SWITCH) | (segment.columns.kind == Kind.THROW))
            parts.append((segment.columns.t_ns[at], segment.columns.thread[at], segment.columns.greenlet[at], at + segment.first))
        if not parts:
            continue
        t_ns, threads, greenlets, positions = (np.concatenate(column) for column in zip(*parts, strict=True))
        for thread in sorted(hubs):
            mine = np.flatnonzero(threads == thread)
            lasted = t_ns[mine][1:] - t_ns[mine][:-1]
            for i in np.flatnonzero(lasted > limit_ns).tolist():
                number = int(greenlets[mine[i]])
                if not _is_hub(h, number):
                    yield number, int(positions[mine[i]]), int(lasted[i])
        yield from _open(h, stretch, limit_ns, hubs)


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
    for segment in h.segments:
        c = segment.columns
        for i in np.flatnonzero(c.kind == Kind.HOG).tolist():
            t_ns, ns = int(c.t_ns[i]), int(c.arg[i])
            one = Seen(int(c.greenlet[i]), max(t_ns - ns, 0), min(ns, t_ns), segment.first + i, int(c.site[i]))
            seen[one.greenlet, one.since_ns] = one
    return list(seen.values())


def _open(h: ProcessHistory, stretch: list[Segment], limit_ns: int, hubs: set[int]) -> Iterator[tuple[int, int, int]]:
    """Yield what still ran when the stretch ended; the main greenlet may have done with its hub."""
    last = stretch[-1]
    end_ns = int(last.columns.t_ns[-1])
    for number, state, since_ns, at, _, _ in last.end.greenlets.tolist():
        life = h.ages.greenlet(number) if state == State.RUNNING and at >= 0 else None
        if life is None or life.is_hub or life.is_main:
            continue
        if life.thread in hubs and end_ns - since_ns > limit_ns:
            yield number, at, end_ns - since_ns


def _is_hub(h: ProcessHistory, number: int) -> bool:
    life = h.ages.greenlet(number)
    return life is not None and life.is_hub


def _stretches(h: ProcessHistory) -> Iterator[list[Segment]]:
    """Yield the segments that follow each other without a gap."""
    stretch: list[Segment] = []
    for segment in h.segments:
        if (segment.fresh or not segment.known) and stretch:
            yield stretch
            stretch = []
        if segment.known:
            stretch.append(segment)
    if stretch:
        yield stretch
