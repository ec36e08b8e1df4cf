"""Semaphore: so many may pass, the others stand in line.

A released permit is handed to the first in line before it even runs again: whoever comes meanwhile finds the counter at 0 and
stands in line behind. So the order of service is the order of arrival, and nobody starves.

       release                      counter = 1           release, line = [a, b]
    counter += 1  <-- line empty                       a owns the permit, line = [b], counter stays 0

In:  green threads of one OS thread. Out: the same, one after the other. Never: a permit that is lost because whoever got it was
killed or timed out on its way back; it goes to the next in line.

    Semaphore           a counter
    ├── BoundedSemaphore    ValueError when released too often
    └── Lock                a counter of one; RuntimeError when released unlocked
        └── RLock           its owner may take it again
"""

from __future__ import annotations

from typing import Any

from greenlet import getcurrent

from greentrace.hub import instrument as _instrument
from greentrace.hub.hubs import get_hub
from greentrace.hub.instrument import KIND_LOCK, KIND_RLOCK, KIND_SEMAPHORE, OP_ACQUIRE
from greentrace.hub.waiter import EXPIRED, Line


class Semaphore:
    """`value` permits, 1 unless said otherwise. A context manager."""

    _kind = KIND_SEMAPHORE

    def __init__(self, value: int = 1) -> None:
        try:
            value = int(value)
        except ValueError as error:
            raise TypeError(f"a semaphore counts in whole numbers, not in {value!r}") from error
        if value < 0:
            raise ValueError(f"a semaphore cannot begin at {value}: 0 is the least")
        self.counter = value
        self._line = Line()
        observer = _instrument.observer
        if observer is not None:
            observer.resource(self, self._kind, value)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit; wait for one if there is none. False when it could not be had at once, or in `timeout` seconds.

        A timeout of -1 is none. Raises ValueError for another negative one, and for one that comes with blocking=False.
        """
        if self.counter > 0:
            self.counter -= 1
        elif not self._wait(blocking, timeout):
            return False
        observer = _instrument.observer
        if observer is not None:
            observer.acquire(self, self._kind)
        return True

    def _wait(self, blocking: bool, timeout: float | None) -> bool:
        if timeout == -1:
            timeout = None
        if timeout is not None:
            if timeout < 0:
                raise ValueError(f"a timeout of {timeout} seconds has no meaning; -1 and None wait for ever")
            if not blocking:
                raise ValueError("who does not wait cannot give a timeout")
        if not blocking:
            return False
        return self._line.wait(get_hub(), OP_ACQUIRE, self, self._kind, timeout, self._give) is not EXPIRED

    def release(self, blocking: bool = True) -> bool:
        """Give a permit back, to the first in line if there is one. `blocking` is there for Eventlet's sake."""
        observer = _instrument.observer
        if observer is not None:
            observer.release(self, self._kind)
        self._give()
        return True

    def _give(self, _: Any = None) -> None:
        if self._line.wake_first() is None:
            self.counter += 1

    def __enter__(self) -> Any:
        self.acquire()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.release()

    def locked(self) -> bool:
        """Whether `acquire` would have to wait."""
        return self.counter <= 0

    def bounded(self) -> bool:
        """False; Eventlet has it for its CappedSemaphore, which is not here."""
        return False

    @property
    def balance(self) -> int:
        """The permits that are left, or, below zero, how many wait for one."""
        return self.counter - len(self._line)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} counter={self.counter} waiting={len(self._line)}>"


class BoundedSemaphore(Semaphore):
    """A semaphore that can never have more permits than it began with."""

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self.original_counter = self.counter

    def release(self, blocking: bool = True) -> bool:
        if self.counter >= self.original_counter:
            raise ValueError("Semaphore released too many times")
        return super().release(blocking)


class Lock(Semaphore):
    """One at a time. Who releases it need not be who has it."""

    _kind = KIND_LOCK

    def __init__(self) -> None:
        super().__init__(1)

    def release(self, blocking: bool = True) -> bool:
        if self.counter > 0:
            raise RuntimeError("release unlocked lock")
        return super().release(blocking)

    # ---- for a Condition

    def is_mine(self) -> bool:
        """Whether the current greenlet may be the one that has it; of a plain lock nobody knows."""
        return self.locked()

    def release_all(self) -> int:
        """Give it back altogether. Return how often it was taken."""
        self.release()
        return 1

    def acquire_again(self, depth: int) -> None:
        """Take it as often as it was taken before."""
        for _ in range(depth):
            self.acquire()


class RLock(Lock):
    """A lock that its owner may take again; it is free after as many releases."""

    _kind = KIND_RLOCK

    def __init__(self) -> None:
        super().__init__()
        self._owner: Any = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        current = getcurrent()
        if self._owner is current:
            self._depth += 1
            observer = _instrument.observer
            if observer is not None:
                observer.acquire(self, self._kind)
            return True
        if not super().acquire(blocking, timeout):
            return False
        self._owner = current
        self._depth = 1
        return True

    def release(self, blocking: bool = True) -> bool:
        if self._owner is not getcurrent():
            raise RuntimeError("cannot release un-acquired lock")
        self._depth -= 1
        if not self._depth:
            self._owner = None
            return super().release(blocking)
        observer = _instrument.observer
        if observer is not None:
            observer.release(self, self._kind)
        return True

    def is_mine(self) -> bool:
        return self._owner is getcurrent()

    def release_all(self) -> int:
        depth = self._depth
        for _ in range(depth):
            self.release()
        return depth
