"""Viewers: any number of them may look at one ring, slow or killed, and neither the program nor each other is disturbed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from greentrace.errors import BadRing
from greentrace.record.launch import environment
from greentrace.ring import MIN_BYTES, RECORD_BYTES, SUFFIX, Follower
from greentrace.trace import EVENT_DTYPE

LOAD = """
import os, sys, time
from greentrace import hub
def turn():
    for _ in range(30_000):
        hub.sleep(0)
for thread in [hub.spawn(turn) for _ in range(4)]:
    thread.wait()
print(len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))
"""
VIEWER = """
import sys
from greentrace.ring import Follower
ring = Follower(sys.argv[1])
print("there", flush=True)
while True:
    ring.read()
"""


def follower(directory: Path) -> Follower:
    while True:
        for path in directory.glob(f"*{SUFFIX}"):
            try:
                return Follower(path)
            except BadRing:
                break
        time.sleep(0.001)


class Viewer:
    """Reads, and keeps the times and what it lost."""

    def __init__(self, ring: Follower) -> None:
        self.ring, self.read, self.lost, self.last_ns = ring, 0, ring.skipped, 0

    def look(self, most: int) -> bool:
        chunk = self.ring.read(most)
        self.lost += chunk.lost
        records = np.frombuffer(chunk.records, EVENT_DTYPE)
        if not len(records):
            return False
        # Whole, and in order: a torn record would tell another time or a kind that there is not.
        times = records["t_ns"].astype(np.int64)
        assert times[0] >= self.last_ns
        assert np.all(np.diff(times) >= 0)
        assert np.all((records["kind"] > 0) & (records["kind"] <= 64))
        self.last_ns = int(times[-1])
        self.read += len(chunk.records) // RECORD_BYTES
        return True


def test_quick_slow_and_killed_viewers_see_the_same_or_know_what_they_missed(core: str, tmp_path: Path) -> None:
    env = {**environment(tmp_path, MIN_BYTES), "GREENTRACE_CORE": core}
    program = subprocess.Popen([sys.executable, "-c", LOAD], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = follower(tmp_path)
    path = str(first.path)
    killed = subprocess.Popen([sys.executable, "-c", VIEWER, path], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    killed.stdout.readline()
    quick, slow, late = Viewer(first), Viewer(Follower(first.path)), Viewer(Follower(first.path))
    rounds = 0
    while program.poll() is None:
        quick.look(1 << 16)
        rounds += 1
        if rounds == 10:
            slow.look(100)
        if rounds == 20:
            killed.kill()
    killed.wait()
    for viewer in (quick, slow, late):
        while viewer.look(1 << 16):
            continue
    out, err = program.communicate(timeout=60)
    assert (program.returncode, err) == (0, "")
    # Nothing of a viewer is to be seen in the program.
    assert out.split()[1] == "1"
    total = first.position
    assert total > first.layout.records
    for viewer in (quick, slow, late):
        assert viewer.read + viewer.lost == total
    assert late.lost > 0
    assert slow.lost > 0
