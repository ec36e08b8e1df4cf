"""The loads of `python -m tests.bench.hub`, each written once for all three runtimes.

python -m tests.bench.loads RUNTIME ROW     prints what the row costs: CPU microseconds a step, bytes, or per cent of a core

In:  a runtime's name, a row's. Out: one number. CPU time is counted and not the clock's, kernel included: every load but `idle`
computes all the time, and other programs on the machine do not count. An echo's two ends are two processes of the same runtime,
and both count. Never: a thing that only one runtime has; everybody is given the fastest that its documentation offers.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greentrace.samples.runtime import Runtime, choose

ADDRESS = "127.0.0.1"


def cost(steps: int, function: Callable[[], object]) -> float:
    """Return the CPU microseconds that one of so many steps takes."""
    gc.collect()
    begin = time.process_time()
    function()
    return (time.process_time() - begin) / steps * 1e6


# ---- switches


def spawn_and_finish(rt: Runtime, count: int = 50_000, batch: int = 100) -> float:
    def nothing() -> None:
        pass

    def go() -> None:
        for _ in range(count // batch):
            for thread in [rt.spawn(nothing) for _ in range(batch)]:
                rt.wait(thread)

    return cost(count, go)


def switch(rt: Runtime, count: int = 100_000, green_threads: int = 10) -> float:
    def turn() -> None:
        for _ in range(count // green_threads):
            rt.sleep(0)

    return cost(count, lambda: [rt.wait(thread) for thread in [rt.spawn(turn) for _ in range(green_threads)]])


def timers(rt: Runtime, armed: int = 100_000) -> float:
    """Arm so many, let the hub see them, cancel them all, let the hub see that."""
    arm: Callable[[int], Callable[[], object]]
    if rt.name == "gevent":
        import gevent

        loop = gevent.get_hub().loop

        def arm(number: int) -> Callable[[], object]:
            timer = loop.timer(60 + number % 97)
            timer.start(print)
            return timer.close  # type: ignore[no-any-return]

    else:
        if rt.name == "eventlet":
            from eventlet.hubs import get_hub

            schedule = get_hub().schedule_call_global
        else:
            from greentrace import hub

            schedule = hub.get_hub().call_later

        def arm(number: int) -> Callable[[], object]:
            return schedule(60 + number % 97, print).cancel  # type: ignore[no-any-return]

    def go() -> None:
        cancels = [arm(number) for number in range(armed)]
        rt.sleep(0)
        for cancel in cancels:
            cancel()
        rt.sleep(0)

    return cost(armed, go)


def hand_over(rt: Runtime, count: int = 50_000) -> float:
    """One permit goes to and fro between two semaphores, so that each acquire waits, whether a runtime is fair or not."""
    here, there = rt.Semaphore(1), rt.Semaphore(0)

    def use(mine: Any, other: Any) -> None:
        for _ in range(count // 2):
            mine.acquire()
            other.release()

    return cost(count, lambda: [rt.wait(thread) for thread in [rt.spawn(use, here, there), rt.spawn(use, there, here)]])


def queues(rt: Runtime, count: int = 50_000) -> float:
    ping, pong = rt.Queue(), rt.Queue()

    def answer() -> None:
        for _ in range(count):
            pong.put(ping.get())

    def ask() -> None:
        for number in range(count):
            ping.put(number)
            pong.get()

    return cost(count, lambda: [rt.wait(thread) for thread in [rt.spawn(answer), rt.spawn(ask)]])


# ---- sockets


def connected(rt: Runtime, count: int, role: str, rounds: int) -> tuple[list[Any], Any]:
    """Return so many accepted connections, and the process at whose ends `role` runs when it is told to."""
    listener = rt.socket.socket()
    listener.setsockopt(rt.socket.SOL_SOCKET, rt.socket.SO_REUSEADDR, 1)
    listener.bind((ADDRESS, 0))
    listener.listen(1024)
    command = [sys.executable, "-m", "tests.bench.loads", rt.name, role, str(listener.getsockname()[1]), str(count), str(rounds)]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ends = [listener.accept()[0] for _ in range(count)]
    assert client.stdout
    assert client.stdout.readline() == "connected\n"
    return ends, client


def start(client: Any) -> None:
    client.stdin.write("go\n")
    client.stdin.flush()


def echo(rt: Runtime, connections: int, rounds: int) -> float:
    ends, client = connected(rt, connections, "echo-client", rounds)

    def answer(end: Any) -> None:
        while data := end.recv(1024):
            end.sendall(data)

    def go() -> None:
        threads = [rt.spawn(answer, end) for end in ends]
        rt.sleep(0)
        start(client)
        for thread in threads:
            rt.wait(thread)

    here = cost(connections * rounds, go)
    out, _ = client.communicate()
    return here + float(out)


def echo_client(rt: Runtime, port: int, count: int, rounds: int) -> float:
    ends = [rt.socket.create_connection((ADDRESS, port)) for _ in range(count)]
    print("connected", flush=True)
    sys.stdin.readline()

    def ask(end: Any) -> None:
        for _ in range(rounds):
            end.sendall(b"x" * 64)
            end.recv(1024)
        end.close()

    return cost(count * rounds, lambda: [rt.wait(thread) for thread in [rt.spawn(ask, end) for end in ends]])


def idle(rt: Runtime, connections: int = 10_000, seconds: float = 5.0) -> float:
    """Return the per cent of a core that a server takes while nobody says anything."""
    ends, client = connected(rt, connections, "idle-client", 0)
    threads = [rt.spawn(end.recv, 1024) for end in ends]
    rt.sleep(1.0)
    begin = time.process_time()
    rt.sleep(seconds)
    used = time.process_time() - begin
    client.kill()
    client.wait()
    for thread in threads:
        thread.kill()
    return used / seconds * 100


def idle_client(rt: Runtime, port: int, count: int, rounds: int) -> float:
    kept = [rt.socket.create_connection((ADDRESS, port)) for _ in range(count)]
    print("connected", flush=True)
    sys.stdin.read()
    return float(len(kept))


# ---- memory


def memory(rt: Runtime, count: int = 100_000) -> float:
    """Return the bytes that a green thread takes which waits for an event."""
    event = rt.Event()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()

    def wait() -> None:
        event.wait()

    gc.collect()
    before = resident()
    threads = [rt.spawn(wait) for _ in range(count)]
    rt.sleep(0)
    rt.sleep(0)
    used = (resident() - before) / count
    (event.set if rt.name == "gevent" else event.send)()
    for thread in threads:
        rt.wait(thread)
    return used


ROWS: dict[str, tuple[str, Callable[[Runtime], float]]] = {
    "spawn + finish": ("µs", spawn_and_finish),
    "switch, sleep(0)": ("µs", switch),
    "timer add + cancel, 100,000 armed": ("µs", timers),
    "semaphore hand-over": ("µs", hand_over),
    "queue ping-pong": ("µs", queues),
    "echo, 1 connection": ("µs", lambda rt: echo(rt, 1, 10_000)),
    "echo, 100 connections": ("µs", lambda rt: echo(rt, 100, 200)),
    "echo, 10,000 connections": ("µs", lambda rt: echo(rt, 10_000, 3)),
    "memory of a parked green thread": ("bytes", memory),
    "idle, 10,000 connections": ("% CPU", idle),
}
"""Name -> (unit, load). Less is better in all of them."""
CLIENTS: dict[str, Callable[[Runtime, int, int, int], float]] = {"echo-client": echo_client, "idle-client": idle_client}


def main(name: str, row: str, *numbers: str) -> None:
    warnings.simplefilter("ignore")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rt = choose(name)
    if row in CLIENTS:
        print(CLIENTS[row](rt, *map(int, numbers)))
    else:
        print(ROWS[row][1](rt))


if __name__ == "__main__":
    main(*sys.argv[1:])
