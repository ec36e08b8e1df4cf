"""Condition: wait until something that a lock protects has changed.

    with condition:                         with condition:
        while not enough():                     make_more()
            condition.wait()                    condition.notify()

In:  a Lock or RLock, its own RLock if none is given; the interface is that of `threading.Condition`.
Out: the first in line, woken, with the lock in its hands again. Never: a notification that is lost with whoever was killed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greentrace.hub import instrument as _instrument
from greentrace.hub.hubs import get_hub
from greentrace.hub.instrument import KIND_CONDITION, OP_WAIT
from greentrace.hub.semaphore import Lock, RLock
from greentrace.hub.waiter import EXPIRED, Line


class Condition:
    """A line of those who wait for a change, beside a lock."""

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = RLock() if lock is None else lock
        self._line = Line()
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        observer = _instrument.observer
        if observer is not None:
            observer.resource(self, KIND_CONDITION, -1)

    def __enter__(self) -> Condition:
        self.acquire()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, wait to be notified, take the lock again. False when `timeout` seconds were over first.

        Raises RuntimeError for whoever has not the lock.
        """
        self._check()
        depth = self._lock.release_all()
        try:
            value = self._line.wait(get_hub(), OP_WAIT, self, KIND_CONDITION, timeout, self._pass_on)
        finally:
            self._lock.acquire_again(depth)
        return value is not EXPIRED

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until the predicate is true, and return what it returned last."""
        clock = get_hub().clock
        end = None if timeout is None else clock() + timeout
        result = predicate()
        while not result:
            left = None if end is None else end - clock()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake the first `n` in line. They go on when the lock is theirs. Raises RuntimeError for whoever has not the lock."""
        self._check()
        for _ in range(n):
            if self._line.wake_first() is None:
                return

    def notify_all(self) -> None:
        """Wake everybody in line."""
        self._check()
        self._line.wake_all()

    def _check(self) -> None:
        if not self._lock.is_mine():
            raise RuntimeError("A condition is used with its lock in hand. Nothing was done. Write `with condition:` around it.")

    def _pass_on(self, _: Any) -> None:
        self._line.wake_first()
