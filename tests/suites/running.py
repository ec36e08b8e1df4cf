"""Running: one module of a runtime's own test suite, bare or recorded, in a child process with a time limit.

In:  the name of a suite and of a module of it. Out: the outcome of each test, {id: outcome}, and of the module as a whole.
The suites are the runtimes' own: gevent's is in its wheel, eventlet's in the source distribution of the installed version.
Never: an import of a runtime here, or a test of ours in between: the child is the same program both times.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

MODULE = "module"
"""The id under which the outcome of the module as a whole stands among those of its tests."""

_SECONDS = 200
_UNITTEST_HEAD = re.compile(r"^(\w+) \(([\w.<>]+)\)", re.M)
_UNITTEST_END = re.compile(r"(?:^|\.\.\. |\s)(ok|FAIL|ERROR|skipped ['\"].*|expected failure|unexpected success)$", re.M)
_UNITTEST_REPORT = re.compile(r"^(FAIL|ERROR): (\w+) \(([\w.<>]+)\)", re.M)
_PYTEST = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", re.M)
_OURS = re.compile(r"^greentrace: .*", re.M)


class NoSuite(Exception):
    """The suite cannot be had here; the text says why."""


@dataclass
class Result:
    """How the tests of a module ended, and what the child wrote."""

    outcomes: dict[str, str] = field(default_factory=dict)
    text: str = ""


@dataclass
class Suite:
    """A runtime's test suite: its modules and where their child processes start."""

    name: str
    directory: Path
    modules: list[str]

    def command(self, module: str) -> list[str]:
        """Return what comes after `python`."""
        if self.name == "gevent":
            return ["-m", f"gevent.tests.{module}", "-v"]
        if module.startswith("isolated/"):
            return [f"tests/{module}.py"]
        options = ["-v", "--tb=short", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:syrupy", "-p", "no:hypothesispytest"]
        return ["-m", "pytest", *options, f"tests/{module}.py"]


def gevent_suite() -> Suite:
    spec = importlib.util.find_spec("gevent.tests") if importlib.util.find_spec("gevent") else None
    if spec is None or spec.origin is None:
        raise NoSuite("gevent is not installed, or without its tests")
    where = Path(spec.origin).parent
    return Suite("gevent", where, sorted(path.stem for path in where.glob("test_*.py")))


def eventlet_suite(directory: Path) -> Suite:
    """Unpack the tests of the installed eventlet under `directory`; its package stays outside, for the installed one is tested."""
    try:
        version = importlib.metadata.version("eventlet")
    except importlib.metadata.PackageNotFoundError:
        raise NoSuite("eventlet is not installed") from None
    where = directory / f"eventlet-{version}"
    if not where.exists():
        with tempfile.TemporaryDirectory(dir=directory) as downloads:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "eventlet", f"eventlet=={version}"]
            try:
                done = subprocess.run([*command, "-d", downloads], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
            except subprocess.TimeoutExpired:
                raise NoSuite("eventlet's source distribution did not come in two minutes") from None
            archives = list(Path(downloads).glob("*.tar.gz"))
            if done.returncode or not archives:
                raise NoSuite(f"eventlet's source distribution cannot be had: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
            unpacked = Path(downloads) / "unpacked"
            with tarfile.open(archives[0]) as archive:
                archive.extractall(unpacked, filter="data")
            (tests,) = unpacked.glob("*/tests")
            where.mkdir()
            shutil.move(tests, where / "tests")
    tests = where / "tests"
    modules = [path.stem for path in tests.glob("*.py") if path.stem.endswith("_test") or path.stem.startswith("test_")]
    isolated = [f"isolated/{path.stem}" for path in (tests / "isolated").glob("*.py") if path.stem != "__init__"]
    return Suite("eventlet", where, sorted(modules) + sorted(isolated))


def suite_of(name: str, directory: Path) -> Suite:
    """Return the suite of that name. Raises `NoSuite`."""
    return gevent_suite() if name == "gevent" else eventlet_suite(directory)


def unittest_outcomes(text: str) -> dict[str, str]:
    """Return {Class.test: outcome} out of what `unittest -v` wrote, with whatever the tests wrote in between."""
    outcomes: dict[str, str] = {}
    verbose, _, report = text.partition("\n======")
    heads = list(_UNITTEST_HEAD.finditer(verbose))
    for i, head in enumerate(heads):
        until = heads[i + 1].start() if i + 1 < len(heads) else len(verbose)
        end = _UNITTEST_END.search(verbose, head.end(), until)
        outcomes[_short(head[2], head[1])] = (end[1].split(" '")[0].split(' "')[0]) if end else "no outcome"
    for found in _UNITTEST_REPORT.finditer(report):
        outcomes[_short(found[3], found[2])] = found[1]
    return outcomes


def _short(where: str, test: str) -> str:
    parts = [part for part in where.split(".") if part != test]
    return ".".join([*parts[-1:], test])


def pytest_outcomes(text: str) -> dict[str, str]:
    """Return {node id: outcome} out of what `pytest -v` wrote."""
    return {found[1].partition("::")[2]: found[2] for found in _PYTEST.finditer(text)}


def run(suite: Suite, module: str, core: str | None) -> Result:
    """Run a module, bare when `core` is None, else recorded by that core."""
    with tempfile.TemporaryDirectory(prefix="suite-") as scratch:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "GREENTRACE_HOME": scratch, "PYTHONFAULTHANDLER": "1"}
        environment.pop("GREENTRACE_CORE", None)
        # The command line of the recorder is as much under test as the recorder.
        command = [sys.executable]
        if core is not None:
            environment["GREENTRACE_CORE"] = core
            command += ["-m", "greentrace", "record", "-q", "-o", os.path.join(scratch, "suite.gtrace")]
        command += suite.command(module)
        child = subprocess.Popen(
            command,
            cwd=suite.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = child.communicate(timeout=_SECONDS)
            ended = "ok" if child.returncode == 0 else f"exit code {child.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            try:
                output, _ = child.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                # Something that left the session holds the pipe.
                output = b""
                child.wait()
            ended = "time limit"
    text = output.decode(errors="replace")
    whole = suite.name == "gevent" or module.startswith("isolated/")
    outcomes = unittest_outcomes(text) if whole else pytest_outcomes(text)
    if module.startswith("isolated/"):
        ended += f": {(text.strip().splitlines() or [''])[-1]}"
    said = _OURS.search(text)
    if said:
        # Nothing of ours may stand among what the program wrote.
        ended += f": {said[0]}"
    outcomes[MODULE] = ended
    return Result(outcomes, text)
