"""Pytest plugin: a test that hangs fails with the verdict in its report, and the others run as ever."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import DEADLOCK, HEAD

HANGS = f"""
{HEAD.replace("sys.argv[1]", "os.environ['RUNTIME']")}
def test_before():
    rt.wait(rt.spawn(rt.sleep, 0.01))

def test_hangs():
{"".join("    " + line + chr(10) for line in DEADLOCK.splitlines())}
    rt.Event().wait()

def test_after():
    rt.wait(rt.spawn(rt.sleep, 0.01))
"""


def run(folder: Path, code: str, *options: str, runtime: str = "gevent") -> tuple[int, str]:
    (folder / "test_it.py").write_text(code)
    environment = {**os.environ, "RUNTIME": runtime, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "asyncio_mode=auto", *options, "."]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def test_our_own_timeout_fails_the_test_and_says_who_waits_for_whom(tmp_path: Path, runtime: str) -> None:
    # gevent would end one by itself that has nothing to wait for.
    hangs = HANGS if runtime != "gevent" else HANGS.replace("rt.Event().wait()", "rt.sleep(60)")
    code, said = run(tmp_path, hangs, "--greentrace-timeout=3", runtime=runtime)
    assert code == 1
    assert "1 failed, 2 passed" in said
    assert "Timeout: longer than 3 s (--greentrace-timeout)" in said
    assert "alice and bob wait for each other" in said.replace("DEADLOCK.", "").replace("test_hangs.<locals>.", "")
    assert [path.name for path in (tmp_path / "greentrace-snapshots").iterdir()] == ["test_it.py-test_hangs.flight.gtrace"]


def test_one_that_computes_for_ever_is_ended_too_and_the_report_shows_where_everybody_is(tmp_path: Path) -> None:
    code, said = run(
        tmp_path, HANGS.replace("rt.Event().wait()", "while True: pass").replace("rt.spawn(each)", "each"), "--greentrace-timeout=2"
    )
    assert code == 1
    assert "1 failed, 2 passed" in said
    assert "greenlets alive" in said


def test_a_test_that_loop_exit_ends_has_a_snapshot(tmp_path: Path) -> None:
    code, said = run(tmp_path, HANGS, "--greentrace-flight", "--greentrace-snapshots=here")
    assert (code, "1 failed, 2 passed" in said) == (1, True)
    assert "LoopExit" in said
    assert "alice and bob wait for each other" in said.replace("test_hangs.<locals>.", "")
    assert (tmp_path / "here" / "test_it.py-test_hangs.flight.gtrace").exists()


@pytest.mark.skipif(importlib.util.find_spec("pytest_timeout") is None, reason="pytest-timeout is not installed")
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_pytest_timeout_has_a_snapshot_before_it_strikes(tmp_path: Path, method: str) -> None:
    code, said = run(
        tmp_path, HANGS.replace("rt.Event().wait()", "rt.sleep(60)"), "--greentrace-flight", "--timeout=3", f"--timeout-method={method}"
    )
    assert code == 1
    assert "alice and bob wait for each other" in said.replace("test_hangs.<locals>.", "")
    assert (tmp_path / "greentrace-snapshots" / "test_it.py-test_hangs.flight.gtrace").exists()


def test_without_an_option_nothing_is_recorded(tmp_path: Path) -> None:
    check = "import sys\ndef test_it():\n    assert not [name for name in sys.modules if name.startswith('greentrace.rec')]\n"
    code, said = run(tmp_path, check)
    assert code == 0, said
    assert not (tmp_path / "greentrace-snapshots").exists()
