"""Timers: what is to happen at a moment.

A heap of (due, sequence, timer): the sequence keeps timers of one moment in the order in which they were armed. To cancel
a timer costs nothing but a mark: it stays in the heap, empty, until it comes to the top or until half of the heap is such
husks and is swept out at once, so that a hundred thousand armed and cancelled timeouts cost O(1) each.

In:  seconds of the hub's clock. Out: calls, in the hub's greenlet. Never: a timer that fires before its time, or twice.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from greentrace.hub import instrument as _instrument

_SWEEP_FROM = 64


class Timer:
    """One armed moment. `due` is in seconds of the hub's clock; `greenlet` is whom firing concerns, if anybody."""

    __slots__ = ("__weakref__", "_function", "_heap", "args", "due", "greenlet")

    def __init__(self, heap: Timers, due: float, function: Callable[..., Any], args: tuple[Any, ...], greenlet: Any) -> None:
        self._heap = heap
        self._function: Callable[..., Any] | None = function
        self.due = due
        self.args = args
        self.greenlet = greenlet

    @property
    def pending(self) -> bool:
        """Whether it has neither fired nor been cancelled."""
        return self._function is not None

    @property
    def called(self) -> bool:
        """Eventlet's word for the opposite of `pending`."""
        return self._function is None

    def cancel(self) -> None:
        """Make sure that it does not fire from now on. To cancel a timer that has fired does nothing."""
        if self._function is None:
            return
        self._empty()
        observer = _instrument.observer
        if observer is not None:
            observer.timer_cancel(self)
        heap = self._heap
        heap.husks += 1
        if heap.husks * 2 > len(heap.heap) > _SWEEP_FROM:
            heap.sweep()

    def fire(self) -> None:
        function, args = self._function, self.args
        if function is None:
            return
        self._empty(keep_greenlet=True)
        observer = _instrument.observer
        if observer is not None:
            observer.timer_fire(self)
        self.greenlet = None
        function(*args)

    def _empty(self, keep_greenlet: bool = False) -> None:
        self._function = None
        self.args = ()
        if not keep_greenlet:
            self.greenlet = None

    def __repr__(self) -> str:
        return f"<Timer due={self.due:.6f} {'pending' if self.pending else 'spent'}>"


class Timers:
    """All timers of one hub."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Timer]] = []
        self.husks = 0
        self._sequence = 0

    def __len__(self) -> int:
        """How many are armed."""
        return len(self.heap) - self.husks

    def add(self, due: float, function: Callable[..., Any], args: tuple[Any, ...] = (), greenlet: Any = None, throws: bool = False) -> Timer:
        """Arm a timer. `throws` says to an observer that firing means an exception in `greenlet`."""
        timer = Timer(self, due, function, args, greenlet)
        self._sequence += 1
        heappush(self.heap, (due, self._sequence, timer))
        observer = _instrument.observer
        if observer is not None:
            observer.timer_add(timer, int(due * 1e9), greenlet, throws)
        return timer

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

    def fire(self, now: float) -> None:
        """Fire what is due. A timer armed meanwhile waits for the next call, were it due already: no turn is endless.

        When one raises, the exception goes out and the others stay armed.
        """
        heap, last = self.heap, self._sequence
        late: list[tuple[float, int, Timer]] = []
        try:
            while heap and heap[0][0] <= now:
                entry = heappop(heap)
                if entry[2]._function is None:
                    self.husks -= 1
                elif entry[1] > last:
                    late.append(entry)
                else:
                    entry[2].fire()
        finally:
            for entry in late:
                heappush(heap, entry)

    def sweep(self) -> None:
        """Throw the cancelled ones out."""
        self.heap[:] = [entry for entry in self.heap if entry[2]._function is not None]
        heapify(self.heap)
        self.husks = 0
