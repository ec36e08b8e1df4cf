"""Programs in which alice and bob wait for each other, what one asks them, and what a command says of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from greentrace.attach.entry import run_inside
from greentrace.replay import reader
from tests.attach.programs import SECONDS, Program, await_

# alice and bob wait for each other; whoever is asked to do something finds it in `orders`, and `turns` shows that the loop goes round.
_PEOPLE = """
import os, sys
turns, orders, done = 0, [], []
def alice():
    with first:
        sleep(0.01)
        with second: pass
def bob():
    with second:
        sleep(0.01)
        with first: pass
def serve():
    global turns
    while True:
        turns += 1
        if orders:
            exec(orders[0], globals())
            orders.pop(0)
        sleep(0.005)
"""
MAIN = "\nothers = [spawn(alice), spawn(bob)]; sleep(0.1); ready(); serve()\n"
_THREAD = """
import threading, time
def loop():
    others = [spawn(alice), spawn(bob)]
    sleep(0.1); ready(); serve()
threading.Thread(target=loop, daemon=True).start()
while True: time.sleep(0.01)
"""
_GEVENT_NAMES = "import gevent\nfrom gevent import sleep, spawn\nfrom gevent.lock import BoundedSemaphore\n"
_EVENTLET = "import eventlet\nfrom eventlet import sleep, spawn\nfrom eventlet.semaphore import Semaphore\n"
GEVENT = f"{_GEVENT_NAMES}first, second = BoundedSemaphore(1), BoundedSemaphore(1)\n{_PEOPLE}"
PROGRAMS = {
    "gevent": f"{GEVENT}{MAIN}",
    "gevent, patched": f"from gevent import monkey; monkey.patch_all()\n{_GEVENT_NAMES}"
    f"import threading\nfirst, second = threading.RLock(), threading.Lock()\n{_PEOPLE}{MAIN}",
    "gevent, in another thread": f"{GEVENT}{_THREAD}",
    "eventlet": f"{_EVENTLET}first, second = Semaphore(1), Semaphore(1)\n{_PEOPLE}{MAIN}",
    "eventlet, patched": f"import eventlet; eventlet.monkey_patch()\n{_EVENTLET}"
    f"import threading\nfirst, second = threading.Lock(), threading.RLock()\n{_PEOPLE}{MAIN}",
    "eventlet, in another thread": f"{_EVENTLET}first, second = Semaphore(1), Semaphore(1)\n{_PEOPLE}{_THREAD}",
}
LOOK = """
import gc, os, signal, sys
import greenlet
from pathlib import Path
gc.collect()
types = [t for t in (greenlet.greenlet, *greenlet.greenlet.__subclasses__())]
for name in ("gevent._gevent_cgreenlet", "gevent._gevent_c_semaphore", "gevent.lock", "eventlet.semaphore", "eventlet.greenthread",
             "eventlet.hubs.hub", "eventlet.hubs.timer", "eventlet.queue", "gevent._gevent_cqueue", "threading", "queue"):
    types += [t for t in vars(sys.modules.get(name, os)).values() if isinstance(t, type)]
answer = {
    "types": sorted({f"{t.__module__}.{t.__qualname__}: {sorted((n, id(v)) for n, v in vars(t).items())}" for t in types}),
    "tracer": repr(greenlet.gettrace()),
    "profiler": repr(sys.getprofile()),
    "finders": [repr(finder) for finder in sys.meta_path],
    "signals": [repr(signal.getsignal(number)) for number in range(1, 32)],
    "descriptors": sorted(target for target in (os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                                                if os.path.lexists(f"/proc/self/fd/{fd}"))),
    "threads": len(os.listdir("/proc/self/task")),
    "turns": sys.getswitchinterval(),
    "rings": sum(".ring" in line for line in Path("/proc/self/maps").read_text().splitlines()),
    "modules": sorted(name for name in sys.modules if name.startswith("greentrace")),
    "main": sorted(vars(sys.modules["__main__"])),
    "tags": sum("greentrace" in repr(g.__dict__) for g in gc.get_objects() if isinstance(g, greenlet.greenlet)),
}
"""


def ask(program: Program, expression: str) -> Any:
    return run_inside(program.pid, f"import sys\nm = sys.modules['__main__']\nanswer = {expression}", seconds=SECONDS).answer


def order(program: Program, text: str) -> None:
    """Have the program's own loop do something."""
    ask(program, f"m.orders.append({text!r})")
    await_(lambda: not ask(program, "m.orders"))


def goes_on(program: Program) -> None:
    turns = ask(program, "m.turns")
    await_(lambda: bool(ask(program, "m.turns") > turns + 2))
    assert program.is_alive()


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "greentrace", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def record(pid: int, out: Path, *options: str) -> subprocess.Popen[str]:
    """Start to record a running program; return when it has begun."""
    words = [sys.executable, "-m", "greentrace", "record", "--pid", str(pid), "-o", str(out), *options]
    recording = subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert recording.stderr is not None
    line = recording.stderr.readline()
    assert "Ctrl-C ends it" in line, line
    return recording


def deadlocked(source: Path) -> set[str]:
    with reader.open(source) as trace:
        deadlocks = trace.deadlocks()
        return {trace.greenlet(each).function for deadlock in deadlocks for each in deadlock.greenlets}
