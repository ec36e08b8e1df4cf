"""Pool: at most so many green threads at once.

    spawn --> a slot is free? --yes--> green thread --ends--> slot goes to the first who waits for one
                   `--no--> wait for one, first come first served

In:  functions. Out: GreenThreads (`spawn`), nothing (`spawn_n`), results in order (`imap`, `starmap`, GreenPile).
Never: a deadlock of the pool with itself: a green thread of a full pool that spawns into it runs the function on the spot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from greenlet import getcurrent

from greentrace.hub import instrument as _instrument
from greentrace.hub.greenthread import GreenThread, spawn
from greentrace.hub.hubs import get_hub
from greentrace.hub.instrument import KIND_POOL, OP_JOIN
from greentrace.hub.loop import Hub
from greentrace.hub.queue import LightQueue
from greentrace.hub.semaphore import Semaphore
from greentrace.hub.waiter import Line


class _Slots(Semaphore):
    """The slots of a pool. Who holds one is the green thread in it, not the one that spawned it."""

    _kind = KIND_POOL

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._size = size

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

    def give(self, _: Any = None) -> None:
        """Give a slot back; while there are more taken than there should be, nobody gets it."""
        if self.counter < 0:
            self.counter += 1
        else:
            super()._give()

    _give = give

    def resize(self, more: int) -> None:
        """Have so many more slots. With less, what is taken stays taken: the counter goes below zero."""
        for _ in range(more):
            self.give()
        self.counter += min(more, 0)
        self._size += more
        observer = _instrument.observer
        if observer is not None:
            observer.resource(self, self._kind, self._size)


class _Member(GreenThread):
    """A green thread in a slot of a pool."""

    __slots__ = ("_entered", "_pool")

    def __init__(self, pool: GreenPool, hub: Hub, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(hub, function, args, kwargs)
        self._pool = pool
        self._entered = False

    def run(self) -> Any:
        self._entered = True
        self._pool._slots.enter()
        return super().run()

    def _finish(self, result: Any, error: BaseException | None) -> None:
        # First the slot, then the links: they may want one.
        self._pool._left(self, self._entered)
        super()._finish(result, error)


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
        self._idle = Line()

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
        return len(self._slots._line)

    def spawn(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> GreenThread:
        """Run the function in a slot; wait for one if none is free."""
        hub = get_hub()
        if self._slots.locked() and getcurrent() in self.coroutines_running:
            # All slots are taken, one of them by the caller: to wait for a free one may be to wait for itself.
            return GreenThread(hub, function, args, kwargs).run_here()
        self._slots.take()
        member = _Member(self, hub, function, args, kwargs)
        self.coroutines_running.add(member)
        return member.start()

    def spawn_n(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """The same, without a result. An exception is printed."""
        self.spawn(function, *args, **kwargs)

    def _left(self, member: Any, entered: bool) -> None:
        self.coroutines_running.discard(member)
        if entered:
            self._slots.release()
        else:
            # It was killed before it began.
            self._slots.give()
        if not self.coroutines_running:
            self._idle.wake_all()

    def waitall(self) -> None:
        """Wait until the pool is empty. Raises AssertionError in one of its own green threads, where that never happens."""
        if getcurrent() in self.coroutines_running:
            raise AssertionError("waitall() was called in a green thread of the pool. It would wait for itself. Call it elsewhere.")
        while self.coroutines_running:
            self._idle.wait(get_hub(), OP_JOIN, self._slots, KIND_POOL)

    def starmap(self, function: Callable[..., Any], iterable: Iterable[Iterable[Any]]) -> Iterator[Any]:
        """Call the function with each tuple of arguments, as many at once as there are slots; give the results in order.

        The calls have slots of their own, so that even a full pool's green thread can do this.
        """
        results = GreenMap(self.size)
        spawn(results.feed, function, iterable)
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

    def spawn(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
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
        try:
            return self.waiters.get().wait()
        finally:
            self.counter -= 1

    def next(self) -> Any:
        """The same, by Eventlet's name."""
        return self.__next__()


class GreenMap(GreenPile):
    """The results of a map: another green thread spawns, and waits when nobody takes the results."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.waiters = LightQueue(size)
        self._end: BaseException | None = None

    def feed(self, function: Callable[..., Any] | None, iterable: Iterable[Iterable[Any]]) -> None:
        """Spawn everything; an exception of the iterable comes out where the results are taken."""
        end: BaseException = StopIteration()
        try:
            for args in iterable:
                self.spawn(function or _as_tuple, *args)
        except Exception as error:
            end = error
        self.waiters.put(end)

    def __next__(self) -> Any:
        if self._end is not None:
            raise StopIteration
        next_one = self.waiters.get()
        if isinstance(next_one, GreenThread):
            return next_one.wait()
        self._end = next_one
        raise next_one


def _as_tuple(*args: Any) -> tuple[Any, ...]:
    return args
