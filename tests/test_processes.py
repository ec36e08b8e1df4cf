"""Processes: who is Python, who is recording, and one clear reason for everybody who cannot be followed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greentrace import processes, ring
from greentrace.errors import CannotAttach
from greentrace.record.session import start_ticks


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that has said `up`; it ends when its stdin does."""
    command = [sys.executable, "-c", f"{code}\nprint('up', flush=True)\ninput()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.communicate(timeout=30)


def plant(home: Path, pid: int, ticks: int) -> Path:
    folder = ring.private_directory(home / f"run-{pid}-planted")
    path = folder / f"{pid}-{ticks}{ring.SUFFIX}"
    ring.create(path, ring.MIN_BYTES, ticks, {"pid": pid})
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for rings of this test alone."""
    folder = ring.private_directory(tmp_path / "home")
    monkeypatch.setenv("GREENTRACE_HOME", str(folder))
    return folder


def test_a_program_that_records_is_found_with_its_runtime_and_its_ring(place: Path) -> None:
    with running("import greentrace, gevent; greentrace.start()") as process:
        (row,) = [row for row in processes.rows() if row.pid == process.pid]
        assert row.ring == processes.ring_of(process.pid) == processes.rings()[process.pid]
        assert row.ring is not None
        assert place in row.ring.parents
        assert row.python == f"3.{sys.version_info.minor}"
        assert "gevent" in row.runtimes
        assert (row.user, row.recording, row.attachable) == (os.getuid(), True, True)
        assert "import greentrace" in row.command


def test_a_program_that_has_stopped_recording_can_still_be_looked_at(place: Path) -> None:
    with running("import greentrace; greentrace.start(); greentrace.stop()") as process:
        (row,) = [row for row in processes.rows() if row.pid == process.pid]
        assert (row.recording, row.attachable) == (False, True)


def test_a_python_program_that_does_not_record_is_listed_and_told_so(place: Path) -> None:
    with running("pass") as process:
        (row,) = [row for row in processes.rows() if row.pid == process.pid]
        assert (row.ring, row.attachable) == (None, False)
        with pytest.raises(CannotAttach, match="is not recording"):
            processes.ring_of(process.pid)


def test_what_is_no_python_is_not_listed_and_told_so(place: Path) -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        assert process.pid not in {row.pid for row in processes.rows()}
        with pytest.raises(CannotAttach, match="is not a Python program"):
            processes.ring_of(process.pid)
    finally:
        process.communicate(timeout=30)


def test_a_process_that_is_dead_is_told_so_although_its_ring_is_still_there(place: Path) -> None:
    with running("pass") as process:
        path = plant(place, process.pid, start_ticks(process.pid))
        assert processes.rings() == {process.pid: path}
    assert processes.rings() == {}
    with pytest.raises(CannotAttach, match="There is no process"):
        processes.ring_of(process.pid)
    assert path.exists(), "what it recorded can still be read"


def test_a_number_that_another_process_had_before_does_not_give_away_the_ring_of_that_one(place: Path) -> None:
    with running("pass") as process:
        plant(place, process.pid, start_ticks(process.pid) - 1)
        assert process.pid not in processes.rings()
        with pytest.raises(CannotAttach, match="is not recording"):
            processes.ring_of(process.pid)


def test_a_ring_of_a_newer_version_says_what_to_do(place: Path) -> None:
    with running("pass") as process:
        path = plant(place, process.pid, start_ticks(process.pid))
        with open(path, "r+b") as file:
            file.seek(8)
            file.write((ring.VERSION + 1).to_bytes(4, "little"))
        with pytest.raises(CannotAttach, match="newer greentrace") as caught:
            processes.ring_of(process.pid)
        assert "pip install -U" in caught.value.advice


@pytest.mark.parametrize("name", ["x-1.ring", "1.ring", "-.ring", "1-0.ring", "1-2-3.ring", "99999999999999999999-1.ring"])
def test_files_with_strange_names_are_passed_over(place: Path, name: str) -> None:
    folder = ring.private_directory(place / "run-x")
    (folder / name).write_bytes(b"")
    assert processes.rings() == {}


def test_no_home_yet_means_that_nobody_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENTRACE_HOME", str(tmp_path / "not" / "there"))
    assert processes.rings() == {}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_a_process_of_another_user_is_named_with_its_owner(place: Path) -> None:
    code = (
        "import os; from greentrace import errors, processes; os.setuid(65534)\n"
        f"try:\n    processes.ring_of({os.getpid()})\nexcept errors.CannotAttach as error:\n    print(error.happened, error.advice)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(f"Process {os.getpid()} belongs to another user (uid 0)."), done.stderr
    assert "Run greentrace as that user." in done.stdout
