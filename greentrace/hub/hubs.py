"""Hubs: one for each OS thread, made when it is first asked for.

    thread A: get_hub() --> hub A        call_soon_threadsafe(hub B, f)        thread B: get_hub() --> hub B
              green threads of A    -------------------------------------->              calls f in its next turn

A green thread lives and dies in the thread that spawned it. When a thread ends, the fds of its hub are given back; in the child
of a fork the thread that forked goes on with a poller of its own, and the hubs of the others, who are not there, are closed.

In:  the current thread. Out: its hub. Never: a hub that two threads share, nor an epoll that two processes share.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from greentrace.hub.loop import Hub

_local = threading.local()
_hubs: WeakSet[Hub] = WeakSet()


def get_hub() -> Hub:
    """Return the hub of this thread; the first call makes it."""
    try:
        hub: Hub = _local.hub
    except AttributeError:
        hub = use_hub()
    return hub


def use_hub(hub: Hub | str | None = None) -> Hub:
    """Give this thread a hub: of a way of polling by name (epoll, poll, select), or one that was made already.

    Who waits in the hub that was there before is left behind, so this comes first in a program.
    """
    made = hub if isinstance(hub, Hub) else Hub(hub)
    if made is hub_of_thread():
        return made
    if made.poller.is_closed:
        # Another took its place once.
        made.renew()
    _local.hub = made
    _hubs.add(made)
    _local.guard = _Guard(made)
    return made


def hub_of_thread() -> Hub | None:
    """Return the hub of this thread if it has one already."""
    return getattr(_local, "hub", None)


def hub_prevent_multiple_readers(state: bool = True) -> None:
    """Say whether a second green thread that waits for the same fd gets a RuntimeError (as it does unless told otherwise)."""
    get_hub().listeners.prevent_multiple = state


class _Guard:
    """Lives as long as the thread. The hub itself may outlive it: a greenlet of a dead thread cannot be ended."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def __del__(self) -> None:
        self._hub.poller.close()


def call_soon_threadsafe(hub: Hub, function: Callable[..., Any], *args: Any) -> None:
    """Call the function in another thread's hub."""
    hub.call_soon(function, *args)


def _in_the_child() -> None:
    mine = hub_of_thread()
    for hub in list(_hubs):
        if hub is mine:
            hub.renew()
        else:
            # Its thread does not exist here.
            hub.poller.close()
            _hubs.discard(hub)


os.register_at_fork(after_in_child=_in_the_child)
