"""The follower: every event of every ring lands in the trace, and rings go when they are saved, not before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from greentrace import ring
from greentrace.errors import CannotRecord
from greentrace.events import RECORD, Kind
from greentrace.follow import Follow, main, start_ticks
from greentrace.ring import NameKind, Writer
from greentrace.trace import TraceFile


def begin(folder: Path, pid: int | None = None, ticks: int | None = None) -> Writer:
    """Make a ring of a process, by default this one."""
    pid = os.getpid() if pid is None else pid
    ticks = start_ticks(pid) if ticks is None else ticks
    path = folder / f"{pid}-{ticks}.ring"
    ring.create(path, ring.MIN_BYTES, ticks, {"pid": pid})
    return Writer(path)


def write(writer: Writer, count: int, first: int = 0) -> None:
    for i in range(first, first + count):
        writer.append(RECORD.pack(i, Kind.MARK, 0, 0, 0, 0, 0, i))


def events(path: Path) -> list[list[int]]:
    file = TraceFile(path)
    return [[int(row["arg"]) for block in p.event_blocks for row in file.read(block).records()] for p in file.processes]


@pytest.fixture
def rings(tmp_path: Path) -> Path:
    folder = tmp_path / "rings"
    folder.mkdir(mode=0o700)
    return folder


def test_everything_is_saved_and_the_rings_of_the_dead_are_removed(rings: Path, tmp_path: Path) -> None:
    writer = begin(rings)
    follow = Follow(rings, tmp_path / "t.gtrace")
    write(writer, 100)
    assert follow.turn()
    write(writer, 50, 100)
    writer.stopped()
    assert follow.finish() == []
    assert events(tmp_path / "t.gtrace") == [list(range(150))]
    assert list(rings.iterdir()) == []


def test_a_ring_that_appears_later_is_followed_too(rings: Path, tmp_path: Path) -> None:
    one = begin(rings)
    follow = Follow(rings, tmp_path / "t.gtrace")
    follow.turn()
    two = begin(rings, 999_999_999, 5)
    write(two, 7)
    write(one, 3)
    assert follow.finish() == [os.getpid()]
    assert sorted(map(len, events(tmp_path / "t.gtrace"))) == [3, 7]
    assert len(list(rings.iterdir())) == 1, "the ring of the living stays"


def test_names_come_before_the_events_that_use_them(rings: Path, tmp_path: Path) -> None:
    writer = begin(rings)
    writer.add_name(NameKind.STRING, 0, 1, b"alice")
    write(writer, 1)
    Follow(rings, tmp_path / "t.gtrace").finish()
    kinds = [block.type.name for block in TraceFile(tmp_path / "t.gtrace").blocks]
    assert kinds.index("NAMES") < kinds.index("EVENTS")


def test_what_was_overwritten_is_a_gap_in_its_place(rings: Path, tmp_path: Path) -> None:
    writer = begin(rings)
    follow = Follow(rings, tmp_path / "t.gtrace")
    write(writer, 10)
    follow.turn()
    write(writer, writer.layout.records * 2, 10)
    follow.finish()
    file = TraceFile(tmp_path / "t.gtrace")
    rows = [row for block in file.processes[0].event_blocks for row in file.read(block).records()]
    at = next(i for i, row in enumerate(rows) if row["kind"] == Kind.GAP)
    assert at == 10
    assert rows[at]["arg"] == follow.lost > 0
    assert rows[at + 1]["arg"] == 10 + follow.lost


def test_the_trace_grows_while_the_program_runs(rings: Path, tmp_path: Path) -> None:
    writer = begin(rings)
    follow = Follow(rings, tmp_path / "t.gtrace")
    for i in range(8):
        write(writer, 20_000, i * 20_000)
        follow.turn()
    grown = events(tmp_path / "t.gtrace")[0]
    assert len(grown) >= 2 * 65_536
    assert grown == list(range(len(grown)))


def test_a_trace_that_cannot_be_written_on_leaves_the_rings(rings: Path, tmp_path: Path) -> None:
    writer = begin(rings)
    write(writer, 10)
    with pytest.raises(CannotRecord):
        Follow(rings, Path("/dev/full"))
    follow = Follow(rings, tmp_path / "t.gtrace")
    follow._writer._file.close()
    follow._writer._file = open("/dev/full", "wb", buffering=0)
    with pytest.raises(CannotRecord):
        follow.finish()
    assert len(list(rings.iterdir())) == 1


def test_the_follower_as_a_program_ends_when_the_recorded_process_does(rings: Path, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    writer = begin(rings, child.pid, start_ticks(child.pid))
    write(writer, 20)
    child.communicate(b"\n", timeout=20)
    assert main([str(rings), str(tmp_path / "t.gtrace"), "--pid", str(child.pid)]) == 0
    assert events(tmp_path / "t.gtrace") == [list(range(20))]
    assert not rings.exists()
