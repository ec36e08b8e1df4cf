"""Queue: from those who make things to those who use them.

What is put goes straight into the hands of the first who waits for it; else it lies in the queue. What is taken makes room
for the first who waits to put. With maxsize 0 there is no room at all: every put waits for its get.

In:  items. Out: items, oldest first (LifoQueue: newest first; PriorityQueue: least first). maxsize None, or below 0, is no limit.
Never: an item that is lost because whoever got it was killed or timed out on its way back: it goes to the next, or back in.
"""

from __future__ import annotations

import heapq
from collections import deque
from queue import Empty, Full
from typing import Any

from greentrace.hub import instrument as _instrument
from greentrace.hub.instrument import KIND_QUEUE, OP_GET, OP_JOIN, OP_PUT
from greentrace.hub.loop import get_hub
from greentrace.hub.waiter import EXPIRED, Waiter


class _Putter(Waiter):
    """Somebody who waits until there is room for its item."""

    __slots__ = ("item",)


class LightQueue:
    """A queue without `task_done` and `join`."""

    def __init__(self, maxsize: int | None = None) -> None:
        self.maxsize = None if maxsize is None or maxsize < 0 else maxsize
        self._getters: deque[Waiter] = deque()
        self._putters: deque[_Putter] = deque()
        self._init(maxsize)
        observer = _instrument.observer
        if observer is not None:
            observer.resource(self, KIND_QUEUE, -1 if self.maxsize is None else self.maxsize)

    # ---- the store: what a subclass may order differently

    def _init(self, maxsize: int | None) -> None:
        self.queue: Any = deque()

    def _put(self, item: Any) -> None:
        self.queue.append(item)

    def _get(self) -> Any:
        return self.queue.popleft()

    def _put_back(self, item: Any) -> None:
        self.queue.appendleft(item)

    # ---- put

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item in; wait for room if there is none. Raises Full when there was none at once, or for `timeout` seconds."""
        if self._hand_over(item):
            self._was_put()
        elif self.maxsize is None or len(self.queue) < self.maxsize:
            self._was_put()
            self._put(item)
        elif not block:
            raise Full
        else:
            self._wait_to_put(item, timeout)
        observer = _instrument.observer
        if observer is not None:
            observer.put(self, len(self.queue))

    def _was_put(self) -> None:
        """One more item is in, or with whoever waited for it: for a subclass that counts."""

    def _hand_over(self, item: Any) -> bool:
        getters = self._getters
        while getters:
            if getters.popleft().wake(item):
                return True
        return False

    def _wait_to_put(self, item: Any, timeout: float | None) -> None:
        putter = _Putter(get_hub())
        putter.item = item
        self._putters.append(putter)
        try:
            value = putter.wait(OP_PUT, self, KIND_QUEUE, timeout)
        except BaseException:
            # If it was woken, its item is in already.
            if putter in self._putters:
                self._putters.remove(putter)
            raise
        if value is EXPIRED:
            if putter in self._putters:
                self._putters.remove(putter)
            raise Full

    def put_nowait(self, item: Any) -> None:
        self.put(item, False)

    # ---- get

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an item out; wait for one if there is none. Raises Empty when there was none at once, or for `timeout` seconds."""
        if len(self.queue):
            item = self._get()
            self._admit()
        else:
            putter = self._next_putter()
            if putter is not None:
                # No room to lie in: from hand to hand. It goes through the store for the sake of a subclass.
                self._put(putter.item)
                item = self._get()
            elif not block:
                raise Empty
            else:
                item = self._wait_to_get(timeout)
        observer = _instrument.observer
        if observer is not None:
            observer.get(self, len(self.queue))
        return item

    def _wait_to_get(self, timeout: float | None) -> Any:
        getter = Waiter(get_hub())
        self._getters.append(getter)
        try:
            item = getter.wait(OP_GET, self, KIND_QUEUE, timeout)
        except BaseException:
            if getter.was_given:
                if not self._hand_over(getter.value):
                    self._put_back(getter.value)
            elif getter in self._getters:
                self._getters.remove(getter)
            raise
        if item is EXPIRED:
            if getter in self._getters:
                self._getters.remove(getter)
            raise Empty
        return item

    def _next_putter(self) -> _Putter | None:
        while self._putters:
            putter = self._putters.popleft()
            if putter.wake():
                self._was_put()
                return putter
        return None

    def _admit(self) -> None:
        """Let in as many of those who wait to put as there is room for."""
        while self._putters and (self.maxsize is None or len(self.queue) < self.maxsize):
            putter = self._next_putter()
            if putter is not None:
                self._put(putter.item)

    def get_nowait(self) -> Any:
        return self.get(False)

    # ---- questions

    def qsize(self) -> int:
        """How many items lie in it."""
        return len(self.queue)

    def empty(self) -> bool:
        return not self.queue

    def full(self) -> bool:
        """Whether a put would have to wait. Without a limit it never is."""
        return self.maxsize is not None and len(self.queue) >= self.maxsize

    def getting(self) -> int:
        """How many green threads wait for an item."""
        return len(self._getters)

    def putting(self) -> int:
        """How many green threads wait for room."""
        return len(self._putters)

    def resize(self, size: int | None) -> None:
        """Set another maxsize. What lies in it stays, were it too much."""
        self.maxsize = None if size is None or size < 0 else size
        self._admit()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} at {id(self):#x} maxsize={self.maxsize} items={len(self.queue)} "
            f"getting={len(self._getters)} putting={len(self._putters)}>"
        )


class Queue(LightQueue):
    """A queue that knows when everything that was ever put has been dealt with."""

    def __init__(self, maxsize: int | None = None) -> None:
        super().__init__(maxsize)
        self.unfinished_tasks = 0
        self._joiners: deque[Waiter] = deque()

    def _was_put(self) -> None:
        self.unfinished_tasks += 1

    def task_done(self) -> None:
        """One item that was taken is dealt with. Raises ValueError when more are said to be than were put."""
        if self.unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self.unfinished_tasks -= 1
        if not self.unfinished_tasks:
            while self._joiners:
                self._joiners.popleft().wake()

    def join(self) -> None:
        """Wait until every item is dealt with."""
        if not self.unfinished_tasks:
            return
        joiner = Waiter(get_hub())
        self._joiners.append(joiner)
        try:
            joiner.wait(OP_JOIN, self, KIND_QUEUE)
        except BaseException:
            if joiner in self._joiners:
                self._joiners.remove(joiner)
            raise


class LifoQueue(Queue):
    """The newest first."""

    def _init(self, maxsize: int | None) -> None:
        self.queue = []

    def _get(self) -> Any:
        return self.queue.pop()

    def _put_back(self, item: Any) -> None:
        self.queue.append(item)


class PriorityQueue(Queue):
    """The least first."""

    def _init(self, maxsize: int | None) -> None:
        self.queue = []

    def _put(self, item: Any) -> None:
        heapq.heappush(self.queue, item)

    def _get(self) -> Any:
        return heapq.heappop(self.queue)

    _put_back = _put
