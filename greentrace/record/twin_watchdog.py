"""Watchdog of the Python recorder: tells who keeps a thread of the program, while it does, with its stack.

In:  the last turn of each thread that has a hub. Out: HOG events. Never: a signal that is handled here, or a thread that is left
when the process forks or ends. The native core has the same in native/watchdog.c; there it does without the GIL while all is
well. One long run is told again whenever it has become twice as long.
"""

from __future__ import annotations

import os
import signal
import sys
from time import monotonic_ns
from typing import TYPE_CHECKING

from greentrace.events import Kind, State
from greentrace.record.tables import Thread
from greentrace.record.twin_world import _native_id, native_lock, native_threads, whole

if TYPE_CHECKING:
    from greentrace.record.twin_world import World


class Watchdog:
    """One thread of ours, of the system's kind whoever has made threads green."""

    def __init__(self, world: World, limit_ns: int) -> None:
        self._world = world
        self._limit_ns = limit_ns
        self._pid = os.getpid()
        self._native_id = 0
        self._stop, self._done = native_lock(), native_lock()
        self._turn = world._turn
        self._pause = world._pause
        self._dead = world._dead

    def start(self) -> bool:
        """Begin; return False when the system gives no thread."""
        self._stop.acquire()
        self._done.acquire()
        before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            native_threads().start_new_thread(self._watch, ())
        except RuntimeError:
            self._done.release()
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return True

    def stop(self) -> None:
        """End it, and wait until the system has forgotten the thread."""
        if self._pid != os.getpid():
            return
        if self._stop.locked():
            self._stop.release()
        self._done.acquire(timeout=5)
        for _ in range(1000):
            if not self._native_id or not os.path.exists(f"/proc/self/task/{self._native_id}"):
                break
            self._pause.acquire(timeout=0.00002)

    def _watch(self) -> None:
        try:
            self._native_id = _native_id()
            while not self._stop.acquire(timeout=self._limit_ns / 4e9):
                now = monotonic_ns()
                for thread in list(self._world._threads.values()):
                    if self._is_overdue(thread, now):
                        self._tell(thread)
        finally:
            self._done.release()

    def _is_overdue(self, thread: Thread, now: int) -> bool:
        kind, since, greenlet = thread.turn
        # Of a hub that does not tell of its polls it is not known whether it works.
        if not since or not thread.hub or kind == Kind.POLL_BEGIN or (greenlet == thread.hub and not thread.polls):
            return False
        told, ns = thread.hog
        return now - since >= self._limit_ns and (since != told or now - since >= 2 * ns)

    @whole
    def _tell(self, thread: Thread) -> None:
        world, now = self._world, monotonic_ns()
        writer = world._writer
        if not world._recording or writer is None or not self._is_overdue(thread, now):
            return
        _, since, greenlet = thread.turn
        frame = sys._current_frames().get(thread.ident)
        newer = any(other.ident == thread.ident and other.index > thread.index for other in list(world._threads.values()))
        if frame is None or newer:
            # The thread is gone, and its number perhaps another's.
            thread.hub = 0
            return
        site = world._names.site(frame)
        del frame
        thread.hog = (since, now - since)
        waiting = (State.PARKED, State.RUNNABLE, State.CREATED)
        nodes = list(world._nodes.values())
        if any(n.thread == thread.index and n.number not in (greenlet, thread.hub) and n.state in waiting for n in nodes):
            if writer.head % writer.layout.generation_records == 0:
                world._keyframe(now)
            world._put(Kind.HOG, 0, now, thread.index, greenlet, 0, site, now - since)
