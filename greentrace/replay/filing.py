"""Filing: a chapter of a process as sections of the index, and back.

In:  what a process knows at the end of a chapter.
Out: bytes by section; from a volume of the index the same, where it stands.
Never: trust. Everything that is used to find something else is looked at first; what it finds may still be anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from greentrace.replay.chapters import RARE, Chapter
from greentrace.replay.index import Array
from greentrace.replay.packing import BLOCK, Packed
from greentrace.replay.segment import Origin, Segment
from greentrace.replay.segments import Known
from greentrace.replay.shelf import Volume
from greentrace.replay.source import Feed

SEGMENT = np.dtype([("count", "<u4"), ("first_ns", "<u8"), ("last_ns", "<u8"), ("t0_ns", "<u8"), ("flags", "u1"), ("key_until", "<i8")])
_KNOWN, _FRESH, _WHOLE = 1, 2, 4
_MAX_COUNT = 1 << 23


class Section(IntEnum):
    """What a section of the index holds."""

    STATE = 1
    SEGMENTS = 2
    KINDS = 3
    END_NUMBERS = 4
    ENDS = 5
    AGE = 6
    GONE = 7
    RUN_IDS = 8
    RUN_STARTS = 9
    BLOCKS = 10
    BITS = 11
    RARE_IDS = 12
    RARE = 13
    STATE_SIZES = 14
    STATES = 15
    LONG = 16
    NAMED_SIZES = 17
    NAMED = 18


LARGE = (Section.AGE, Section.STATES, Section.NAMED, Section.ENDS, Section.BLOCKS, Section.BITS)


@dataclass
class Filed:
    """A chapter: `state` is what its process knew when it ended; `ends` by number of the segment; `age` and `gone` are frozen."""

    state: dict[str, Any]
    segments: Sequence[Segment]
    known: Sequence[Known]
    ends: dict[int, bytes | memoryview]
    age: bytes | memoryview
    gone: bytes | memoryview


def sections(filed: Filed, packed: Packed, rare: Array, long: Array) -> dict[int, bytes]:
    """Return a chapter as sections."""
    rows = np.zeros(len(filed.segments), SEGMENT)
    for row, segment in zip(rows, filed.segments, strict=True):
        flags = _KNOWN * segment.known | _FRESH * segment.fresh | _WHOLE * segment.whole
        fields = segment.count, segment.first_ns, segment.last_ns, segment.t0_ns, flags, segment.key_until
        for name, value in zip(SEGMENT.names or (), fields, strict=True):
            row[name] = value
    numbers = np.array([(number, len(end)) for number, end in filed.ends.items()], np.uint32).reshape(-1, 2)
    return {
        Section.STATE: json.dumps(filed.state).encode(),
        Section.SEGMENTS: rows.tobytes(),
        Section.KINDS: b"".join(known.kinds.astype("<u4").tobytes() for known in filed.known),
        Section.END_NUMBERS: numbers.astype("<u4").tobytes(),
        Section.ENDS: b"".join(filed.ends.values()),
        Section.AGE: bytes(filed.age),
        Section.GONE: bytes(filed.gone),
        Section.RUN_IDS: packed.ids.astype("<u4").tobytes(),
        Section.RUN_STARTS: packed.starts.astype("<u4").tobytes(),
        Section.BLOCKS: packed.blocks.tobytes(),
        Section.BITS: packed.bits.tobytes(),
        Section.RARE_IDS: np.ascontiguousarray(rare["id"]).tobytes(),
        Section.RARE: rare.tobytes(),
        Section.LONG: long.tobytes(),
        Section.STATE_SIZES: np.array([len(known.states) for known in filed.known], "<u4").tobytes(),
        Section.STATES: b"".join(known.states for known in filed.known),
        Section.NAMED_SIZES: np.array([len(known.named) for known in filed.known], "<u4").tobytes(),
        Section.NAMED: b"".join(known.named for known in filed.known),
    }


def state_of(volume: Volume) -> dict[str, Any]:
    """Return what the process knew at the end of a chapter. Raises `ValueError` when that is not told."""
    state = json.loads(volume.sections[Section.STATE].tobytes())
    if not isinstance(state, dict):
        raise ValueError("no state")
    return state


def fitting(volumes: Sequence[Volume], feed: Feed) -> tuple[Sequence[Volume], int]:
    """Return (the volumes of the index of a process that are of what its feed has, how many events they are of)."""
    while volumes:
        try:
            state = state_of(volumes[-1])
            if feed.has(int(state["blocks"]), int(state["chain"]), int(state["count"])):
                return volumes, int(state["count"])
        except (ValueError, KeyError, TypeError, OverflowError):
            pass
        volumes = volumes[:-1]
    return volumes, 0


def filed_of(volume: Volume, origin: Origin, number: int, first: int) -> Filed:
    """Return a chapter whose first segment is the `number`th of its process and begins with the record at `first`.

    Raises `ValueError`, `KeyError` or `TypeError` when it makes no sense.
    """
    rows = _rows(volume, Section.SEGMENTS, SEGMENT)
    made: list[Segment] = []
    for count, first_ns, last_ns, t0_ns, flags, key_until in rows.tolist():
        if not 0 < count <= _MAX_COUNT or not first_ns <= last_ns < 1 << 63 or t0_ns > first_ns:
            raise ValueError("a segment that cannot be")
        known, fresh, whole = bool(flags & _KNOWN), bool(flags & _FRESH), bool(flags & _WHOLE)
        made.append(Segment(origin, number + len(made), first, count, first_ns, last_ns, t0_ns, known, fresh, whole, key_until))
        first += count
    kinds = _rows(volume, Section.KINDS, np.dtype("<u4")).reshape(len(made), 256)
    ends: dict[int, bytes | memoryview] = {}
    at, stored = 0, volume.sections[Section.ENDS].data
    for of, size in _rows(volume, Section.END_NUMBERS, np.dtype("<u4")).reshape(-1, 2).tolist():
        ends[of] = stored[at : at + size]
        at += size
    states, named = _parts(volume, Section.STATE_SIZES, Section.STATES), _parts(volume, Section.NAMED_SIZES, Section.NAMED)
    if not len(states) == len(named) == len(made):
        raise ValueError("of other segments")
    kept = [Known(*each) for each in zip(kinds, states, named, strict=True)]
    age, gone = (volume.sections[section].data for section in (Section.AGE, Section.GONE))
    return Filed(state_of(volume), made, kept, ends, age, gone)


def chapter_of(volume: Volume) -> Chapter:
    """Return the packed changes of a chapter, where they stand. Raises `ValueError` or `KeyError` when they make no sense."""
    state = state_of(volume)
    ids, starts = _rows(volume, Section.RUN_IDS, np.dtype("<u4")), _rows(volume, Section.RUN_STARTS, np.dtype("<u4"))
    rare_ids, rare = _rows(volume, Section.RARE_IDS, np.dtype("<u4")), _rows(volume, Section.RARE, RARE)
    blocks, long = len(_rows(volume, Section.BLOCKS, BLOCK)), _rows(volume, Section.LONG, RARE)
    begin = volume.offsets[Section.BLOCKS]
    runs = len(starts) == len(ids) + 1 and not starts[0] and starts[-1] == blocks and (ids[1:] > ids[:-1]).all()
    runs = runs and (starts[1:] > starts[:-1]).all() and not begin % BLOCK.itemsize
    stretches = len(rare) == len(rare_ids) and (rare_ids[1:] >= rare_ids[:-1]).all() and (rare["state"] < 8).all()
    if not (runs and stretches and (long["end_ns"] >= long["begin_ns"]).all()):
        raise ValueError("runs that cannot be")
    base = volume.offsets[Section.BITS] * 8
    t0_ns, is_reset = int(np.uint64(state["t0_ns"])), bool(state["is_reset"])
    return Chapter(t0_ns, is_reset, ids, starts, begin // BLOCK.itemsize, base, rare_ids, rare, long)


def _parts(volume: Volume, sizes: Section, section: Section) -> list[memoryview]:
    """Return a section that holds one part a segment, cut into them."""
    ends = np.cumsum(_rows(volume, sizes, np.dtype("<u4")), dtype=np.int64).tolist()
    stored = volume.sections[section].data
    return [stored[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def _rows(volume: Volume, section: Section, dtype: np.dtype) -> Array:
    data = volume.sections[section]
    if len(data) % dtype.itemsize:
        raise ValueError(f"{section.name} is cut off")
    return data.view(dtype)
