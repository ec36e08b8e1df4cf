"""Overhead: what recording costs, as ratios of interleaved runs.

    python -m tests.bench.overhead [ROUNDS] [REPEATS]

20 socketpair ping-pongs on gevent, eventlet and the built-in hub: bare, recorded with the native core, recorded with the
Python twin, and under VizTracer if it is installed. Each repeat runs all variants once, in turn; the table shows the median
of the repeats' ratios, with their spread. No row is a bar that a test enforces.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LOAD = str(Path(__file__).with_name("pingpong.py"))
RUNTIMES = ("gevent", "eventlet", "hub")


def timing(command: list[str], environment: dict[str, str]) -> float:
    """Run a variant; return the seconds that it prints."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def variants(runtime: str, rounds: int, folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return name -> (command, environment)."""
    load = [LOAD, runtime, str(rounds)]
    bare = {key: value for key, value in os.environ.items() if key != "GREENTRACE_CORE"}
    record = [sys.executable, "-m", "greentrace", "record", "-q", "-o", str(folder / "trace.gtrace")]
    rows = {
        "bare": ([sys.executable, *load], bare),
        "native core": ([*record, *load], {**bare, "GREENTRACE_CORE": "native"}),
        "Python twin": ([*record, *load], {**bare, "GREENTRACE_CORE": "python"}),
    }
    if importlib.util.find_spec("viztracer") is not None:
        rows["VizTracer"] = ([sys.executable, "-m", "viztracer", "--quiet", "-o", str(folder / "viz.json"), "--", *load], bare)
    return rows


def main(rounds: int, repeats: int) -> None:
    folder = Path(tempfile.mkdtemp())
    print(f"Python {sys.version.split()[0]}, {rounds} rounds, median of {repeats} interleaved repeats")
    print(f"{'runtime':10} {'variant':12} {'seconds':>8} {'ratio':>6}  spread")
    try:
        for runtime in RUNTIMES:
            rows = variants(runtime, rounds, folder)
            times: dict[str, list[float]] = {name: [] for name in rows}
            for _ in range(repeats):
                for name, (command, environment) in rows.items():
                    times[name].append(timing(command, environment))
            for name, values in times.items():
                ratios = [value / base for value, base in zip(values, times["bare"], strict=True)]
                spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
                print(f"{runtime:10} {name:12} {statistics.median(values):8.3f} {statistics.median(ratios):6.2f}  {spread}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    main(words[0] if words else 1000, words[1] if len(words) > 1 else 5)
