"""Memory: a recorded program grows by nothing as greenlets come and go, and what it drops is gone when it would be without us."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import PROGRAMS, Run, Runner, execute, traced

MAY_GROW_BYTES = 1_000_000
SOAK = 5_000_000


def grown(core: str, runtime: str, directory: Path, count: int, warm_up: int) -> int:
    """Return by how many bytes a recorded server grew while `count` greenlets came and went."""
    command = [sys.executable, str(PROGRAMS / "many.py"), runtime, str(warm_up), str(count)]
    done = subprocess.run(command, env=traced(core, directory), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)


def test_a_server_does_not_grow_as_greenlets_come_and_go(core: str, runtime: str, tmp_path: Path) -> None:
    count = 200_000 if core == "native" else 20_000
    assert grown(core, runtime, tmp_path / "rings", count, count // 10) < MAY_GROW_BYTES


@pytest.mark.soak
def test_a_server_does_not_grow_over_millions_of_greenlets(core: str, runtime: str, tmp_path: Path) -> None:
    count = SOAK if core == "native" else SOAK // 10
    growth = grown(core, runtime, tmp_path / "rings", count, 100_000)
    print(f"{runtime}, {core} core: {count:,} greenlets, {growth:,} bytes more")
    assert growth < MAY_GROW_BYTES


def test_what_a_program_drops_is_gone_at_once(core: str, runtime: str, tmp_path: Path, recorded: Callable[[str], Run]) -> None:
    bare = execute("remains.py", runtime, env=dict(os.environ), directory=tmp_path).ok
    assert recorded("remains.py").stdout == bare.stdout
    assert bare.stdout.endswith("left 0\n")
    assert "False" not in "".join(line for line in bare.stdout.splitlines() if "killed" not in line and "event" not in line)


def test_what_a_recorder_knew_is_forgotten_with_what_lived(run: Runner, runtime: str) -> None:
    text = """
import sys
sys.path.insert(0, sys.argv[2])
import gc, face
from greentrace.record import recorder
def each(lock, event):
    with lock:
        face.sleep(0)
    face.fire(event)
def some():
    for _ in range(50):
        event = face.Event()
        g = face.spawn(each, face.Lock(), event)
        event.wait()
        face.join(g)
        limit = face.Timeout(60)
        limit.cancel()
        face.sleep(0)
some()
g = None
gc.collect()
core = recorder.load()[1]
before = core.counts()
some()
some()
gc.collect()
after = core.counts()
print(before if {k: v for k, v in before.items() if k != "events"} != {k: v for k, v in after.items() if k != "events"} else "", after)
"""
    done = run(text, runtime, str(PROGRAMS)).ok
    assert done.stdout.startswith(" "), done.stdout
