"""Flight: what the flight recorder costs a gunicorn gevent server under wrk, as ratios of interleaved rounds.

    python -m tests.bench.flight [ROUNDS] [SECONDS]

Two servers of one worker each stand side by side, one of them with GREENTRACE=flight; wrk loads them in turn. The table shows the
median of the rounds' ratios with their spread: requests a second, CPU of the worker for a request, and what the follower itself
took of a core meanwhile. No row is a bar that a test enforces.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

APP = '''
def app(environ, start_response):
    """A page of the size that most are, made as they are: some Python, one line of a template after the other."""
    body = "".join(f"<li>{name}: {value}</li>" for name, value in sorted(environ.items()) if isinstance(value, str)).encode()
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(body)))])
    return [body]
'''
_TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


class Server:
    """A gunicorn with one gevent worker."""

    def __init__(self, folder: Path, flight: bool) -> None:
        self.port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENTRACE")}
        if flight:
            environment |= {"GREENTRACE": "flight", "GREENTRACE_SNAPSHOTS": str(folder / "snapshots")}
        environment["GREENTRACE_HOME"] = str(folder)
        command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "1", "-b", f"127.0.0.1:{self.port}", "app:app"]
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
        self.wait_until_there()
        self.worker = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def wait_until_there(self) -> None:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise RuntimeError("the server did not come up")

    def load(self, seconds: float) -> tuple[float, float]:
        """Load it with wrk; return (requests a second, CPU microseconds of the worker for a request)."""
        before = cpu_seconds(self.worker)
        command = ["wrk", "-t1", "-c16", f"-d{seconds:g}s", f"http://127.0.0.1:{self.port}/"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
        used = cpu_seconds(self.worker) - before
        rate, count = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"(\d+) requests in", said)
        if not rate or not count:
            raise RuntimeError(said)
        return float(rate[1]), used / int(count[1]) * 1e6

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


def follower_of(folder: Path) -> int:
    """Return the pid of the flight recorder's follower."""
    for _ in range(100):
        for path in folder.glob("run-*/follower"):
            return int(path.read_text())
        time.sleep(0.1)
    raise RuntimeError("there is no follower")


def shown(name: str, values: list[float]) -> str:
    return f"{name:34} {statistics.median(values):7.3f}   {min(values):.3f}-{max(values):.3f}"


def main(rounds: int, seconds: float) -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o700)
    (folder / "app.py").write_text(APP)
    bare = flight = None
    try:
        bare, flight = Server(folder, False), Server(folder, True)
        follower = follower_of(folder)
        for server in (bare, flight):
            server.load(1)
        throughput, cpu, of_core, rates = [], [], [], []
        for number in range(rounds):
            # Whoever is second has a cooler or a hotter machine: in turn.
            pair = [bare, flight] if number % 2 == 0 else [flight, bare]
            begin, before = time.monotonic(), cpu_seconds(follower)
            results = {id(server): server.load(seconds) for server in pair}
            # The follower has work only while the recorded server has.
            of_core.append((cpu_seconds(follower) - before) / ((time.monotonic() - begin) / 2))
            throughput.append(results[id(flight)][0] / results[id(bare)][0])
            cpu.append(results[id(flight)][1] / results[id(bare)][1])
            rates.append(results[id(bare)][0])
        print(f"Python {sys.version.split()[0]}, {rounds} interleaved rounds of {seconds:g} s")
        print(f"{statistics.median(rates):.0f} requests a second bare")
        print(f"{'':34}  median   spread")
        print(shown("throughput, flight / bare", throughput))
        print(shown("CPU for a request, flight / bare", cpu))
        print(shown("CPU of the follower, cores", of_core))
    finally:
        for server in (bare, flight):
            if server is not None:
                server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    words = sys.argv[1:]
    main(int(words[0]) if words else 41, float(words[1]) if len(words) > 1 else 1)
