"""Replay: how soon a long trace is open, how fast it answers, what it takes on disk and in memory.

    python -m tests.bench.replay [-m MILLIONS ...] [-g GREENLETS ...] [-r ROUNDS] FOLDER

Each row is one recording of `traffic`, a service of so many real greenlets; traces that lie in the folder already are used again. The
columns, medians of the rounds:

    rate        events a second while it was recorded, and how many of them were lost
    trace       bytes an event of the trace; index: of the index that the follower made beside it
    build       the index made anew from the trace alone: millions of events a second, in one process
    first       from the start of a process to the first exact frame of 50 lanes and 200 cells, over all of the trace
    bare        the same process without a trace
    frame       such a frame over a window of random width and place, of 50 random greenlets, and its 95th percentile
    busiest     the same of the 50 greenlets that were there first, hub and workers among them, over all of the trace
    states      the state of every greenlet at a random moment, and its 95th percentile
    world       everything at a random moment, as rows; and its 95th percentile
    anonymous   memory of the process that did all this, in MB; what is mapped from the files is not in it
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from greentrace.replay import reader, shelf
from greentrace.replay.model import Key
from greentrace.replay.spans import time_in_states

LANES, CELLS = 50, 200
_QUESTIONS = ("frame", "busiest", "states", "world")
_FIRST = """
import sys, time
from greentrace.replay import reader
from greentrace.replay.spans import time_in_states
import numpy as np
if len(sys.argv) > 1:
    trace = reader.open(sys.argv[1], at_once=True)
    keys = trace.histories[0].ages.rows()["id"][:50].tolist()
    edges = trace.start_ns + np.arange(201) * (trace.end_ns - trace.start_ns) // 200
    time_in_states(trace, keys, edges)
print("there", flush=True)
"""


def record(folder: Path, greenlets: int, millions: float) -> tuple[Path, str]:
    """Return the trace of a recording, and how fast it was made."""
    path = folder / f"{greenlets}-{millions:g}m.gtrace"
    told = path.with_suffix(".txt")
    if not path.exists():
        traffic = str(Path(__file__).with_name("traffic.py"))
        command = [sys.executable, "-m", "greentrace", "record", "-q", "-o", str(path), traffic, str(greenlets), str(int(millions * 1e6))]
        told.write_text(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    count, _, _, seconds, *_ = told.read_text().split()
    return path, f"{int(count.replace(',', '')) / float(seconds) / 1e6:.2f} M/s"


def index_of(path: Path) -> Path:
    return path.with_name(path.name + shelf.SUFFIX)


def build(path: Path) -> float:
    """Return how many millions of events a second an index takes that is made of the trace."""
    index_of(path).unlink(missing_ok=True)
    began = time.perf_counter()
    with reader.open(path) as trace:
        return trace.event_count / (time.perf_counter() - began) / 1e6


def first_frame(path: Path | None) -> float:
    """Return how long a process takes to the first frame, or without a trace, in seconds."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", _FIRST, *([] if path is None else [str(path)])], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return time.perf_counter() - began


def timed(times: int, question: Callable[[], object]) -> tuple[float, float]:
    """Return (median, 95th percentile) of the ms that a question takes."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        question()
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took), float(np.percentile(took, 95))


def anonymous_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1000
    return 0.0


def look(path: Path) -> dict[str, float]:
    """Ask a trace many questions; return what each took."""
    chance = random.Random(1)
    trace = reader.open(path, at_once=True)
    h = trace.histories[0]
    ids = h.ages.rows()["id"]
    whole = trace.end_ns - trace.start_ns

    def frame(keys: list[Key], a_ns: int, width_ns: int) -> None:
        time_in_states(trace, keys, a_ns + np.arange(CELLS + 1) * width_ns // CELLS)

    def anywhere() -> None:
        width = int(whole / 10 ** chance.uniform(0, 5))
        frame(sorted(chance.sample(ids.tolist(), LANES)), trace.start_ns + chance.randrange(whole - width + 1), width)

    def moment() -> int:
        # Greenlets are made at the beginning; from then on all of them live.
        return trace.start_ns + whole // 4 + chance.randrange(whole * 3 // 4)

    def world() -> None:
        segment, p = h.at_position(h.count_until(moment(), "right") - 1)
        segment.at(p)

    found = {"greenlets": float(len(h.states_at(trace.end_ns)[0]))}
    for name, times, question in (
        ("frame", 200, anywhere),
        ("busiest", 20, lambda: frame(ids[:LANES].tolist(), trace.start_ns, whole)),
        ("states", 40, lambda: h.states_at(moment())),
        ("world", 20, world),
    ):
        found[name], found[f"{name} p95"] = timed(times, question)
    return found | {"anonymous": anonymous_mb(), "lost": float(trace.lost), "events": float(trace.event_count)}


def row(path: Path, rate: str, rounds: int) -> None:
    """Measure one trace."""
    index_bytes = index_of(path).stat().st_size if index_of(path).exists() else 0
    built = statistics.median(build(path) for _ in range(max(1, rounds // 3)))
    first_frame(path)
    # Alternately, so that both meet the same machine.
    frames, bare = zip(*((first_frame(path), first_frame(None)) for _ in range(rounds)), strict=True)
    command = [sys.executable, "-m", "tests.bench.replay", "--look", str(path)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    sizes = [size / found["events"] for size in (path.stat().st_size, index_bytes or index_of(path).stat().st_size)]
    numbers = [*sizes, built, statistics.median(frames), statistics.median(bare)]
    print(f"{path.stem:14} {rate:>9} {found['lost']:5.0f}", *(f"{number:6.3f}" for number in numbers), end="  ")
    print("  ".join(f"{found[name]:6.1f} {found[f'{name} p95']:6.1f}" for name in _QUESTIONS), f"{found['anonymous']:10.0f}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path, nargs="?", default=Path("."))
    arguments.add_argument("-m", "--millions", type=float, nargs="*", default=[1, 10, 100])
    arguments.add_argument("-g", "--greenlets", type=int, nargs="*", default=[1000, 100_000])
    arguments.add_argument("-r", "--rounds", type=int, default=9)
    arguments.add_argument("--look", type=Path)
    asked = arguments.parse_args()
    if asked.look:
        print(json.dumps(look(asked.look)))
        return
    print(
        f"{'greenlets-events':14} {'rate':>9} {'lost':>5} {'trace':>6} {'index':>6} {'build':>6} {'first':>6} {'bare':>6}  "
        + "  ".join(f"{name:>6} {'p95':>6}" for name in _QUESTIONS)
        + "  anonymous"
    )
    for greenlets in asked.greenlets:
        for millions in asked.millions:
            row(*record(asked.folder, greenlets, millions), asked.rounds)


if __name__ == "__main__":
    main()
