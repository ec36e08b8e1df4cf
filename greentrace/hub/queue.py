"""Queue: from those who make things to those who use them.

What is put goes straight into the hands of the first who waits for it; else it lies in the queue. What is taken makes room
for the first who waits to put. With maxsize 0 there is no room at all: every put waits for its get.

In:  items. Out: items, oldest first (LifoQueue: newest first; PriorityQueue: least first). maxsize None, or below 0, is no limit.
Never: an item that is lost because whoever got it was killed or timed out on its way back: it goes to the next, or back in.

Different from Eventlet: who waits to put is let in first come first served, and there in any order.
"""

from __future__ import annotations

import heapq
from collections import deque
from queue import Empty, Full
from typing import Any

from greentrace.hub import instrument as _instrument
from greentrace.hub.hubs import get_hub
from greentrace.hub.instrument import KIND_QUEUE, OP_GET, OP_JOIN, OP_PUT
from greentrace.hub.waiter import EXPIRED, Line


class LightQueue:
    """A queue without `task_done` and `join`."""

    def __init__(self, maxsize: int | None = None) -> None:
        self.maxsize = None if maxsize is None or maxsize < 0 else maxsize
        self._getters = Line()
        self._putters = Line()
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
        if self._getters.wake_first(item) is not None:
            self._was_put()
        elif self.maxsize is None or len(self.queue) < self.maxsize:
            self._was_put()
            self._put(item)
        elif not block or self._putters.wait(get_hub(), OP_PUT, self, KIND_QUEUE, timeout, offer=item) is EXPIRED:
            raise Full
        observer = _instrument.observer
        if observer is not None:
            observer.put(self, len(self.queue))

    def _was_put(self) -> None:
        """One more item is in, or with whoever waited for it: for a subclass that counts."""

    def put_nowait(self, item: Any) -> None:
        self.put(item, False)

    # ---- get

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an item out; wait for one if there is none. Raises Empty when there was none at once, or for `timeout` seconds."""
        if len(self.queue):
            item = self._get()
            self._admit()
        else:
            putter = self._putters.wake_first()
            if putter is not None:
                # No room to lie in: from hand to hand. It goes through the store for the sake of a subclass.
                self._was_put()
                self._put(putter.offer)
                item = self._get()
            elif not block:
                raise Empty
            else:
                item = self._getters.wait(get_hub(), OP_GET, self, KIND_QUEUE, timeout, self._not_wanted)
                if item is EXPIRED:
                    raise Empty
        observer = _instrument.observer
        if observer is not None:
            observer.get(self, len(self.queue))
        return item

    def _not_wanted(self, item: Any) -> None:
        if self._getters.wake_first(item) is None:
            self._put_back(item)

    def _admit(self) -> None:
        """Let in as many of those who wait to put as there is room for."""
        while self.maxsize is None or len(self.queue) < self.maxsize:
            putter = self._putters.wake_first()
            if putter is None:
                return
            self._was_put()
            self._put(putter.offer)

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
        self._joiners = Line()

    def _was_put(self) -> None:
        self.unfinished_tasks += 1

    def task_done(self) -> None:
        """One item that was taken is dealt with. Raises ValueError when more are said to be than were put."""
        if self.unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self.unfinished_tasks -= 1
        if not self.unfinished_tasks:
            self._joiners.wake_all()

    def join(self) -> None:
        """Wait until every item is dealt with."""
        if self.unfinished_tasks:
            self._joiners.wait(get_hub(), OP_JOIN, self, KIND_QUEUE)


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
