"""Waiter: one wait of one green thread.

Every primitive keeps a line of waiters, first come first served, and hands what it has to the first: the lock, the item,
the result. From then on it is theirs; nobody can overtake them on their way back.

    who waits                                who wakes
    waiter = Waiter(hub)
    line.append(waiter)
    waiter.wait(...)  --> hub
                                             line.popleft().wake(value)     False: too late, take the next one
    value         <-- hub

A wait ends once: by a wake-up, by the time given to `wait`, or by an exception thrown in (a Timeout, a kill). When the
exception comes after the wake-up, the waiter has been given something that it will not use, and whoever wrote the wait
passes it on to the next in line: `was_given` tells. Else they take the waiter out of their line.

In:  a green thread that has nothing to do. Out: the same, with a value. Never: a switch without a cause; whoever else switches
to the green thread only makes it look again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from greentrace.hub import instrument as _instrument

if TYPE_CHECKING:
    from greentrace.hub.loop import Hub


class _Expired:
    """The value of a waiter that waited in vain."""

    def __repr__(self) -> str:
        return "EXPIRED"


EXPIRED = _Expired()


class Waiter:
    """One wait of the current greenlet, made before it joins a line."""

    __slots__ = ("greenlet", "hub", "value", "woken")

    def __init__(self, hub: Hub) -> None:
        self.greenlet = getcurrent()
        if self.greenlet is hub.greenlet:
            raise RuntimeError("A function that the hub calls must not wait. Nothing was switched. Spawn a green thread for what waits.")
        self.hub = hub
        self.woken = False
        self.value: Any = None

    @property
    def was_given(self) -> bool:
        """Whether somebody woke it, and not its own time limit."""
        return self.woken and self.value is not EXPIRED

    def wake(self, value: Any = None) -> bool:
        """Make the green thread runnable, with a value. False when its wait has been ended by something else."""
        if self.woken:
            return False
        observer = _instrument.observer
        if observer is not None:
            observer.wake(self.greenlet)
        self.wake_silently(value)
        return True

    def wake_silently(self, value: Any = None) -> None:
        """The same for one who is known to wait, and whose observer knows already."""
        self.woken = True
        self.value = value
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
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if observer is not None:
                observer.unpark()
        return self.value
