"""Looks: what a moment of a greenlet's life looks like, in every window.

In:  a state and, of a wait, the kind of what is waited for. Out: a `Look`, its word and its sentence.
Never: a colour or a glyph; each window has its own (`timeline` for paper, the TUI's palette for a terminal).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from greentrace.events import ResourceKind, State


class Look(IntEnum):
    """What a cell can look like."""

    BLANK = 0
    UNKNOWN = 1
    CREATED = 2
    RUNNING = 3
    RUNNABLE = 4
    IO = 5
    LOCK = 6
    QUEUE = 7
    SLEEP = 8
    JOIN = 9
    FINISHED = 10
    HUB = 11


class Words(NamedTuple):
    """A word for a narrow place, a sentence for a legend."""

    word: str
    sentence: str


WORDS: dict[Look, Words] = {
    Look.BLANK: Words("", "not born yet, or its object is gone"),
    Look.UNKNOWN: Words("unknown", "unknown: before the first keyframe, or events were lost (GAP)"),
    Look.CREATED: Words("created", "created, not yet started"),
    Look.RUNNING: Words("running", "running; the height ▁…█ is its share of the cell's time"),
    Look.RUNNABLE: Words("runnable", "runnable: woken, waits for its turn"),
    Look.IO: Words("fd", "waits for an fd"),
    Look.LOCK: Words("lock", "waits for a lock, a semaphore, a place in a pool"),
    Look.QUEUE: Words("queue", "waits for a queue, an Event object, a result, a condition"),
    Look.SLEEP: Words("sleep", "sleeps"),
    Look.JOIN: Words("join", "waits for a greenlet's end, a switch, or something else"),
    Look.FINISHED: Words("finished", "finished"),
    Look.HUB: Words("hub", "a hub that runs, or polls for something to do"),
}

_BY_STATE = {
    State.UNKNOWN: Look.UNKNOWN, State.CREATED: Look.CREATED, State.RUNNING: Look.RUNNING, State.RUNNABLE: Look.RUNNABLE,
    State.PARKED: Look.JOIN, State.FINISHED: Look.FINISHED, State.COLLECTED: Look.BLANK,
}  # fmt: skip
_BY_KIND = {
    ResourceKind.FD: Look.IO, ResourceKind.SLEEP: Look.SLEEP,
    ResourceKind.LOCK: Look.LOCK, ResourceKind.SEMAPHORE: Look.LOCK, ResourceKind.RLOCK: Look.LOCK, ResourceKind.POOL: Look.LOCK,
    ResourceKind.QUEUE: Look.QUEUE, ResourceKind.EVENT: Look.QUEUE, ResourceKind.RESULT: Look.QUEUE,
    ResourceKind.CONDITION: Look.QUEUE, ResourceKind.CHANNEL: Look.QUEUE,
}  # fmt: skip


def look_of(state: State, kind: ResourceKind | None = None) -> Look:
    """Return how a state looks; a parked greenlet looks like what it waits for."""
    if state == State.PARKED and kind is not None:
        return _BY_KIND.get(kind, Look.JOIN)
    return _BY_STATE[state]
