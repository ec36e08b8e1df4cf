"""Trampoline: how a green thread waits for an fd.

    trampoline(fd, read=True):    green thread --> listener --> hub ... the fd is ready ... --> green thread

Everything that reads and writes in a friendly manner is built on this. `notify_opened` and `notify_close` are for whoever makes
and closes fds: they keep a green thread from waiting for a stranger that has got the same number.

In:  an fd, or what has a `fileno`. Out: it is ready, or an exception. Never: a read or a write; those are the caller's.

Different from Eventlet: whoever waits hears of a close at once, so that there is no `mark_as_closed`.
"""

from __future__ import annotations

from typing import Any

from greentrace.hub import instrument as _instrument
from greentrace.hub.hubs import get_hub, hub_of_thread
from greentrace.hub.instrument import READ, WRITE
from greentrace.hub.timeout import Timeout


def trampoline(fd: Any, read: bool = False, write: bool = False, timeout: float | None = None, timeout_exc: Any = Timeout) -> None:
    """Let the current green thread wait until the fd is readable, writable, or one of both.

    Raises `timeout_exc` after `timeout` seconds, IOClosed when the fd is closed meanwhile, and RuntimeError when another green
    thread waits for the same.
    """
    mode = (READ if read else 0) | (WRITE if write else 0)
    if not mode:
        raise ValueError("trampoline was given neither read=True nor write=True. Nothing was waited for. Say for which.")
    number = fd if isinstance(fd, int) else fd.fileno()
    if not get_hub().listeners.wait(number, mode, timeout):
        raise timeout_exc


def notify_opened(fd: int) -> None:
    """Say that the number is in use for something new: whoever still waits for what it was gets IOClosed."""
    observer = _instrument.observer
    if observer is not None:
        observer.fd_open(fd)
    hub = hub_of_thread()
    if hub is not None:
        hub.listeners.obsolete(fd)


def notify_close(fd: int) -> None:
    """Say, before it happens, that the fd will be closed: whoever waits for it gets IOClosed."""
    observer = _instrument.observer
    if observer is not None:
        observer.fd_close(fd)
    hub = hub_of_thread()
    if hub is not None:
        hub.listeners.obsolete(fd)
