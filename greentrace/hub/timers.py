"""Timers: what is to happen at a moment.

A heap of (due, sequence, timer): the sequence keeps timers of one moment in the order in which they were armed. To cancel
a timer costs nothing but a mark: it stays in the heap, empty, until it comes to the top or until half of the heap is such
husks and is swept out at once, so that a hundred thousand armed and cancelled timeouts cost O(1) each.

In:  seconds of the hub's clock. Out: calls, in the hub's greenlet. Never: a timer that fires before its time, or twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from greentrace.hub import instrument as _instrument

_SWEEP_FROM = 64


class Timer:
    """One armed moment. `due` is in seconds of the hub's clock; `greenlet` is whom firing concerns, if anybody."""

    __slots__ = ("__weakref__", "_args", "_function", "_timers", "due", "greenlet")

    def __init__(
        self, timers: Timers, due: float, function: Callable[..., Any], args: tuple[Any, ...], greenlet: Any = None, throws: bool = False
    ) -> None:
        """Arm it. `throws` says to an observer that firing means an exception in `greenlet`."""
        self._timers: Timers | None = timers
        self._function: Callable[..., Any] | None = function
        self._args = args
        self.due = due
        self.greenlet = greenlet
        # One call for a timer, and not one each for the timer, its heap and its number: this is the path of every timeout.
        heappush(timers.heap, (due, next(timers.sequence), self))
        observer = _instrument.observer
        if observer is not None:
            observer.timer_add(self, int(min(due, 9e9) * 1e9), greenlet, throws)

    @property
    def pending(self) -> bool:
        """Whether it has neither fired nor been cancelled."""
        return self._function is not None

    def cancel(self) -> None:
        """Make sure that it does not fire from now on. To cancel a timer that has fired does nothing."""
        if self._function is None:
            return
        observer = _instrument.observer
        if observer is not None:
            observer.timer_cancel(self)
        self._function = self.greenlet = None
        self._args = ()
        timers = self._timers
        if timers is not None:
            timers.husks += 1
            if timers.husks > timers.most_husks:
                timers.sweep()

    def fire(self) -> None:
        """Do what it is for, unless it has been cancelled."""
        function, args = self._function, self._args
        if function is None:
            return
        observer = _instrument.observer
        if observer is not None:
            observer.timer_fire(self)
        self._function = self.greenlet = None
        self._args = ()
        function(*args)

    def __repr__(self) -> str:
        return f"<Timer due={self.due:.6f} {'pending' if self.pending else 'spent'}>"


class Timers:
    """All timers of one hub."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Timer]] = []
        self.sequence = count()
        self.husks = 0
        """How many in the heap are cancelled."""
        self.most_husks = _SWEEP_FROM
        """With more than so many it is time to look whether they are half of the heap."""

    def __len__(self) -> int:
        """How many are armed."""
        return len(self.heap) - self.husks

    def next_due(self) -> float | None:
        """Return when the next timer is due, None when there is none."""
        heap = self.heap
        while heap:
            due, _, timer = heap[0]
            if timer._function is not None:
                return due
            heappop(heap)
            self.husks -= 1
        return None

    def collect(self, now: float, ready: deque[Callable[[], Any]]) -> None:
        """Move the `fire` of every timer that is due to the end of `ready`."""
        heap = self.heap
        while heap and heap[0][0] <= now:
            timer = heappop(heap)[2]
            if timer._function is None:
                self.husks -= 1
            else:
                timer._timers = None
                ready.append(timer.fire)

    def sweep(self) -> None:
        """Throw the husks out, if they are half of the heap."""
        heap = self.heap
        if self.husks * 2 > len(heap):
            heap[:] = [entry for entry in heap if entry[2]._function is not None]
            heapify(heap)
            self.husks = 0
        self.most_husks = max(_SWEEP_FROM, len(heap) // 2)
