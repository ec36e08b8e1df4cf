"""Services: a real Redis and a real PostgreSQL for one test session, each on a socket of its own and gone afterwards.

A service that is not installed skips the test with the reason.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(answers: list[str], process: subprocess.Popen[bytes]) -> None:
    """Wait until the command that asks the service succeeds."""
    for _ in range(600):
        assert process.poll() is None, "the service ended"
        if subprocess.run(answers, capture_output=True, timeout=30).returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError(f"no answer to {answers}")


@contextmanager
def redis_port(directory: Path) -> Iterator[int]:
    """Run a Redis without a disk; yields its port."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        _until(["redis-cli", "-p", str(port), "ping"], process)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def _postgres_program(name: str) -> str | None:
    """Debian keeps the server's programs off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@contextmanager
def postgres_dsn() -> Iterator[str]:
    """Run a PostgreSQL on a unix socket in a directory of its own; yields the DSN. Root gives it to the user `postgres`."""
    initdb, server = _postgres_program("initdb"), _postgres_program("postgres")
    if initdb is None or server is None:
        pytest.skip("PostgreSQL's initdb and postgres are not installed")
    as_user: list[str] = []
    # Not under pytest's own directory, which other users may not enter.
    place = tempfile.mkdtemp(prefix="pg-")
    if os.getuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None or subprocess.run(["id", "postgres"], capture_output=True).returncode:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it as")
        shutil.chown(place, "postgres")
        as_user = [setpriv, "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    process: subprocess.Popen[bytes] | None = None
    try:
        data = os.path.join(place, "data")
        made = subprocess.run(
            [*as_user, initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], capture_output=True, text=True, timeout=120
        )
        assert made.returncode == 0, made.stderr
        options = ["-D", data, "-k", place, "-c", "listen_addresses=", "-c", "fsync=off"]
        process = subprocess.Popen([*as_user, server, *options], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=place)
        _until([_postgres_program("pg_isready") or "pg_isready", "-h", place], process)
        yield f"host={place} user=postgres dbname=postgres"
    finally:
        if process is not None:
            # SIGINT: end the sessions and stop, rather than wait for them.
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        shutil.rmtree(place, ignore_errors=True)
