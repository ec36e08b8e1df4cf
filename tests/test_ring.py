"""The ring: order, wrapping, loss that is counted, hostile files, and a writer that is killed in mid-write."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greentrace import ring
from greentrace.errors import BadRing, CannotRecord
from greentrace.events import RECORD
from greentrace.ring import Follower, NameKind, Phase, Writer, name_entries

SMALL = ring.MIN_BYTES


def make(folder: Path, name: str = "1-1.ring") -> Path:
    path = folder / name
    ring.create(path, SMALL, 1, {"pid": 1})
    return path


def record(i: int) -> bytes:
    return RECORD.pack(i, 1, 0, 0, i & 0xFFFFFFFF, 0, 0, i)


def numbers(data: bytes) -> list[int]:
    return [row[0] for row in RECORD.iter_unpack(data)]


def read_all(follower: Follower) -> tuple[list[int], int]:
    found: list[int] = []
    lost = 0
    while True:
        chunk = follower.read()
        lost += chunk.lost
        if not chunk.records:
            return found, lost
        found += numbers(chunk.records)


def test_what_is_written_is_read_in_order(tmp_path: Path) -> None:
    path = make(tmp_path)
    writer, follower = Writer(path), Follower(path)
    for i in range(1000):
        writer.append(record(i))
    assert read_all(follower) == (list(range(1000)), 0)
    assert read_all(follower) == ([], 0)


def test_a_follower_that_keeps_up_loses_nothing_over_many_wraps(tmp_path: Path) -> None:
    path = make(tmp_path)
    writer, follower = Writer(path), Follower(path)
    slots = writer.layout.records
    written = 0
    for _ in range(10):
        for _ in range(slots // 2):
            writer.append(record(written))
            written += 1
        found, lost = read_all(follower)
        assert lost == 0
        assert found == list(range(written - len(found), written))


def test_what_was_overwritten_is_counted_and_reading_goes_on_at_the_start_of_a_generation(tmp_path: Path) -> None:
    path = make(tmp_path)
    writer, follower = Writer(path), Follower(path)
    total = writer.layout.records * 2 + 77
    for i in range(total):
        writer.append(record(i))
    found, lost = read_all(follower)
    assert found[0] % writer.layout.generation_records == 0
    assert found == list(range(found[0], total))
    assert lost == found[0]
    assert total - found[0] >= writer.layout.records - 2 * writer.layout.generation_records


def test_two_followers_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = make(tmp_path)
    writer, one, two = Writer(path), Follower(path), Follower(path)
    for i in range(10):
        writer.append(record(i))
    assert numbers(one.read(3).records) == [0, 1, 2]
    assert read_all(two) == (list(range(10)), 0)
    assert read_all(one) == (list(range(3, 10)), 0)


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 70_000)), min_size=1, max_size=12))
def test_every_event_is_read_once_in_order_or_counted_as_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]
) -> None:
    path = make(tmp_path_factory.mktemp("ring"))
    writer, follower = Writer(path), Follower(path)
    written = seen = lost = 0
    for count, most in steps:
        for _ in range(count):
            writer.append(record(written))
            written += 1
        chunk = follower.read(most)
        lost += chunk.lost
        got = numbers(chunk.records)
        assert got == list(range(seen + lost, seen + lost + len(got)))
        seen += len(got)
    rest, more = read_all(follower)
    assert seen + lost + len(rest) + more == written
    writer.close()
    follower.close()


def test_names_are_read_back_and_a_full_arena_is_counted(tmp_path: Path) -> None:
    path = make(tmp_path)
    writer, follower = Writer(path), Follower(path)
    assert writer.add_name(NameKind.STRING, 0, 7, b"alice")
    assert [(k, n, p) for k, _, n, p in name_entries(follower.read_names())][1:] == [(NameKind.STRING, 7, b"alice")]
    assert follower.read_names() == b""
    while writer.add_name(NameKind.STRING, 0, 8, b"x" * 4000):
        pass
    assert follower.lost_names == 1
    assert not writer.add_name(NameKind.STRING, 0, 9, b"x" * 4000)
    assert follower.lost_names == 2


def test_the_space_is_reserved_when_the_ring_is_made(tmp_path: Path) -> None:
    path = make(tmp_path)
    status = path.stat()
    assert status.st_blocks * 512 >= ring.Layout.of(SMALL).file_bytes
    assert status.st_mode & 0o777 == 0o600


def test_a_ring_is_not_made_over_something_that_is_there(tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(CannotRecord):
        ring.create(path, SMALL, 1, {})
    link = tmp_path / "link.ring"
    link.symlink_to(tmp_path / "target")
    with pytest.raises(CannotRecord):
        ring.create(link, SMALL, 1, {})
    assert not (tmp_path / "target").exists()


def test_no_room_for_a_ring_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import resource, signal; from pathlib import Path; from greentrace import ring, errors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        f"path = Path({str(tmp_path / 'x.ring')!r})\n"
        "try:\n    ring.create(path, 1 << 20, 1, {})\nexcept errors.CannotRecord as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "No ring can be made" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_private_directory_refuses_what_somebody_planted(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotRecord):
        ring.private_directory(tmp_path / "link")
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    ring.private_directory(tmp_path / "open")
    assert (tmp_path / "open").stat().st_mode & 0o077 == 0


def test_a_newer_ring_says_what_to_do(tmp_path: Path) -> None:
    path = make(tmp_path)
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(struct.pack("<I", ring.VERSION + 1))
    with pytest.raises(BadRing, match="newer greentrace"):
        Follower(path)


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 63), value=st.integers(0, 255))
def test_a_damaged_header_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, at: int, value: int) -> None:
    path = make(tmp_path_factory.mktemp("ring"))
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(bytes([value]))
    try:
        follower = Follower(path)
    except BadRing:
        return
    read_all(follower)
    follower.close()


@settings(max_examples=100, deadline=None)
@given(word=st.integers(16, 20), value=st.integers(0, 2**64 - 1))
def test_hostile_live_words_end_reading_and_take_no_memory(tmp_path_factory: pytest.TempPathFactory, word: int, value: int) -> None:
    path = make(tmp_path_factory.mktemp("ring"))
    with open(path, "r+b") as file:
        file.seek(word * 8)
        file.write(struct.pack("<Q", value))
    follower = Follower(path)
    for _ in range(3):
        assert len(follower.read().records) <= follower.layout.records * RECORD.size
        assert len(follower.read_names()) <= follower.layout.names_bytes
    follower.close()


WRITER = """
import sys
from pathlib import Path
from greentrace import ring
from greentrace.events import RECORD
path = Path(sys.argv[1])
ring.create(path, ring.MIN_BYTES, 1, {"pid": 1})
writer = ring.Writer(path)
print("writing", flush=True)
i = 0
while True:
    writer.append(RECORD.pack(i, 1, 0, 0, i & 0xFFFFFFFF, 0, 0, i))
    i += 1
"""


@pytest.mark.parametrize("turn", range(5))
def test_a_writer_that_is_killed_in_mid_write_leaves_everything_up_to_its_last_event(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "killed.ring"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    follower = Follower(path)
    while follower.words[ring.HEAD] < 10_000 * (turn + 1):
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()
    head = follower.words[ring.HEAD]
    found, lost = read_all(follower)
    assert found == list(range(lost, head))
    assert follower.phase == Phase.RECORDING
