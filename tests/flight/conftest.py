"""What the tests of the flight recorder share: a program that runs with one, in a process of its own, on each core and runtime."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import greentrace
from greentrace.flight.snapshots import SUFFIX
from greentrace.replay.model import Finding
from greentrace.replay.reader import Trace
from tests.record.conftest import CORES, RUNTIMES, usable

HEAD = """
import os, signal, sys, threading, time
import greentrace
from greentrace.samples.runtime import choose
rt = choose(sys.argv[1])

def wait_for_follower():
    from greentrace.record.session import current
    while not (current().path.parent / "follower").exists():
        rt.sleep(0.05)

def native_sleep(seconds):
    # The system's own: no hub turns, and the GIL is free.
    signal.sigtimedwait([signal.SIGURG], seconds)
"""

DEADLOCK = """
a, b = rt.Lock(), rt.Lock()
def alice():
    a.acquire(); rt.sleep(0.01); b.acquire()
def bob():
    b.acquire(); rt.sleep(0.01); a.acquire()
for each in (alice, bob):
    rt.spawn(each)
"""


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    """Each of the two recorders."""
    return usable(request.param)


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Each runtime."""
    name: str = request.param
    return name


@dataclass
class Flown:
    """A program that has run: how it ended, what it said, and what was saved."""

    returncode: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def saved(self) -> list[Path]:
        """The snapshots, oldest first."""
        return sorted(self.folder.glob(f"**/*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)

    @property
    def triggers(self) -> list[str]:
        """What each was saved for, by its name."""
        return [path.name.removesuffix(SUFFIX).split("-", 4)[-1] for path in self.saved]

    def trace(self, number: int = 0) -> Trace:
        return greentrace.open(self.saved[number])

    def findings(self, lint: str, number: int = 0) -> list[Finding]:
        return [finding for finding in self.trace(number).findings() if finding.lint == lint]

    @property
    def said(self) -> list[str]:
        """The flight recorder's own lines."""
        return [line for line in self.stderr.splitlines() if line.startswith("greentrace: ")]


Fly = Callable[..., Flown]


def variables(core: str, folder: Path, **options: Any) -> dict[str, str]:
    """Return the environment of a program with a flight recorder."""
    told = {"after": 0.2, "snapshots": folder / "snapshots", **options}
    return {
        **os.environ,
        "GREENTRACE": "flight",
        "GREENTRACE_CORE": core,
        "PYTHONWARNINGS": "ignore",
        **{f"GREENTRACE_{name.upper()}": str(value) for name, value in told.items()},
    }


@pytest.fixture
def start(core: str, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a program with a flight recorder, and do not wait for it."""

    def go(program: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        script = tmp_path / "program.py"
        script.write_text(HEAD + textwrap.dedent(program))
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, str(script), *arguments], env=variables(core, tmp_path, **options), cwd=tmp_path, **pipes)

    return go


@pytest.fixture
def fly(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> Fly:
    """Run a program with a flight recorder, to its end and the end of the follower, which holds stderr until then."""

    def go(program: str, *arguments: str, **options: Any) -> Flown:
        process = start(program, *arguments, **options)
        out, err = process.communicate(timeout=60)
        return Flown(process.returncode, out, err, tmp_path)

    return go
