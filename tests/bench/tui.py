"""TUI: how long a frame takes in a real terminal, and how soon a key is seen.

    python -m tests.bench.tui [-s WIDTHxHEIGHT] [-n TIMES] TRACE ...

The windows run in tmux, over a trace that `tests.bench.replay` has recorded, and time themselves; ms, median / 95th percentile / most.

    frame       all of the work for one key: what it does, what is drawn anew, and the writing of it to the terminal
    shown       from the key to the end of the writing; Textual draws at most sixty times a second
    bytes       what was written for it, in kB

    zoom        a window of random width and place        cursor     the cursor to a random place in the window
    rows        twenty rows up or down                    screens    each screen, opened
    list        the greenlets at the cursor: sorted another way, filtered, opened at another moment
    opened      from the start of the process to the first frame, in s

Of a live one, `--live`: a service of 1,000 greenlets that is being recorded is followed for ten seconds.

    follow      events a second, frames a second, and how much of a core the windows take

Over a slow link, `--link`: the windows write to a terminal that takes 1 MB a second, while a key is held down, thirty times a second.

    link        from a key to the first frame that was begun after it, when the terminal has all of it
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import itertools
import json
import os
import pty
import random
import re
import select
import shlex
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from textual.screen import Screen as TextualScreen

from greentrace.replay import reader
from greentrace.tui.app import Replay
from greentrace.tui.keys import SCREENS


class Timed(Replay):
    """The windows, with a stop-watch."""

    def __init__(self, path: Path, times: int, out: Path, began: float, live: bool = False) -> None:
        super().__init__(reader.open(path, at_once=True), live)
        self._out, self._times, self._began = out, times, began
        self._painted = asyncio.Event()
        self._spent = 0.0
        self._bytes = self._frames = 0
        self._opened = 0.0
        self.found: dict[str, list[tuple[float, float, float]]] = {}

    def on_mount(self) -> None:
        super().on_mount()
        self._wrap()
        self.run_worker(self._follow() if self.scene.live else self._play(), exclusive=True)

    def _wrap(self) -> None:
        paint, write = TextualScreen._compositor_refresh, self._driver.write  # type: ignore[union-attr]

        def painted(screen: Any) -> None:
            begun = time.perf_counter()
            was_dirty = bool(screen._dirty_widgets or screen._layout_required)
            paint(screen)
            self._spent += time.perf_counter() - begun
            if was_dirty:
                self._opened = self._opened or time.time() - self._began
                self._frames += 1
                self._painted.set()

        def written(data: str) -> None:
            self._bytes += len(data.encode())
            write(data)

        TextualScreen._compositor_refresh = painted  # type: ignore[method-assign]
        self._driver.write = written  # type: ignore[union-attr, method-assign]

    async def _time(self, name: str, do: Callable[[], Awaitable[object]]) -> None:
        await asyncio.sleep(0.02)
        self._painted.clear()
        self._spent, self._bytes = 0.0, 0
        begun = time.perf_counter()
        await do()
        acted = time.perf_counter() - begun
        await asyncio.wait_for(self._painted.wait(), 30)
        shown = time.perf_counter() - begun
        self.found.setdefault(name, []).append(((acted + self._spent) * 1e3, shown * 1e3, self._bytes / 1e3))

    async def _follow(self) -> None:
        await asyncio.sleep(3)
        events, frames, cpu, begun = self.scene.trace.event_count, self._frames, time.process_time(), time.perf_counter()
        await asyncio.sleep(10)
        seconds = time.perf_counter() - begun
        told = [(self.scene.trace.event_count - events), self._frames - frames, time.process_time() - cpu]
        self._out.write_text(json.dumps([number / seconds for number in told]))
        self.exit()

    async def _play(self) -> None:
        await asyncio.sleep(0.5)
        while not self.scene.is_judged:
            await asyncio.sleep(0.1)
        chance, selection = random.Random(1), self.scene.selection

        async def redrawn(move: Callable[[], object]) -> None:
            move()
            self._redraw()

        for _ in range(self._times):
            await self._time("zoom", lambda: redrawn(lambda: self._somewhere(chance)))
        for _ in range(self._times):
            place = selection.place
            t_ns = place.a_ns + int(chance.random() * place.width_ns)
            await self._time("cursor", lambda t_ns=t_ns: redrawn(lambda: selection.jump(t_ns)))
        for _ in range(self._times // 4):
            await self._time("rows", lambda: self.run_action(f"move({chance.choice((-20, 20, 20))})"))
        for _ in range(5):
            for screen in SCREENS:
                await self._time(f"screen {screen.name}", lambda name=screen.name: self.run_action(f"show('{name}')"))
        await self.run_action("show('greenlets')")
        for number in range(20):
            await self._time("list sorted", lambda: self.run_action("sort"))
            line = ("state:parked", "func:*work* since>1ms", "waits:queue | waits:io", "")[number % 4]
            await self._time("list filtered", lambda line=line: redrawn(lambda: self.scene.set_filter(line)))
        for _ in range(20):
            await self._time("list elsewhere", lambda: redrawn(lambda: self._somewhere(chance)))
        self._out.write_text(json.dumps({"opened": self._opened, "found": self.found, "greenlets": len(self.scene.roster)}))
        self.exit()

    def _somewhere(self, chance: random.Random) -> None:
        trace, selection = self.scene.trace, self.scene.selection
        whole = trace.end_ns - trace.start_ns
        width = max(int(whole / 10 ** (5 * chance.random())), 1000)
        selection.fit()
        selection.jump(trace.start_ns + int(chance.random() * (whole - width)))
        selection.zoom(width / whole)


def shown(numbers: list[float]) -> str:
    return f"{statistics.median(numbers):8.1f} {float(np.percentile(numbers, 95)):8.1f} {max(numbers):8.1f}"


def bench(path: Path, size: str, times: int) -> None:
    told = inside(path, size, times)
    print(f"{path.name}, {size}, {told['greenlets']:,} greenlets: opened {told['opened']:.2f} s")
    print(f"  {'ms, kB':<20} {'frame':>8} {'p95':>8} {'most':>8} {'shown':>8} {'p95':>8} {'most':>8} {'bytes':>8} {'p95':>8} {'most':>8}")
    for name, rows in told["found"].items():
        print(f"  {name:<20} {' '.join(shown(list(column)) for column in zip(*rows, strict=True))}")


def inside(path: Path, size: str, times: int, *more: str) -> Any:
    """Run the windows in tmux; return what they told."""
    width, height = size.split("x")
    with tempfile.TemporaryDirectory() as folder:
        out, socket = Path(folder) / "out.json", Path(folder) / "tmux"
        options = ["--inside", str(out), "--began", str(time.time()), "-n", str(times), *more]
        command = shlex.join([sys.executable, "-m", "tests.bench.tui", *options, str(path)])
        tmux = ["tmux", "-f", "/dev/null", "-S", str(socket)]
        start = [*tmux, "-u", "new-session", "-d", "-x", width, "-y", height, f"COLORTERM=truecolor {command} 2>/dev/tty"]
        subprocess.run(start, check=True)
        while subprocess.run([*tmux, "has-session"], check=False, capture_output=True).returncode == 0:
            time.sleep(0.5)
        return json.loads(out.read_text())


def follow(size: str) -> None:
    """Follow a program that is being recorded."""
    with tempfile.TemporaryDirectory() as home:
        traffic = [str(Path(__file__).with_name("traffic.py")), "1000", "100000000", "12"]
        command = [sys.executable, "-m", "greentrace", "record", "-q", "-o", f"{home}/a.gtrace", *traffic]
        environment = {**os.environ, "GREENTRACE_HOME": home}
        recorded = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        try:
            while not (rings := list(Path(home).glob("run-*/*.ring"))):
                time.sleep(0.1)
            events, frames, cpu = inside(rings[0], size, 0, "--live")
        finally:
            recorded.send_signal(signal.SIGINT)
            recorded.wait()
    print(f"follow, {size}: {events:,.0f} events/s, {frames:.1f} frames/s, {cpu:.0%} of a core")


def link(path: Path, size: str, rate: int = 1_000_000) -> None:
    """Hold a key down while the terminal is slow."""
    width, height = map(int, size.split("x"))
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(COLORTERM="truecolor", TERM="xterm-256color")
        os.execv(sys.executable, [sys.executable, "-m", "greentrace", "replay", str(path)])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    keys: list[float] = []
    frames: list[tuple[float, float]] = []
    begun, taken, text = time.monotonic(), 0, b""
    while (now := time.monotonic()) - begun < 12:
        if now - begun > 5 and (not keys or now - keys[-1] >= 1 / 30) and len(keys) < 150:
            os.write(fd, b"h")
            keys.append(now)
        # The terminal takes no more than that.
        if select.select([fd], [], [], 0.001)[0] and taken <= (now - begun) * rate:
            data = os.read(fd, 4096)
            taken = max(taken, int((now - begun) * rate) - 4096) + len(data)
            text = (text + data)[-4000:]
            cursors = re.findall(rb"cursor ([0-9.]+) s", text)
            if cursors and (not frames or float(cursors[-1]) != frames[-1][1]):
                frames.append((time.monotonic(), float(cursors[-1])))
    os.write(fd, b"q")
    os.close(fd)
    os.waitpid(pid, 0)
    # Each key is one cell: where the cursor is seen says how many keys the frame has heard.
    step = min(before - after for (_, before), (_, after) in itertools.pairwise(frames))
    heard = [(t, round((frames[0][1] - cursor) / step)) for t, cursor in frames[1:]]
    late = [(t - keys[count - 1]) * 1e3 for t, count in heard if 0 < count <= len(keys)]
    print(f"link of {rate / 1e6:g} MB/s, {size}: {len(keys)} keys, {len(late)} frames; ms: {shown(late)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tui")
    parser.add_argument("traces", type=Path, nargs="*")
    parser.add_argument("-s", "--size", default="200x50")
    parser.add_argument("-n", "--times", type=int, default=200)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--link", action="store_true")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        Timed(options.traces[0], options.times, options.inside, options.began, options.live).run()
        return
    if options.live:
        follow(options.size)
    for path in options.traces:
        if options.link:
            link(path, options.size)
        else:
            bench(path, options.size, options.times)


if __name__ == "__main__":
    main()
