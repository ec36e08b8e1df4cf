"""Threads: recording begins and ends in every thread that has greenlets, whichever thread asks for it.

greenlet.settrace speaks for its own thread alone. These ways lead into another one, and each is taken where the one before is not there:

    1. the core writes the tracer where greenlet keeps it (native/others.c, twin_others.py): at once, no switch is missed
    2. a gevent hub is asked to call us in its own thread: as soon as its loop turns
    3. a profile function that runs once, at that thread's next call, and puts back whatever profiler was there (profile_once.py)

and at the end, where even the first is not there: our trace function takes itself out at that thread's next switch.

In:  a recorder. Out: the names of what could not be reached, which is inert then.
Never: a switch, a function that somebody may have patched, or a wait for another thread that is not short and bounded: this
runs in whatever greenlet is current, and that may be a hub.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import greenlet

from greentrace.record.recorder import Recorder
from greentrace.record.runtimes import gevent

WAIT_SECONDS = 0.05
"""How long the end may take to be heard in the loops of other threads."""


def _has_other_threads() -> bool:
    return len(sys._current_frames()) > 1


def _main() -> Any:
    g = greenlet.getcurrent()
    while g.parent is not None:
        g = g.parent
    return g


def _others(recorder: Recorder) -> tuple[list[Any], list[Any]]:
    """Return the main greenlets of the other threads (some of which may have ended) and all of gevent's hubs."""
    hubs = gevent.hub_types()
    found = recorder.instances((greenlet.greenlet, *hubs))
    me = _main()
    mains = [g for g in found if type(g) is greenlet.greenlet and g is not me and g.parent is None]
    return mains, [g for g in found if isinstance(g, hubs)] if hubs else []


def start_threads(recorder: Recorder) -> None:
    """Trace the switches of every thread that has greenlets, and the polls of every gevent hub; the own thread is traced already."""
    hub = gevent.own_hub()
    if hub is not None:
        gevent.watch_polls(hub)
    if not _has_other_threads():
        return
    late = False
    mains, hubs = _others(recorder)
    for g in mains:
        late |= recorder.start_other(g) is None
    if late:
        # It brings ctypes along, which nobody else needs.
        from greentrace.record import profile_once

        profile_once.install(recorder.start_thread)
    for each in hubs:
        if each is not hub:
            gevent.watch_polls_from_outside(each, recorder.start_thread)


def stop_threads(recorder: Recorder) -> list[str]:
    """Give the tracers of all threads back, and take the watchers out of all hubs; to be called when nothing is recorded any more.

    Returns the names of what is still there.
    """
    last_resort = sys.modules.get("greentrace.record.profile_once")
    if last_resort is not None:
        last_resort.remove()
    left = [] if recorder.stop_thread() else ["greenlet.settrace"]
    waiting = _Waiting()
    if _has_other_threads():
        mains, _ = _others(recorder)
        above = sum(recorder.stop_other(g) is False for g in mains)
        left += ["greenlet.settrace in another thread"] * above
        gevent.unwatch_polls(waiting.one_more, recorder.stop_thread)
    else:
        gevent.unwatch_polls()
    waiting.wait()
    left += gevent.watched_polls()
    left += [f"greenlet.settrace in thread {native}" for native in recorder.tracing() if os.path.exists(f"/proc/self/task/{native}")]
    return left


class _Waiting:
    """Waits, for a short time and without a switch, until what was asked of other threads has been done."""

    def __init__(self) -> None:
        self._locks: list[Any] = []

    def one_more(self) -> Callable[[], None]:
        """Return what the other thread calls when it has done it."""
        from greentrace.record.twin_world import native_lock

        lock = native_lock()
        lock.acquire()
        self._locks.append(lock)
        release: Callable[[], None] = lock.release
        return release

    def wait(self) -> None:
        for lock in self._locks:
            if not lock.acquire(timeout=WAIT_SECONDS):
                # One time limit is enough for all of them.
                return
