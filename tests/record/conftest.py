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

    @property
    def said(self) -> tuple[int, str, str]:
        """What whoever started the program sees of it."""
        return self.returncode, self.stdout, self.stderr


Runner = Callable[..., Run]


def usable(core: str) -> str:
    """Return the core, or skip the test; GREENTRACE_CORE in the environment asks for one of them."""
    if core == "native" and not HAS_NATIVE:
        pytest.skip("there is no native recorder here: it was installed without a C compiler")
    if os.environ.get("GREENTRACE_CORE", core) != core:
        pytest.skip("GREENTRACE_CORE asks for the other recorder")
    return core


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    """Each of the two recorders."""
    return usable(request.param)


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Each runtime."""
    name: str = request.param
    return name


def execute(program: str, *arguments: str, env: dict[str, str], directory: Path, **options: Any) -> Run:
    """Run a file of programs/, or Python text."""
    command = [sys.executable, *(["-c", program] if "\n" in program else [str(PROGRAMS / program)]), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **options)
    return Run(done.returncode, done.stdout, done.stderr, directory)


def traced(core: str, directory: Path, ring_bytes: int = MIN_BYTES, depth: int = 32) -> dict[str, str]:
    """Return the environment in which a child records itself into `directory`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {**environment(directory, ring_bytes, depth), "GREENTRACE_CORE": core}


@pytest.fixture
def run(core: str, tmp_path: Path) -> Runner:
    """Run a program under a recorder. Returns a `Run`."""

    def go(program: str, *arguments: str, **options: Any) -> Run:
        directory = tmp_path / f"rings-{len(list(tmp_path.iterdir()))}"
        return execute(program, *arguments, env=traced(core, directory, **options), directory=directory)

    return go


@pytest.fixture
def bare(core: str, tmp_path: Path) -> Runner:
    """Run a program that nobody records; it may record itself, with the core of that name, into the directory `argv[1]`."""

    def go(program: str, *arguments: str, **options: Any) -> Run:
        directory = tmp_path / f"own-{len(list(tmp_path.iterdir()))}"
        directory.mkdir(mode=0o700)
        return execute(program, str(directory), *arguments, env={**os.environ, "GREENTRACE_CORE": core}, directory=directory, **options)

    return go


@pytest.fixture(scope="session")
def record_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Run]:
    """Run a file of programs/ on a core and a runtime, once for all tests that look at it; it must end well."""
    runs: dict[tuple[str, str, str], Run] = {}

    def go(program: str, core: str, runtime: str) -> Run:
        known = (program, core, runtime)
        if known not in runs:
            directory = tmp_path_factory.mktemp("rings") / "run"
            runs[known] = execute(program, runtime, env=traced(core, directory), directory=directory)
        return runs[known].ok

    return go


@pytest.fixture
def recorded(core: str, runtime: str, record_once: Callable[[str, str, str], Run]) -> Callable[[str], Run]:
    """`record_once` on this core and this runtime."""
    return lambda program: record_once(program, core, runtime)
