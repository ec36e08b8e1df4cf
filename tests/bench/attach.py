"""Attach: how long it takes into a running program, and what the program loses by it.

    python -m tests.bench.attach [-n ROUNDS] [PYTHON ...]

In each Python (paths of interpreters with gevent; this one without), a program of gevent with so many greenlets, each parked on a lock
that another one holds in a `with` block; its loop is idle but for a tick each millisecond, or busy. The program itself measures
the longest pause of its loop. Every program is entered for the first time. The columns, medians of the rounds (the pauses: their
maximum too):

    first line   from the request until a first line of ours has run inside
    held         how long its thread was stopped from outside, over all stops of one visit
    event        from the request until a first event stands in the ring
    verdict      from the request until the first verdict, within one process
    check        the same as `greentrace check PID` from the command line, from its start to its end
    look         how long the look at what lives takes, with everything that begins recording
    pause        the longest time that its loop did not turn, during a visit
    bare         the same without a visit, for as long
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from greentrace.attach import visit
from greentrace.attach.entry import run_inside
from greentrace.replay import reader

PROGRAM = """
import gc, os, sys, time
import gevent
from gevent.lock import BoundedSemaphore
count, busy = int(sys.argv[1]), sys.argv[2] == "busy"
locks = [BoundedSemaphore(1) for _ in range(count)]
def hold(number):
    # In pairs: each second one waits for a lock of the first, which waits until somebody comes.
    with locks[number]:
        if number % 2:
            with locks[number - 1]: pass
        else:
            gevent.sleep(3600)
for number in range(count): gevent.spawn(hold, number)
worst = 0.0
def tick():
    global worst
    last = time.perf_counter()
    while True:
        gevent.sleep(0 if busy else 0.001)
        now = time.perf_counter()
        worst = max(worst, now - last)
        last = now
gevent.sleep(0.5)
gevent.spawn(tick)
while not worst:
    gevent.sleep(0.01)
os.write(1, b"%d\\n" % len(gc.get_objects()))
while True:
    if busy:
        sum(range(500))
    gevent.sleep(0 if busy else 1)
"""
_WORST = "import sys\nm = sys.modules['__main__']\nanswer, m.worst = m.worst, 0.0"
_COLUMNS = ("first line", "held", "event", "verdict", "check", "look", "pause", "most", "bare")


class Target:
    """A program that is to be entered."""

    def __init__(self, python: str, greenlets: int, load: str) -> None:
        self.process = subprocess.Popen([python, "-c", PROGRAM, str(greenlets), load], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.objects = int(self.process.stdout.readline())
        self.pid = self.process.pid

    def pause(self) -> float:
        """Return the longest pause of its loop since the last time one asked, in seconds."""
        return float(run_inside(self.pid, _WORST).answer)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def one_round(python: str, greenlets: int, load: str) -> dict[str, float]:
    """Return, in ms, what the first visit takes, and how many objects live there."""
    target = Target(python, greenlets, load)
    try:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "greentrace", "check", str(target.pid)], stdout=subprocess.DEVNULL, check=False)
        check = (time.perf_counter() - began) * 1e3
    finally:
        target.end()
    target = Target(python, greenlets, load)
    try:
        return {**one_visit(target), "check": check, "objects": target.objects}
    finally:
        target.end()


def one_visit(target: Target) -> dict[str, float]:
    found: dict[str, float] = {}
    target.pause()
    time.sleep(0.3)
    found["bare"] = target.pause() * 1e3
    began = time.perf_counter()
    entered = run_inside(target.pid, "answer = 1")
    found["first line"] = entered.injection.ran_ns / 1e6
    target.pause()
    began = time.perf_counter()
    visited = visit.enter(target.pid)
    with reader.open(visited.ring) as trace:
        assert trace.event_count
        found["event"] = (time.perf_counter() - began) * 1e3
        found["look"] = visited.held_ns / 1e6
        trace.findings()
        found["verdict"] = (time.perf_counter() - began) * 1e3
    visited.leave()
    found["held"] = sum(injection.held_ns for injection in visited.injections) / 1e6
    found["pause"] = target.pause() * 1e3
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pythons", nargs="*", default=[sys.executable])
    parser.add_argument("-n", type=int, default=7)
    arguments = parser.parse_args()
    print(f"medians of {arguments.n} rounds, in ms\n{'Python':8} {'loop':5} {'greenlets':>9} {'objects':>9}  ", end="")
    print("".join(f"{name:>11}" for name in _COLUMNS))
    for python in arguments.pythons:
        version = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:3], sep='.')"], capture_output=True, text=True).stdout
        for load in ("idle", "busy"):
            for greenlets in (100, 1_000, 100_000):
                count = arguments.n if greenlets < 10_000 else max(3, arguments.n // 2)
                rounds = [one_round(python, greenlets, load) for _ in range(count)]
                row = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
                row["most"] = max(one["pause"] for one in rounds)
                print(f"{version.strip():8} {load:5} {greenlets:>9,} {int(row['objects']):>9,}  ", end="")
                print("".join(f"{row[name]:11.2f}" for name in _COLUMNS), flush=True)


if __name__ == "__main__":
    main()
