"""Hub: what the built-in hub costs beside eventlet and gevent, as ratios of interleaved runs.

    python -m tests.bench.hub [REPEATS] [WORD ...]      only rows whose name has one of the words

Each repeat runs a row on the three runtimes in turn, each in a fresh process (`loads`). The table shows the median of the
hub's cost, and how it compares: the others' cost divided by the hub's, so that 2.0 is twice as good as they, with the spread of
the repeats. The last column says whether the aim is met: better than eventlet, at least half as good as gevent, memory no
more than gevent's and a fifth, idle under one per cent. No row is a bar that a test enforces.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from tests.bench.loads import ROWS

RUNTIMES = ("hub", "eventlet", "gevent")


def measure(runtime: str, row: str) -> float:
    """Run one load on one runtime in a process of its own; return the number that it prints."""
    command = [sys.executable, "-m", "tests.bench.loads", runtime, row]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        sys.exit(f"{runtime} failed at {row!r}. The rows before stand. It said:\n{done.stderr}")
    return float(done.stdout.strip().splitlines()[-1])


def is_met(unit: str, hub: float, eventlet: float, gevent: float) -> bool:
    """Whether a row meets its aim: the hub's number and the two ratios."""
    if unit == "% CPU":
        return hub < 1
    if unit == "bytes":
        return gevent >= 1 / 1.2
    return eventlet > 1 and gevent >= 0.5


def main(repeats: int, words: list[str]) -> None:
    print(f"Python {sys.version.split()[0]}, median of {repeats} interleaved repeats; 2.0 is twice as good as the other runtime")
    print(f"{'':34} {'hub':>9} {'':5}  {'eventlet':>8} {'':>11}  {'gevent':>8} {'':>11}  aim")
    for row, (unit, _) in ROWS.items():
        if words and not any(word in row for word in words):
            continue
        runs = [[measure(runtime, row) for runtime in RUNTIMES] for _ in range(repeats)]
        hub = statistics.median(run[0] for run in runs)
        cells, medians = [], []
        for column in (1, 2):
            ratios = [run[column] / max(run[0], 1e-9) for run in runs]
            medians.append(statistics.median(ratios))
            cells.append(f"{medians[-1]:8.2f} {f'{min(ratios):.2f}-{max(ratios):.2f}':>11}")
        aim = "met" if is_met(unit, hub, *medians) else "missed"
        print(f"{row:34} {hub:9.2f} {unit:5}  {cells[0]}  {cells[1]}  {aim}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:])
