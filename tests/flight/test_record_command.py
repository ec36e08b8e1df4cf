"""`greentrace record --flight`: the same for a program that is started by us, and how it ended is known then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GREENTRACE

from .conftest import DEADLOCK, HEAD, Flown

ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "ignore", "GREENTRACE_AFTER": "0.2"}


def run(folder: Path, program: str, *options: str, core: str = "native", stdin: str = "") -> Flown:
    (folder / "program.py").write_text(HEAD + program)
    command = [*GREENTRACE, "record", "--flight", "--snapshots", str(folder / "snapshots"), *options, str(folder / "program.py"), "gevent"]
    home = folder / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    environment = {**ENVIRONMENT, "GREENTRACE_CORE": core, "GREENTRACE_HOME": str(home)}
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, text=True, timeout=60)
    return Flown(done.returncode, done.stdout, done.stderr, folder)


def test_the_program_keeps_its_own_and_the_deadlock_is_saved(core: str, tmp_path: Path) -> None:
    done = run(tmp_path, DEADLOCK + "print(input())\nrt.sleep(1.5)\nsys.exit(3)", core=core, stdin="hello\n")
    assert (done.returncode, done.stdout, done.triggers) == (3, "hello\n", ["deadlock"])
    assert done.findings("deadlock")
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize(("how", "code"), [("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL), ("os.abort()", -signal.SIGABRT)])
def test_a_death_names_the_signal(tmp_path: Path, how: str, code: int) -> None:
    done = run(tmp_path, f"rt.sleep(0.01)\n{how}")
    assert (done.returncode, done.triggers) == (code, ["death"])
    assert f"death (killed by {signal.Signals(-code).name})" in done.said[0]
    assert done.trace().source.feeds[0].exit == {"pid": done.trace().source.feeds[0].pid, "signal": -code}


def test_only_what_was_asked_for_is_saved(tmp_path: Path) -> None:
    done = run(tmp_path, "rt.sleep(0.01)\nraise KeyError", "--trigger", "exit", "--trigger", "hog")
    assert (done.returncode, done.triggers) == (1, ["exit"])


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "", "--trigger", "nonsense")
    assert done.returncode == 2
    assert "triggers=nonsense means nothing" in done.stderr
    command = [*GREENTRACE, "record", "--flight", "-o", "x.gtrace", "program.py"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "--snapshots" in refused.stderr


def test_from_inside_the_program_with_options_of_its_own(core: str, tmp_path: Path) -> None:
    code = """
import os, sys
import greentrace
from greentrace.record.flight import Options
before = set(os.listdir("/proc/self/fd"))
greentrace.start(flight=Options(snapshots="here", after=0.1, triggers=("snapshot",)))
import gevent
greentrace.snapshot()
gevent.spawn(gevent.sleep, 0.01).join()
greentrace.stop()
print(len(os.listdir("here")))
greentrace.snapshot()
greentrace.start(flight=True)
greentrace.stop()
"""
    environment = {**ENVIRONMENT, "GREENTRACE_CORE": core}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr.startswith("greentrace: snapshot in process")
    assert done.stderr.count("\n") == 1
