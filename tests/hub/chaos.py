"""Chaos: green threads that do everything there is to do while everything that can go wrong goes wrong. Run by `test_soak`.

python -m tests.hub.chaos SECONDS SEED TRACE     records itself into TRACE, prints what it did, as JSON

    those who live       sleep, hold permits, hand items on, talk over sockets, wait for OS threads, spawn into a pool
    those who disturb    kill, close sockets under their readers, reset connections, raise in the hub, take all fds, send signals

In:  a seed. Out: nothing that was begun is left: every green thread has ended by itself once the disturbances are over, for who
could wait for ever waits for somebody who certainly comes. Never: a sleep or a timeout that hides a wake-up that was lost.
"""

from __future__ import annotations

import errno
import gc
import itertools
import json
import os
import random
import resource
import signal
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import greentrace
from greentrace.hub import (
    Event,
    GreenletExit,
    GreenPool,
    LifoQueue,
    Queue,
    Semaphore,
    Timeout,
    get_hub,
    getcurrent,
    kill,
    listen,
    sleep,
    socket,
    socketpair,
    spawn,
    tpool,
)

ALIVE = 60
"""How many live at once, about."""
PATIENCE = 60.0
"""Seconds for those who are left when the disturbances are over."""
END = object()


class Injected(Exception):
    """Raised where the hub has to survive it."""


class Chaos:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.did: Counter[str] = Counter()
        self.living: set[Any] = set()
        self.sockets: list[Any] = []
        self.permits = [Semaphore(1), Semaphore(2), Semaphore(3)]
        self.queues: list[Any] = [Queue(), Queue(0), LifoQueue(2)]
        self.items = itertools.count()
        self.put: set[int] = set()
        self.got: Counter[int] = Counter()
        self.pool = GreenPool(5)
        self.going = True
        self.listener = listen(("127.0.0.1", 0))
        self.ghosts: list[weakref.ref[Any]] = []

    def begin(self, function: Callable[..., Any], *args: Any) -> Any:
        thread = spawn(self.life, function, *args)
        self.did["spawned"] += 1
        self.living.add(thread)
        self.ghosts.append(weakref.ref(thread))
        thread.link(self.living.discard)
        return thread

    def life(self, function: Callable[..., Any], *args: Any) -> None:
        """Whatever ends it, it is counted once."""
        try:
            function(*args)
            self.did["returned"] += 1
        except (GreenletExit, Timeout, Injected) as error:
            self.did[type(error).__name__] += 1
        except OSError as error:
            self.did[errno.errorcode.get(error.errno or 0, type(error).__name__)] += 1

    def moment(self, most: float = 0.004) -> float:
        return self.random.random() * most

    # ---- those who live

    def sleeper(self) -> None:
        for _ in range(self.random.randint(1, 5)):
            sleep(self.random.choice((0, self.moment())))

    def holder(self) -> None:
        permit = self.random.choice(self.permits)
        if not permit.acquire(timeout=self.random.choice((None, None, self.moment()))):
            self.did["no permit"] += 1
            return
        try:
            sleep(self.random.choice((0, self.moment(0.002))))
        finally:
            permit.release()

    def hurried(self) -> None:
        with Timeout(self.moment(), self.random.choice((None, False, Injected))):
            with self.random.choice(self.permits):
                sleep(self.moment())
            self.take(self.random.choice(self.queues))

    def maker(self) -> None:
        queue = self.random.choice(self.queues)
        for _ in range(self.random.randint(1, 4)):
            item = next(self.items)
            queue.put(item)
            self.put.add(item)

    def take(self, queue: Any) -> Any:
        item = queue.get()
        if item is not END:
            self.got[item] += 1
        return item

    def taker(self) -> None:
        queue = self.random.choice(self.queues)
        for _ in range(self.random.randint(1, 4)):
            if self.take(queue) is END:
                return

    def echo(self, end: Any) -> None:
        try:
            while data := end.recv(4096):
                end.sendall(data)
        finally:
            end.close()

    def talker(self, end: Any) -> None:
        self.sockets.append(end)
        try:
            for _ in range(self.random.randint(1, 5)):
                message = os.urandom(self.random.choice((1, 100, 50_000)))
                end.sendall(message)
                left = len(message)
                while left:
                    data = end.recv(left)
                    if not data:
                        return
                    left -= len(data)
            if self.random.random() < 0.3:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        finally:
            self.sockets.remove(end)
            end.close()

    def neighbours(self) -> None:
        left, right = socketpair()
        self.begin(self.echo, right)
        # An echo that is killed before it begins leaves its end to the collector, which closes it if nobody else has it.
        del right
        self.talker(left)

    def client(self) -> None:
        self.talker(socket.create_connection(self.listener.getsockname()))

    def asker(self) -> None:
        tpool.execute(time.sleep, self.moment(0.002))

    def swimmer(self) -> None:
        self.pool.spawn(self.sleeper).wait()

    def joiner(self) -> None:
        event = Event()
        child = self.begin(lambda: (sleep(self.moment()), event.send())[0])
        child.wait()
        if event.ready():
            event.wait()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ECONNABORTED):
                    raise
                self.did[errno.errorcode[error.errno]] += 1
                sleep(0.001)
            else:
                self.begin(self.echo, connection)
                # As in `neighbours`.
                del connection

    # ---- those who disturb

    def killer(self) -> None:
        while self.going:
            sleep(self.moment(0.003))
            if self.living:
                self.did["kills"] += 1
                # Those who have not begun are few, and what they were given is easily forgotten.
                unbegun = [thread for thread in self.living if not thread]
                chosen = unbegun if unbegun and self.random.random() < 0.3 else list(self.living)
                kill(self.random.choice(chosen), *self.random.choice(((), (Injected,))))

    def closer(self) -> None:
        while self.going:
            sleep(self.moment(0.01))
            if self.sockets:
                self.did["closed under somebody"] += 1
                self.random.choice(self.sockets).close()

    def thrower(self) -> None:
        def wrong() -> None:
            raise Injected("in the hub")

        while self.going:
            sleep(self.moment(0.05))
            self.did["raised in the hub"] += 1
            self.random.choice((get_hub().call_soon, lambda function: get_hub().call_later(0.0, function)))(wrong)

    def hoarder(self) -> None:
        """No fd can be opened for a moment."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        while self.going:
            sleep(self.moment(0.1))
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
            try:
                sleep(0.002)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)

    # ---- all of it

    def run(self, seconds: float) -> None:
        lives = [self.sleeper, self.holder, self.hurried, self.maker, self.taker, self.neighbours, self.client, self.asker, self.swimmer]
        lives.append(self.joiner)
        signal.signal(signal.SIGALRM, lambda *_: get_hub().call_soon(self.did.update, ("signals",)))
        signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
        server = spawn(self.serve)
        disturbing = [spawn(each) for each in (self.killer, self.closer, self.thrower, self.hoarder)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while len(self.living) < ALIVE:
                self.begin(self.random.choice(lives))
            sleep(0.001)
        self.going = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each in disturbing:
            each.wait()
        with Timeout(PATIENCE):
            self.settle()
        server.kill()
        self.listener.close()
        self.pool.waitall()

    def settle(self) -> None:
        """Everybody who waits for somebody who may not come is served; the others end by themselves."""
        while self.living:
            for queue in self.queues:
                for _ in range(queue.getting()):
                    queue.put(END)
                while queue.putting():
                    self.take(queue)
            for permit in self.permits:
                with permit:
                    pass
            sleep(0.001)
        for permit, value in zip(self.permits, (1, 2, 3), strict=True):
            assert permit.counter == value, f"a permit is lost: {permit!r}"
        for queue in self.queues:
            while not queue.empty():
                self.take(queue)
        # Whoever was killed in the middle of a put may have put or not; what was put for certain came out, and nothing twice.
        assert not self.put - set(self.got), "an item is lost"
        assert max(self.got.values()) == 1, "an item came out twice"


def main(seconds: float, seed: int, trace: str) -> None:
    # What is there once is no leak: the pool of OS threads, the hub's own fds.
    tpool.execute(int)
    with greentrace.record(trace):
        fds = len(os.listdir("/proc/self/fd"))
        chaos = Chaos(seed)
        chaos.run(seconds)
        hub = get_hub()
        sleep(0)
        gc.collect()
        left = {
            "green threads": sum(1 for ghost in chaos.ghosts if ghost() is not None and ghost() is not getcurrent()),
            "timers": len(hub.timers),
            "listeners": len(hub.listeners),
            "registrations": len(hub.poller),
            "runnable": len(hub.ready),
            "fds": len(os.listdir("/proc/self/fd")) - fds,
        }
    json.dump({"did": chaos.did, "left": left}, sys.stdout)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
