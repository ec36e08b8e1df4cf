"""Traffic: a service of so many greenlets, real ones, that goes on until so many events of it are recorded.

    greentrace record -o OUT tests/bench/traffic.py GREENLETS EVENTS [SLOWER]

On the built-in hub: callers, most of which sleep, put requests into the queues of a few services; their workers take a
connection from a pool, ask a server behind a socket, guard what they share with locks, and answer by an Event. Now and then a
caller spawns a helper and joins it, waits with a limit, or computes. How long anything lasts is drawn from a log-normal
distribution, from a seed: the trace is another one each time and its make is the same.
"""

from __future__ import annotations

import random
import sys
import time

from greentrace import hub
from greentrace.record.session import current

SERVICES = 16
WORKERS = 8
_THINK_SECONDS = 0.02


class Service:
    """A queue of requests, the workers that serve it, what they share."""

    def __init__(self, number: int, random_: random.Random) -> None:
        self.random = random_
        self.requests: hub.Queue = hub.Queue(64)
        self.connections = hub.Semaphore(4)
        self.lock = hub.Lock()
        self.ours, theirs = hub.socketpair()
        self.answers: hub.Queue = hub.Queue()
        hub.spawn(self.server, theirs).name = f"server {number}"
        hub.spawn(self.reader).name = f"reader {number}"
        for _ in range(WORKERS):
            hub.spawn(self.worker)

    def server(self, theirs: hub.socket.socket) -> None:
        while data := theirs.recv(4096):
            theirs.sendall(data)

    def reader(self) -> None:
        while data := self.ours.recv(4096):
            for _ in data:
                self.answers.put(None)

    def worker(self) -> None:
        while True:
            answer = self.requests.get()
            with self.connections:
                kind = self.random.random()
                if kind < 0.3:
                    self.ours.send(b"x")
                    self.answers.get()
                elif kind < 0.4:
                    hub.sleep(self.random.lognormvariate(-7, 1))
                with self.lock:
                    if kind > 0.9:
                        hub.sleep(0)
            answer.send(kind)


def caller(services: list[Service], random_: random.Random, think: float) -> None:
    """Ask a service, think, ask again."""
    while True:
        hub.sleep(think * random_.lognormvariate(0, 1))
        answer = hub.Event()
        random_.choice(services).requests.put(answer)
        kind = random_.random()
        if kind < 0.1:
            with hub.Timeout(0.5, False):
                answer.wait()
        else:
            answer.wait()
        if kind > 0.98:
            hub.spawn(helper, random_).wait()


def helper(random_: random.Random) -> int:
    """Compute a little; once in a while for long."""
    return sum(range(100 if random_.random() < 0.999 else 1_000_000))


def main(greenlets: int, events: int, slower: float = 1.0) -> None:
    random_ = random.Random(1)
    services = [Service(number, random_) for number in range(SERVICES)]
    for _ in range(greenlets):
        # As many greenlets as there may be, the machine has the same work to do.
        hub.spawn(caller, services, random_, _THINK_SECONDS * slower * greenlets / 1000)
    session = current()
    assert session is not None
    assert session.recorder is not None
    began = time.monotonic()
    while (count := session.recorder.counts()["events"]) < events:
        hub.sleep(0.05)
    print(f"{count:,} events in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:]))
