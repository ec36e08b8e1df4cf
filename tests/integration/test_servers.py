"""The real input: servers under load, recorded, with a deadlock between two request handlers while others are served."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greentrace import processes
from tests.attach.hanging import record

HERE = Path(__file__).parent
GREENTRACE = [sys.executable, "-m", "greentrace"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str, seconds: float = 5.0) -> bytes | None:
    """Return the body of a response, None when none came in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
            s.settimeout(seconds)
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while chunk := s.recv(65536):
                data += chunk
            return data.partition(b"\r\n\r\n")[2]
    except TimeoutError:
        return None


def wait_until_it_serves(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        assert server.poll() is None, "the server ended"
        try:
            if get(port, "/") is not None:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


@contextmanager
def load(port: int) -> Iterator[list[int]]:
    """Keep requests coming from another process or, without wrk, from threads; yields a list that then holds how many were answered."""
    answered: list[int] = []
    wrk = shutil.which("wrk")
    if wrk:
        process = subprocess.Popen([wrk, "-t1", "-c8", "-d60", f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True)
        yield answered
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        answered.append(next(int(line.split()[0]) for line in out.splitlines() if "requests in" in line))
        return
    stop = threading.Event()
    counts = [0] * 4

    def ask(i: int) -> None:
        while not stop.is_set():
            counts[i] += get(port, "/") is not None

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(counts))]
    for thread in threads:
        thread.start()
    yield answered
    stop.set()
    for thread in threads:
        thread.join()
    answered.append(sum(counts))


def deadlock_two_handlers(port: int) -> None:
    """Send the two requests until both stay without an answer: then they met in one process."""
    for _ in range(60):
        bodies: dict[str, bytes | None] = {}

        def ask(path: str, bodies: dict[str, bytes | None] = bodies) -> None:
            bodies[path] = get(port, path, seconds=2.5)

        threads = [threading.Thread(target=ask, args=(path,)) for path in ("/transfer", "/audit")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if list(bodies.values()) == [None, None]:
            return
    raise AssertionError("the two requests never met in one process")


def check(target: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GREENTRACE, "check", target, *options], capture_output=True, text=True, timeout=120)


def assert_names_the_handlers(trace: Path) -> dict[str, object]:
    """The first line names both handlers; the document has exactly them in the proven set."""
    done = check(str(trace))
    assert done.returncode == 1, done.stderr
    first = done.stdout.splitlines()[0]
    assert "deadlock" in first
    document = json.loads(check(str(trace), "--json").stdout)
    assert document["verdict"] == "deadlock"
    found = [finding for finding in document["findings"] if finding["lint"] == "deadlock"]
    assert len(found) == 1
    stacks = json.loads(subprocess.run([*GREENTRACE, "dump", str(trace), "--json"], capture_output=True, text=True, timeout=120).stdout)
    ring = {(g["process"], g["id"]) for g in found[0]["greenlets"]}
    functions = set()
    for greenlet in stacks["greenlets"]:
        if (greenlet["process"], greenlet["id"]) in ring:
            functions |= {frame["function"] for frame in greenlet["stack"]}
    assert {"transfer", "audit"} <= functions
    assert "transfer" in first or "bank.py" in first
    return document


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "server.gtrace"


def stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(timeout=40)
    except subprocess.TimeoutExpired:
        server.kill()
        raise


def test_a_deadlock_of_two_handlers_is_named_in_a_gunicorn_with_two_gevent_workers_under_load(trace: Path) -> None:
    port = free_port()
    command = [*GREENTRACE, "record", "-o", str(trace), "-m", "gunicorn", "-k", "gevent", "-w", "2", "--graceful-timeout", "1"]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    command += ["-b", f"127.0.0.1:{port}", "--no-control-socket", "bank:app"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        wait_until_it_serves(port, server)
        with load(port) as answered:
            deadlock_two_handlers(port)
            assert get(port, "/") is not None, "others are served on"
        assert answered[0] > 100
    finally:
        stop(server)
    document = assert_names_the_handlers(trace)
    assert document["gaps"] == 0
    facts = json.loads(subprocess.run([*GREENTRACE, "info", str(trace), "--json"], capture_output=True, text=True, timeout=120).stdout)
    # The master has no hub; each worker has its main greenlet and its hub, and more only if a request fell to it.
    master = next(process for process in facts["processes"] if process["greenlets"] == 1)
    workers = [process for process in facts["processes"] if process["ppid"] == master["pid"] and process["greenlets"] >= 2]
    assert len(workers) == 2, [(p["pid"], p["ppid"], p["events"], p["greenlets"], p["exit"]) for p in facts["processes"]]


def test_a_deadlock_of_two_handlers_is_named_in_an_eventlet_server_under_load(trace: Path) -> None:
    command = [*GREENTRACE, "record", "-o", str(trace), str(HERE / "bank.py"), "eventlet"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        wait_until_it_serves(port, server)
        with load(port) as answered:
            deadlock_two_handlers(port)
            assert get(port, "/") is not None, "others are served on"
        assert answered[0] > 100
    finally:
        stop(server)
    document = assert_names_the_handlers(trace)
    assert document["gaps"] == 0


def test_a_server_that_was_not_recorded_is_entered_with_its_workers_and_left_as_it_was(trace: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "2", "--graceful-timeout", "1", "-b", f"127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    server = subprocess.Popen([*command, "--no-control-socket", "bank:app"], env=environment, stderr=subprocess.PIPE)
    try:
        wait_until_it_serves(port, server)
        deadlock_two_handlers(port)
        workers = processes.descendants(server.pid)
        with load(port) as answered:
            recording = record(server.pid, trace, "--tree")
            assert all(processes.is_recording(pid) for pid in (server.pid, *workers))
            assert get(port, "/") is not None, "others are served on"
            recording.send_signal(signal.SIGINT)
            _, said = recording.communicate(timeout=60)
            assert recording.returncode == 0, said
            assert get(port, "/") is not None, "and afterwards"
        assert answered[0] > 100
        assert not any(processes.is_recording(pid) for pid in (server.pid, *workers))
        assert processes.descendants(server.pid) == workers
    finally:
        stop(server)
    document = assert_names_the_handlers(trace)
    assert document["gaps"] == 0
    facts = json.loads(subprocess.run([*GREENTRACE, "info", str(trace), "--json"], capture_output=True, text=True, timeout=120).stdout)
    assert sorted(process["pid"] for process in facts["processes"]) == sorted([server.pid, *workers])
