"""What all tests share: the check that the package is installed, a private home for rings, and recorded traces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

try:
    import greentrace.samples
    import greentrace.tui
except ImportError:
    raise SystemExit("greentrace is not installed here. Nothing was run. Install it for development: pip install -e '.[test]'") from None

# Where a shell runs the tests in the background, Ctrl-C is ignored by them and by every program that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SAMPLES = Path(next(iter(greentrace.samples.__path__)))
GREENTRACE = [sys.executable, "-m", "greentrace"]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rings of tests stay among themselves."""
    path = tmp_path_factory.mktemp("home")
    path.chmod(0o700)
    os.environ["GREENTRACE_HOME"] = str(path)
    return path


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Record a program with the real recorder; returns the trace. The same arguments are recorded once a session."""
    known: dict[tuple[str, ...], Path] = {}

    def run(*arguments: str) -> Path:
        if arguments not in known:
            out = tmp_path_factory.mktemp("traces") / "recorded.gtrace"
            command = [*GREENTRACE, "record", "-q", "-o", str(out), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
            assert out.exists(), done.stderr
            known[arguments] = out
        return known[arguments]

    return run


@pytest.fixture(scope="session")
def deadlock(record: Callable[..., Path]) -> Path:
    """The trace of two greenlets, alice and bob, that deadlock on gevent."""
    return record(str(SAMPLES / "deadlock_two_locks.py"), "gevent")
