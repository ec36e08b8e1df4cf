"""Attaching to servers under load and leaving them again: no request fails, and nothing of it stays.

The short form is part of the suite; the long one, 1,000 times, `pytest -m soak tests/attach`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from greentrace import processes
from greentrace.attach import visit
from greentrace.attach.entry import run_inside
from tests.attach.programs import SECONDS, Program

SERVERS = {
    "gevent": """
from gevent import monkey; monkey.patch_all()
import sys, threading
from gevent.lock import RLock
from gevent.pool import Pool
from gevent.server import StreamServer
lock, pool = RLock(), Pool(4)
def work(line):
    with lock:
        return line[::-1]
def handle(connection, address):
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            connection.sendall(pool.apply(work, (line.strip(),)) + b"\\n")
server = StreamServer(("127.0.0.1", 0), handle)
server.start()
os.write(1, b"%d\\n" % server.server_port)
ready()
server.serve_forever()
""",
    "eventlet": """
import eventlet; eventlet.monkey_patch()
import threading
from eventlet.greenpool import GreenPool
from eventlet.queue import Queue
lock, pool = threading.Lock(), GreenPool(8)
def handle(connection, address):
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            answers = Queue()
            with lock:
                pool.spawn_n(answers.put, line.strip()[::-1])
            connection.sendall(answers.get() + b"\\n")
listener = eventlet.listen(("127.0.0.1", 0))
os.write(1, b"%d\\n" % listener.getsockname()[1])
ready()
eventlet.serve(listener, handle, concurrency=64)
""",
    "eventlet, asyncio": """
os.environ["EVENTLET_HUB"] = "asyncio"
import eventlet; eventlet.monkey_patch()
import threading
condition, seen = threading.Condition(), []
def handle(connection, address):
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            with condition:
                seen[:] = [line.strip()]
                condition.notify_all()
                answer = seen[0][::-1]
            connection.sendall(answer + b"\\n")
listener = eventlet.listen(("127.0.0.1", 0))
os.write(1, b"%d\\n" % listener.getsockname()[1])
ready()
eventlet.serve(listener, handle, concurrency=64)
""",
}
# Asks until its stdin is closed; says how often, how often wrongly, and the longest time that an answer took.
CLIENT = """
import json, select, socket, sys, threading, time
port, count = int(sys.argv[1]), int(sys.argv[2])
faults, asked, longest, over = [], [0], [0.0], threading.Event()
def ask(number):
    try:
        with socket.create_connection(("127.0.0.1", port), 60) as connection, connection.makefile("rb") as lines:
            turn = 0
            while not over.is_set():
                turn += 1
                line, began = b"%d of %d" % (turn, number), time.monotonic()
                connection.sendall(line + b"\\n")
                answer = lines.readline().strip()
                longest[0] = max(longest[0], time.monotonic() - began)
                if answer != line[::-1]:
                    faults.append([line.decode(), answer.decode()])
                asked[0] += 1
    except Exception as error:
        faults.append(repr(error))
threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
for thread in threads: thread.start()
print("on the way", flush=True)
sys.stdin.read()
over.set()
for thread in threads: thread.join()
print(json.dumps([asked[0], faults[:5], longest[0]]))
"""
# Of threads and modules, what the first visit has brought.
STATE = """
import gc, os, sys
import greenlet
gc.collect()
answer = {
    "descriptors": len(os.listdir("/proc/self/fd")),
    "threads": len(os.listdir("/proc/self/task")),
    "tracer": repr(greenlet.gettrace()),
    "rings": open("/proc/self/maps").read().count(".ring"),
    "finders": len(sys.meta_path),
}
"""


@pytest.mark.parametrize("times", [8, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("which", SERVERS)
def test_no_request_fails_while_one_attaches_and_leaves(start: Callable[..., Program], which: str, times: int) -> None:
    server = start(SERVERS[which])
    port = server.line()
    client = subprocess.Popen([sys.executable, "-c", CLIENT, port, "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        assert client.stdout.readline() == "on the way\n"
        with_a_visit(server.pid)
        before, held = run_inside(server.pid, STATE, seconds=SECONDS).answer, []
        for _ in range(times):
            held += with_a_visit(server.pid)
        after = run_inside(server.pid, STATE, seconds=SECONDS).answer
    finally:
        said, _ = client.communicate(timeout=SECONDS)
    asked, faults, longest = json.loads(said)
    assert faults == []
    assert asked > times
    assert after == before
    held.sort()
    # Not a bar: what `pytest -rP` shows of the long form.
    print(
        f"{which}: {asked} requests, the slowest {longest * 1e3:.1f} ms; held p50 {held[len(held) // 2] / 1e6:.1f} ms,"
        f" p99 {held[len(held) * 99 // 100] / 1e6:.1f} ms, at most {held[-1] / 1e6:.1f} ms"
    )
    assert server.end() == (0, "")


def with_a_visit(pid: int) -> list[int]:
    """Record a process for a moment; return how many ns its main thread was held, at the beginning and at the end."""
    visited = visit.enter(pid, seconds=SECONDS)
    began = visited.held_ns
    assert processes.is_written(visited.ring)
    time.sleep(0.01)
    assert visited.leave(SECONDS) == []
    return [began, visited.held_ns]
