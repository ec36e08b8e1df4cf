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
        found = processes.find_ring(process.pid)
        assert found is not None
        assert row.ring == found.path == processes.rings()[process.pid]
        assert found.recording
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
        found = processes.find_ring(process.pid)
        assert found is not None
        assert not found.recording


@pytest.mark.parametrize(("code", "attachable"), [("pass", False), ("import greenlet", True)])
def test_a_python_program_that_does_not_record_can_be_attached_to_if_it_has_greenlets(place: Path, code: str, attachable: bool) -> None:
    with running(code) as process:
        (row,) = [row for row in processes.rows() if row.pid == process.pid]
        assert (row.ring, row.attachable) == (None, attachable)
        assert processes.find_ring(process.pid) is None


def test_what_is_no_python_is_not_listed(place: Path) -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        assert process.pid not in {row.pid for row in processes.rows()}
        assert processes.find_ring(process.pid) is None
    finally:
        process.communicate(timeout=30)


def test_a_process_that_is_dead_is_told_so_although_its_ring_is_still_there(place: Path) -> None:
    with running("pass") as process:
        path = plant(place, process.pid, start_ticks(process.pid))
        assert processes.rings() == {process.pid: path}
    assert processes.rings() == {}
    assert processes.find_ring(process.pid) is None
    assert path.exists(), "what it recorded can still be read"


def test_a_number_that_another_process_had_before_does_not_give_away_the_ring_of_that_one(place: Path) -> None:
    with running("pass") as process:
        plant(place, process.pid, start_ticks(process.pid) - 1)
        assert process.pid not in processes.rings()
        assert processes.find_ring(process.pid) is None


def test_a_ring_of_a_newer_version_says_what_to_do(place: Path) -> None:
    with running("pass") as process:
        path = plant(place, process.pid, start_ticks(process.pid))
        with open(path, "r+b") as file:
            file.seek(8)
            file.write((ring.VERSION + 1).to_bytes(4, "little"))
        with pytest.raises(CannotAttach, match="newer greentrace") as caught:
            processes.find_ring(process.pid)
        assert "pip install -U" in caught.value.advice


@pytest.mark.parametrize("name", ["x-1.ring", "1.ring", "-.ring", "1-0.ring", "1-2-3.ring", "99999999999999999999-1.ring"])
def test_files_with_strange_names_are_passed_over(place: Path, name: str) -> None:
    folder = ring.private_directory(place / "run-x")
    (folder / name).write_bytes(b"")
    assert processes.rings() == {}


def test_no_home_yet_means_that_nobody_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENTRACE_HOME", str(tmp_path / "not" / "there"))
    assert processes.rings() == {}
