"""Soak: after a while of chaos nothing is lost and nothing is left, by the hub's own count and by the tracer's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import greentrace
from greentrace.events import State

ENDED = (State.FINISHED, State.COLLECTED)
INJECTED = "kills", "closed under somebody", "raised in the hub", "signals", "EMFILE", "ECONNRESET", "Timeout", "Injected", "GreenletExit"


def run(folder: Path, seconds: float, seed: int, polling: str) -> tuple[dict[str, Any], str, Path]:
    """Let chaos reign; return what it did, what it said on stderr, and its trace."""
    trace = folder / "chaos.gtrace"
    command = [sys.executable, "-m", "tests.hub.chaos", str(seconds), str(seed), str(trace)]
    environment = {**os.environ, "GREENTRACE_HUB": polling}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, env=environment, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), done.stderr, trace


def check(report: dict[str, Any], stderr: str, path: Path, polling: str) -> None:
    did, left = report["did"], report["left"]
    assert not any(left.values()), left
    assert [fault for fault in INJECTED if not did.get(fault)] == [], "the run was too short to inject everything"
    # Each exception of a callback is printed once, and nothing else is.
    tracebacks = stderr.count("Traceback (most recent call last)")
    if polling == "poll":
        # It takes no more fds than may be open: it refuses while all are taken, which is said once.
        tracebacks -= stderr.count("OSError: [Errno 22] Invalid argument")
        assert stderr.count("OSError: ") <= 1
    assert tracebacks == stderr.count("Injected: in the hub") == did["raised in the hub"]
    with greentrace.open(path) as trace:
        world = trace.at(trace.end_ns)
        alive = [g.label for g in world.greenlets.values() if g.state not in ENDED and not g.is_hub and not g.is_main]
        working = [greenlet for greenlet in trace.greenlets if not greenlet.is_hub and not greenlet.is_main]
        assert alive == []
        assert [greenlet.label for greenlet in working if greenlet.died_ns is None] == []
        assert len(working) >= did["spawned"]
        assert (world.timers, world.listeners) == ((), ())
        assert [resource.label for resource in world.resources.values() if resource.holders or resource.waiters] == []
        assert trace.deadlocks() == []


@pytest.mark.parametrize("polling", ["epoll", "poll", "select"])
def test_a_few_seconds_of_chaos_leave_nothing_behind(tmp_path: Path, polling: str) -> None:
    check(*run(tmp_path, 1.5, 1, polling), polling)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 5))
def test_a_minute_of_chaos_leaves_nothing_behind(tmp_path: Path, seed: int) -> None:
    check(*run(tmp_path, 60.0, seed, "epoll"), "epoll")
