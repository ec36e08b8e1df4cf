"""Pool: at most so many green threads at once.

    spawn --> a slot is free? --yes--> green thread --ends--> slot goes to the first who waits for one
                   `--no--> wait for one, first come first served

In:  functions. Out: GreenThreads (`spawn`), nothing (`spawn_n`), results in order (`imap`, `starmap`, GreenPile).
Never: a deadlock of the pool with itself: a green thread of a full pool that spawns into it runs the function on the spot.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from greenlet import GreenletExit, getcurrent

from greentrace.hub import instrument as _instrument
from greentrace.hub.event import Event
from greentrace.hub.greenthread import GreenThread, spawn
from greentrace.hub.instrument import KIND_POOL
from greentrace.hub.loop import get_hub
from greentrace.hub.queue import LightQueue
from greentrace.hub.semaphore import Semaphore


class _Slots(Semaphore):
    """The slots of a pool. Who holds one is the green thread in it, not the one that spawned it."""

    _kind = KIND_POOL

    def take(self) -> None:
        """Take a slot for a green thread that does not run yet."""
        if self.counter > 0:
            self.counter -= 1
        else:
            self._wait(True, None)

    def enter(self) -> None:
        """The current greenlet is in the slot that was taken for it."""
        observer = _instrument.observer
        if observer is not None:
            observer.acquire(self, self._kind)

    def give(self) -> None:
        """Give a slot back that nobody ever entered."""
        self._give()

    def resize(self, more: int) -> None:
        """Have so many more slots, or less: what is taken stays taken, and the counter goes below zero."""
        if more < 0:
            self.counter += more
        for _ in range(more):
            # Below zero the new slot only pays a debt.
            if self.counter < 0:
                self.counter += 1
            else:
                self._give()

    def _give(self) -> None:
        if self.counter < 0:
            self.counter += 1
        else:
            super()._give()


class GreenPool:
    """A pool of `size` slots."""

    def __init__(self, size: int = 1000) -> None:
        try:
            size = int(size)
        except (TypeError, ValueError) as error:
            raise TypeError(f"the size of a pool is a whole number, not {size!r}") from error
        if size < 0:
            raise ValueError(f"a pool cannot have {size} slots: 0 is the least")
        self.size = size
        self.coroutines_running: set[Any] = set()
        self._slots = _Slots(size)
        self._empty = Event()
        self._empty.send()

    def resize(self, new_size: int) -> None:
        """Change the number of slots. Nobody is stopped; with less slots it takes until enough have ended."""
        self._slots.resize(new_size - self.size)
        self.size = new_size

    def running(self) -> int:
        """How many green threads are in it."""
        return len(self.coroutines_running)

    def free(self) -> int:
        """How many slots are free. With none, or less, the next `spawn` waits."""
        return self._slots.counter

    def waiting(self) -> int:
        """How many green threads wait for a slot."""
        return max(0, min(self._slots.counter, 0) - self._slots.balance)

    def spawn(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> GreenThread:
        """Run the function in a slot; wait for one if none is free."""
        current = getcurrent()
        if self._slots.locked() and current in self.coroutines_running:
            # All slots are taken, one of them by the caller: to wait for a free one may be to wait for itself.
            thread = GreenThread(get_hub(), function, args, kwargs)
            thread.run_here()
            return thread
        self._slots.take()
        thread = spawn(self._in_slot, function, args, kwargs)
        thread.name = getattr(function, "__qualname__", repr(function))
        self._enter(thread)
        thread.link(self._leave)
        return thread

    def spawn_n(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """The same, without a result. An exception is printed."""
        if self._slots.locked() and getcurrent() in self.coroutines_running:
            _print_errors(function, args, kwargs)
        else:
            self.spawn(_print_errors, function, args, kwargs)

    def _in_slot(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._slots.enter()
        return function(*args, **kwargs)

    def _enter(self, thread: Any) -> None:
        if not self.coroutines_running:
            self._empty.reset()
        self.coroutines_running.add(thread)

    def _leave(self, thread: Any) -> None:
        self.coroutines_running.discard(thread)
        self._slots.release()
        if not self.coroutines_running:
            self._empty.send()

    def waitall(self) -> None:
        """Wait until the pool is empty. Raises AssertionError in one of its own green threads, where that never happens."""
        if getcurrent() in self.coroutines_running:
            raise AssertionError("waitall() was called in one of the pool's own green threads. It would wait for itself. Call it elsewhere.")
        self._empty.wait()

    def starmap(self, function: Callable[..., Any], iterable: Iterable[Iterable[Any]]) -> Iterator[Any]:
        """Call the function with each tuple of arguments, as many at once as there are slots; give the results in order."""
        results = GreenMap(self)
        spawn(_feed, results, function or _as_tuple, iterable)
        return results

    def imap(self, function: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Any]:
        """The same for one iterable an argument, as `map` has it."""
        return self.starmap(function, zip(*iterables, strict=False))


class GreenPile:
    """Tasks that are spawned one by one, and whose results are iterated over in the same order."""

    def __init__(self, size_or_pool: int | GreenPool = 1000) -> None:
        self.pool = size_or_pool if isinstance(size_or_pool, GreenPool) else GreenPool(size_or_pool)
        self.waiters = LightQueue()
        self.counter = 0

    def spawn(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run the function in the pool."""
        self.counter += 1
        try:
            self.waiters.put(self.pool.spawn(function, *args, **kwargs))
        except BaseException:
            self.counter -= 1
            raise

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Wait for the next result, or raise what that task raised."""
        if not self.counter:
            raise StopIteration
        return self._next()

    def _next(self) -> Any:
        try:
            return self.waiters.get().wait()
        finally:
            self.counter -= 1
