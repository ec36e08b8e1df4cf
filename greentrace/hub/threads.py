"""Threads: calls that cannot wait in a friendly manner are made in an OS thread, and the hub goes on meanwhile.

    green thread --execute(f)--> line of jobs --> one of a few OS threads: f()
         ^                                                |
         `---- wakes its waiter, alarms its hub <---------'

In:  functions that block: getaddrinfo, a read of a file. Out: what they return or raise, in the green thread that asked.
Never: more than SIZE threads, nor one before the first call. They are daemons: a program does not wait for them to end.
A job that calls `execute` itself goes on in its own thread, so that jobs do not wait for each other's threads.
A green thread that is killed while it waits does not stop its function; the result is thrown away.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from greentrace.hub.hubs import get_hub
from greentrace.hub.instrument import KIND_THREAD, OP_WAIT
from greentrace.hub.waiter import Waiter

SIZE = int(os.environ.get("GREENTRACE_THREADPOOL_SIZE", "20"))
"""The most threads that work at once."""


_local = threading.local()


class _Pool:
    """Jobs and the threads that do them."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Waiter, Callable[[], Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._waiting = 0

    def submit(self, waiter: Waiter, job: Callable[[], Any]) -> None:
        with self._lock:
            self._waiting += 1
            new = self._waiting > self._idle and self._threads < SIZE
            self._threads += new
        self._jobs.put((waiter, job))
        if new:
            threading.Thread(target=self._work, name="greentrace.hub.threads", daemon=True).start()

    def _work(self) -> None:
        _local.works = True
        while True:
            with self._lock:
                self._idle += 1
            waiter, job = self._jobs.get()
            with self._lock:
                self._idle -= 1
                self._waiting -= 1
            try:
                answer: tuple[Any, BaseException | None] = (job(), None)
            except BaseException as error:
                answer = (None, error)
            waiter.wake(answer)
            # Between two jobs a thread holds nothing of the last one.
            del waiter, job, answer


_pool = _Pool()


def execute(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call the function in an OS thread while other green threads run. Return what it returns, raise what it raises."""
    if SIZE <= 0 or getattr(_local, "works", False):
        return function(*args, **kwargs)
    waiter = Waiter(get_hub())
    _pool.submit(waiter, lambda: function(*args, **kwargs))
    result, error = waiter.wait(OP_WAIT, None, KIND_THREAD)
    if error is not None:
        raise error
    return result


def _in_the_child() -> None:
    # The threads stayed in the parent, with whatever they were doing.
    global _pool
    _pool = _Pool()


os.register_at_fork(after_in_child=_in_the_child)
