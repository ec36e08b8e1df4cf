"""Waiter: one wait of one green thread, and the line in which it stands.

Every primitive keeps a line of waiters, first come first served, and hands what it has to the first: the permit, the item,
the result. From then on it is theirs; nobody can overtake them on their way back.

    who waits                              who wakes
    line.wait(...) --> hub
                                           line.wake_first(value)     None: nobody is there, keep it
    value         <--- hub

A wait ends once: by a wake-up, when its time is over, or by an exception thrown in (a Timeout, a kill). When the exception
comes after the wake-up, the waiter has been given something that it will not use: it goes to `give_back`.

In:  a green thread that has nothing to do. Out: the same, with a value. Never: a wait that ends without a cause; whoever else
switches to the green thread only makes it look again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from greentrace.hub import instrument as _instrument

if TYPE_CHECKING:
    from greentrace.hub.loop import Hub


class _Expired:
    """The value of a waiter whose time is over."""

    def __repr__(self) -> str:
        return "EXPIRED"


EXPIRED = _Expired()


class Waiter:
    """One wait of the current greenlet. `offer` is what it brings along: the item of a put."""

    __slots__ = ("greenlet", "hub", "offer", "value", "woken")

    def __init__(self, hub: Hub, offer: Any = None) -> None:
        self.greenlet = getcurrent()
        if self.greenlet is hub.greenlet:
            raise RuntimeError("A function that the hub calls must not wait. Nothing was switched. Spawn a green thread for what waits.")
        self.hub = hub
        self.offer = offer
        self.value: Any = None
        self.woken = False

    def wake(self, value: Any = None) -> bool:
        """Make the green thread runnable, with a value. False when its wait has been ended by something else."""
        if self.woken:
            return False
        observer = _instrument.observer
        if observer is not None:
            observer.wake(self.greenlet)
        self.resume(value)
        return True

    def resume(self, value: Any = None) -> None:
        """The same, when it is known to wait and the observer knows already."""
        # In this order: whoever is woken from another thread may look before the line after this one has run.
        self.value = value
        self.woken = True
        hub = self.hub
        hub.ready.append(self.greenlet.switch)
        if hub.polling:
            hub.poller.alarm()

    def wait(self, op: int, resource: Any, kind: int, seconds: float | None = None) -> Any:
        """Give the thread away until woken, at most so many seconds. Return the value, or EXPIRED.

        `op`, `resource` and `kind` say to an observer what for.
        """
        hub = self.hub
        observer = _instrument.observer
        if observer is not None:
            observer.park(op, resource, kind)
        timer = None if seconds is None else hub.call_later(seconds, self.wake, EXPIRED, concerning=self.greenlet)
        try:
            while not self.woken:
                hub.switch()
        except BaseException:
            if self.woken:
                hub.withdraw(self.greenlet.switch)
            else:
                # Whoever comes to wake it now is too late.
                self.woken = True
                self.value = EXPIRED
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if observer is not None:
                observer.unpark()
        return self.value


class Line:
    """Those who wait for one thing, in the order in which they came."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        # Most lines never see anybody.
        self._waiters: deque[Waiter] | None = None

    def __len__(self) -> int:
        return len(self._waiters or ())

    def wait(
        self,
        hub: Hub,
        op: int,
        resource: Any,
        kind: int,
        seconds: float | None = None,
        give_back: Callable[[Any], object] | None = None,
        offer: Any = None,
    ) -> Any:
        """Let the current greenlet stand in line. Return what it was given, or EXPIRED after so many seconds."""
        waiter = Waiter(hub, offer)
        if self._waiters is None:
            self._waiters = deque()
        self._waiters.append(waiter)
        try:
            value = waiter.wait(op, resource, kind, seconds)
        except BaseException:
            if waiter.value is EXPIRED:
                self._leave(waiter)
            elif give_back is not None:
                give_back(waiter.value)
            raise
        if value is EXPIRED:
            self._leave(waiter)
        return value

    def _leave(self, waiter: Waiter) -> None:
        try:
            self._waiters.remove(waiter)  # type: ignore[union-attr]
        except ValueError:
            # Somebody met it in line after its time was over, and has gone on to the next.
            pass

    def wake_first(self, value: Any = None) -> Waiter | None:
        """Give the value to the first in line, and return that waiter; None when there is nobody."""
        waiters = self._waiters
        while waiters:
            waiter = waiters.popleft()
            if waiter.wake(value):
                return waiter
        return None

    def wake_all(self, value: Any = None) -> None:
        """Give the value to everybody who is in line now."""
        waiters = self._waiters
        for _ in range(len(waiters or ())):
            waiters.popleft().wake(value)  # type: ignore[union-attr]
