"""What the tests of the recorder share: programs that run in processes of their own, on each core and each runtime."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from greentrace.record.launch import environment
from greentrace.ring import MIN_BYTES

from .reading import Ring, rings

PROGRAMS = Path(__file__).parent / "programs"
CORES = ["native", "python"]
RUNTIMES = ["hub", "eventlet", "gevent"]
HAS_NATIVE = importlib.util.find_spec("greentrace.record._native") is not None


@dataclass
class Run:
    """A program that has run: how it ended, what it said, and its rings."""

    returncode: int
    stdout: str
    stderr: str
    directory: Path

    @cached_property
    def rings(self) -> list[Ring]:
        return rings(self.directory)

    @property
    def ring(self) -> Ring:
        """The ring of the program itself."""
        return self.rings[0]

    @property
    def ok(self) -> Run:
        """The same, if the program ended well and without a word on stderr."""
        assert (self.returncode, self.stderr) == (0, "")
        return self


Runner = Callable[..., Run]


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    """Each of the two recorders; GREENTRACE_CORE in the environment asks for one of them."""
    name: str = request.param
    if name == "native" and not HAS_NATIVE:
        pytest.skip("there is no native recorder here: it was installed without a C compiler")
    if os.environ.get("GREENTRACE_CORE", name) != name:
        pytest.skip("GREENTRACE_CORE asks for the other recorder")
    return name


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Each runtime."""
    name: str = request.param
    return name


def traced(core: str, directory: Path, ring_bytes: int = 4 * MIN_BYTES, depth: int = 32) -> dict[str, str]:
    """Return the environment in which a child records itself into `directory`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {**environment(directory, ring_bytes, depth), "GREENTRACE_CORE": core}


@pytest.fixture(scope="session")
def _runs() -> dict[tuple[Any, ...], Run]:
    return {}


@pytest.fixture
def run(core: str, tmp_path: Path) -> Runner:
    """Run a program under a recorder: a file of programs/, or Python text. Returns a `Run`."""

    def go(program: str, *arguments: str, **options: Any) -> Run:
        directory = tmp_path / f"rings-{len(list(tmp_path.iterdir()))}"
        command = [sys.executable, *(["-c", program] if "\n" in program else [str(PROGRAMS / program)]), *arguments]
        done = subprocess.run(
            command, env=traced(core, directory, **options), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        return Run(done.returncode, done.stdout, done.stderr, directory)

    return go


@pytest.fixture
def recorded(
    core: str, runtime: str, _runs: dict[tuple[Any, ...], Run], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Run]:
    """Run a file of programs/ on a runtime under a recorder, once for all tests that look at it; it must end well."""

    def go(program: str) -> Run:
        known = (program, core, runtime)
        if known not in _runs:
            directory = tmp_path_factory.mktemp("rings") / "run"
            command = [sys.executable, str(PROGRAMS / program), runtime]
            done = subprocess.run(
                command, env=traced(core, directory), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
            )
            _runs[known] = Run(done.returncode, done.stdout, done.stderr, directory)
        return _runs[known].ok

    return go
