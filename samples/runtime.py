"""Runtime: one face for the three runtimes, so that a sample is written once.

In:  a name: hub (the built-in one), eventlet or gevent. Out: what a sample needs, as the runtime's own classes and functions.
Never: a wrapper around them, for a trace shall show the runtime's and the sample's frames and nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

RUNTIMES = ("hub", "eventlet", "gevent")


@dataclass(frozen=True)
class Runtime:
    """What a sample needs. `wait(thread)` returns the result of a green thread; `Timeout(seconds, False)` ends a block silently."""

    name: str
    spawn: Callable[..., Any]
    sleep: Callable[..., Any]
    wait: Callable[[Any], Any]
    Timeout: Callable[..., Any]
    Lock: Callable[[], Any]
    Semaphore: Callable[..., Any]
    Event: Callable[[], Any]
    Queue: Callable[..., Any]
    socket: Any


def choose(name: str) -> Runtime:
    """Import that runtime, and none of the others."""
    if name == "eventlet":
        import eventlet
        from eventlet.event import Event
        from eventlet.green import socket
        from eventlet.lock import Lock
        from eventlet.queue import Queue
        from eventlet.semaphore import Semaphore

        wait = eventlet.greenthread.GreenThread.wait
        return Runtime(name, eventlet.spawn, eventlet.sleep, wait, eventlet.Timeout, Lock, Semaphore, Event, Queue, socket)
    if name == "gevent":
        import gevent
        import gevent.event
        import gevent.lock
        import gevent.queue
        import gevent.socket

        lock, wait = gevent.lock.Semaphore, gevent.Greenlet.get
        return Runtime(
            name, gevent.spawn, gevent.sleep, wait, gevent.Timeout, lock, lock, gevent.event.Event, gevent.queue.Queue, gevent.socket
        )  # fmt: skip
    from greentrace import hub

    wait = hub.GreenThread.wait
    return Runtime(name, hub.spawn, hub.sleep, wait, hub.Timeout, hub.Lock, hub.Semaphore, hub.Event, hub.Queue, hub.socket)


def command_line(description: str | None, seconds: float | None = None) -> argparse.Namespace:
    """Read the runtime's name, and with `seconds` how long to wait in vain: `--for SECONDS`, 0 for ever."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runtime", nargs="?", default="hub", choices=RUNTIMES, help="which runtime to run on (default: hub)")
    if seconds is not None:
        text = f"how long the main greenlet waits before it gives up, 0 for ever (default: {seconds:g})"
        parser.add_argument("--for", dest="seconds", metavar="SECONDS", type=float, default=seconds, help=text)
    return parser.parse_args()
