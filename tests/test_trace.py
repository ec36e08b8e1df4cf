"""The saved trace: round trips, cuts at every byte, flips of every bit, and files from strangers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greentrace import ring, trace
from greentrace.errors import BadTrace, CannotRecord
from greentrace.events import RECORD, Kind
from greentrace.ring import NameKind, name_entry
from greentrace.trace import EVENT_DTYPE, BlockType, TraceFile, TraceWriter


def records(first: int, count: int) -> bytes:
    rows = ((1000 + 10 * i, Kind.SWITCH, i & 7, i & 3, i & 0xFFFF, i >> 1, i % 13, i * 977) for i in range(first, first + count))
    return b"".join(RECORD.pack(*row) for row in rows)


def small(path: Path) -> Path:
    """Two processes, three blocks of events, names, a note."""
    with TraceWriter(path) as writer:
        writer.process(0, {"pid": 11})
        writer.names(0, name_entry(NameKind.STRING, 0, 1, b"alice"))
        writer.events(0, 0, records(0, 20))
        writer.process(1, {"pid": 12})
        writer.events(1, 0, records(0, 5))
        writer.events(0, 20, records(20, 10))
        writer.note({"exit": {"pid": 11, "code": 3}})
        writer.close({"events": 35})
    return path


def contents(path: Path) -> tuple[list[list[tuple[int, ...]]], list[str]]:
    """Return each process's events and the damage."""
    file = TraceFile(path)
    events = [[tuple(int(v) for v in row) for block in p.event_blocks for row in file.read(block).records()] for p in file.processes]
    file.close()
    return events, file.damage


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = TraceFile(small(tmp_path / "t.gtrace"))
    assert [p.meta for p in file.processes] == [{"pid": 11}, {"pid": 12}]
    assert file.processes[0].exit == {"pid": 11, "code": 3}
    assert [payload for _, _, _, payload in ring.name_entries(file.processes[0].names())] == [b"alice"]
    assert b"".join(file.read(block).records().tobytes() for block in file.processes[0].event_blocks) == records(0, 30)
    assert (file.damage, file.ended) == ([], True)


@settings(max_examples=60, deadline=None)
@given(data=st.lists(st.tuples(*(st.integers(0, 2**bits - 1) for bits in (50, 8, 8, 16, 32, 32, 32, 64))), min_size=1, max_size=50))
def test_any_events_survive_the_columns(data: list[tuple[int, ...]]) -> None:
    packed = b"".join(RECORD.pack(*row) for row in sorted(data))
    assert trace.decode(trace.encode(packed), len(data)).records().tobytes() == packed


def test_a_large_batch_becomes_several_blocks(tmp_path: Path) -> None:
    count = trace.MAX_EVENTS + 10
    array = np.zeros(count, EVENT_DTYPE)
    array["t_ns"] = np.arange(count)
    with TraceWriter(tmp_path / "t.gtrace") as writer:
        writer.process(0, {})
        writer.events(0, 0, array.tobytes())
    file = TraceFile(tmp_path / "t.gtrace")
    assert [block.count for block in file.processes[0].event_blocks] == [trace.MAX_EVENTS, 10]
    assert sum(len(file.read(block)) for block in file.processes[0].event_blocks) == count


def test_a_trace_cut_off_at_any_byte_opens_up_to_its_last_whole_block(tmp_path: Path) -> None:
    whole = small(tmp_path / "t.gtrace").read_bytes()
    cut = tmp_path / "cut.gtrace"
    full, _ = contents(tmp_path / "t.gtrace")
    seen = set()
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        try:
            events, damage = contents(cut)
        except BadTrace:
            assert size < 64
            continue
        assert damage == []
        for mine, all_of_it in zip(events, full, strict=False):
            assert mine == all_of_it[: len(mine)]
        seen.add(sum(map(len, events)))
    assert seen == {0, 20, 25, 35}


def test_every_single_bit_flip_changes_nothing_or_is_named_and_shows_as_a_gap(tmp_path: Path) -> None:
    whole = small(tmp_path / "t.gtrace").read_bytes()
    full, _ = contents(tmp_path / "t.gtrace")
    flipped = tmp_path / "flipped.gtrace"
    for bit in range(len(whole) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        flipped.write_bytes(data)
        try:
            events, damage = contents(flipped)
        except BadTrace:
            assert bit < 64 * 8
            continue
        if events != full:
            assert damage, bit
        for mine in events:
            real = [row for row in mine if row[1] != Kind.GAP]
            assert any(set(real) <= set(of) for of in full), bit


def test_a_missing_block_in_the_middle_shows_as_a_gap_of_its_events(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t.gtrace") as writer:
        writer.process(0, {})
        writer.events(0, 0, records(0, 5))
        writer.events(0, 9, records(9, 5))
    events, _ = contents(tmp_path / "t.gtrace")
    gaps = [row for row in events[0] if row[1] == Kind.GAP]
    assert [row[7] for row in gaps] == [4]


def test_a_stated_gap_is_counted_once(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t.gtrace") as writer:
        writer.process(0, {})
        writer.events(0, 0, records(0, 5))
        writer.gap(0, 1050, 4, 5)
        writer.events(0, 9, records(9, 5))
    events, _ = contents(tmp_path / "t.gtrace")
    assert [row[7] for row in events[0] if row[1] == Kind.GAP] == [4]


def test_a_growing_file_is_picked_up(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "t.gtrace")
    writer.process(0, {})
    writer.events(0, 0, records(0, 5))
    file = TraceFile(tmp_path / "t.gtrace")
    assert len(file.processes[0].event_blocks) == 1
    assert not file.refresh()
    writer.events(0, 5, records(5, 5))
    assert file.refresh()
    assert len(file.processes[0].event_blocks) == 2
    writer.close()


def test_a_block_that_claims_more_than_it_holds_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.gtrace"
    with TraceWriter(path) as writer:
        writer.process(0, {})
        bomb = trace.zstd.compress(bytes(1 << 26))
        writer._block(BlockType.EVENTS, 0, bomb, count=10, raw=320)
        writer._block(BlockType.NAMES, 0, bomb, raw=320)
    events, damage = contents(path)
    assert [row[1] for row in events[0]] == [Kind.GAP]
    assert len(damage) == 2


def test_a_foreign_file_and_a_newer_trace_are_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "x.gtrace"
    path.write_bytes(b"not a trace at all" * 20)
    with pytest.raises(BadTrace, match="is not a trace"):
        TraceFile(path)
    path.write_bytes(b"")
    with pytest.raises(BadTrace):
        TraceFile(path)
    import zlib

    head = trace._FILE.pack(trace.MAGIC, trace.VERSION + 1, 0)[:-4]
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)))
    with pytest.raises(BadTrace, match="newer greentrace"):
        TraceFile(path)


def test_a_trace_that_cannot_be_made_or_written_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotRecord):
        TraceWriter(tmp_path / "no" / "t.gtrace")
    with pytest.raises(CannotRecord):
        TraceWriter(Path("/dev/full"))
