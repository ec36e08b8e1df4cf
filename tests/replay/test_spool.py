"""What was taken from a ring can be had again, with little of it in memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greentrace.events import Kind
from greentrace.replay import process, reader, segments, spool
from greentrace.replay.spool import Spool
from greentrace.trace import EVENT_DTYPE, FIELDS, Columns
from tests.support.scribe import Scribe


def records(count: int) -> Columns:
    chance = np.random.default_rng(count)
    made = np.zeros(count, EVENT_DTYPE)
    for name in EVENT_DTYPE.names or ():
        made[name] = chance.integers(0, 200, count)
    made["t_ns"] = np.arange(count) + 10**18
    return Columns.of(made)


def assert_same(found: Columns, expected: Columns, fields: int = FIELDS) -> None:
    for at, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.tolist() == (other.tolist() if at < fields else [0] * len(other))


@given(parts=st.lists(st.integers(1, 30), min_size=1, max_size=12), data=st.data())
def test_what_was_put_in_can_be_had_again_before_and_after_the_end(parts: list[int], data: st.DataObject) -> None:
    every = records(sum(parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "BLOCK", 8)
        kept, done = Spool(), 0
        for part in parts:
            kept.put(every.slice(done, done + part))
            done += part
            stop = data.draw(st.integers(1, done))
            start = data.draw(st.integers(0, stop - 1))
            assert_same(kept.again(start, stop), every.slice(start, stop))
        kept.close()
        assert_same(kept.again(0, done), every)


def test_fewer_fields_are_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "BLOCK", 64)
    every = records(128)
    kept = Spool()
    kept.put(every)
    assert_same(kept.again(3, 100, fields=4), every.slice(3, 100), fields=4)


@pytest.mark.parametrize("blocks", [0, 2])
def test_without_room_on_disk_what_follows_stays_in_memory(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "BLOCK", 16)
    every = records(96)
    left = [blocks]
    write = os.pwrite

    def full(file: int, payload: bytes, offset: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, payload, offset)

    monkeypatch.setattr(os, "pwrite", full)
    kept = Spool()
    kept.put(every)
    assert_same(kept.again(0, 96), every)
    assert sum(isinstance(block, bytes) for block in kept._blocks) == 6 - blocks
    kept.close()
    assert_same(kept.again(0, 96), every)


def test_a_viewer_of_a_ring_holds_a_few_segments_and_knows_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SEAL_LIVE", 100)
    monkeypatch.setattr(spool, "BLOCK", 100)
    s = Scribe(tmp_path / "a.ring")
    trace = reader.open(s.path)
    moments = {}
    for turn in range(1500):
        lock = s.lock()
        s.acquire(lock)
        moments[turn] = (s.now, lock)
        s.release(lock)
        trace.refresh()
    (h,) = trace.histories
    assert len(h.segments) > 40
    assert sum("columns" in segment.__dict__ for segment in h.segments) <= segments.WARM + 1
    for turn in range(0, 1500, 97):
        t_ns, lock = moments[turn]
        assert [hold.resource for hold in trace.at(t_ns).greenlets[s.main].holds] == [lock]
    assert trace.events()["kind"].tolist().count(Kind.ACQUIRE) == 1500
