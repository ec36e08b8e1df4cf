"""builtin: what lives in greentrace's own hub.

In:  its hubs, and the frames in which a green thread waits: `Waiter.wait` has in its arguments the very words that it would have told.
Out: facts. Whoever comes out of a wait tells itself what it has acquired.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from greentrace import events as e
from greentrace.events import ResourceKind
from greentrace.record.discovery.facts import Facts, target
from greentrace.record.discovery.heap import Heap
from greentrace.record.runtimes.adapter import Hook

WAIT = Hook("greentrace.hub.waiter", "Waiter", "wait", "hub_wait")
"""A row for the frames: its arguments say what is waited for."""


def _module(name: str) -> Any:
    return sys.modules.get(f"greentrace.hub.{name}")


def codes() -> dict[int, Hook]:
    waiter = _module("waiter")
    return {id(waiter.Waiter.wait.__code__): WAIT} if waiter is not None else {}


def types() -> list[type]:
    loop, pool, semaphore = _module("loop"), _module("pool"), _module("semaphore")
    found: list[type] = [loop.Hub] if loop is not None else []
    found += [pool.GreenPool] if pool is not None else []
    return found + ([semaphore.Semaphore] if semaphore is not None else [])


def kind_of(obj: Any) -> int:
    """Return what kind of resource one can hold it is, 0 for none."""
    semaphore = _module("semaphore")
    return int(obj._kind) if semaphore is not None and isinstance(obj, semaphore.Semaphore) else 0


def lock_of(obj: Any) -> Any:
    """Return the lock of a Condition, else the object."""
    condition = _module("condition")
    return obj._lock if condition is not None and isinstance(obj, condition.Condition) else obj


def look(heap: Heap, facts: Facts) -> None:
    loop, pool, semaphore = _module("loop"), _module("pool"), _module("semaphore")
    if loop is None:
        return
    hubs = {id(hub): hub for hub in (*heap.of(loop.Hub), *getattr(_module("hubs"), "_hubs", ()))}
    for hub in hubs.values():
        _look_at_hub(hub, facts)
    for one in heap.of(pool.GreenPool) if pool is not None else ():
        facts.capacity(one._slots, one.size)
        for member in one.coroutines_running:
            if getattr(member, "_entered", False):
                facts.held(member, one._slots, ResourceKind.POOL)
    for lock in heap.of(semaphore.Semaphore) if semaphore is not None else ():
        facts.capacity(lock, getattr(lock, "original_counter", None))
        if isinstance(lock, semaphore.RLock) and lock._owner is not None:
            facts.held(lock._owner, lock, ResourceKind.RLOCK, lock._depth)


def _look_at_hub(hub: Any, facts: Facts) -> None:
    if hub.greenlet.dead:
        return
    facts.hub(hub.greenlet)
    for call in list(hub.ready):
        function = call.func if isinstance(call, partial) else call
        what, g = target(function)
        if what:
            facts.runnable(g)
        elif getattr(function, "__name__", "") == "fire":
            # A timer that is due.
            facts.runnable(getattr(getattr(function, "__self__", None), "greenlet", None))
    for fd, listeners in list(hub.listeners._by_fd.items()):
        for listener in listeners:
            facts.listener(None, fd, listener.mode, listener.greenlet)
    for _, _, timer in list(hub.timers.heap):
        function = timer._function
        if function is None:
            continue
        throws = getattr(function, "__name__", "") in ("_strike", "throw")
        flags = e.TIMER_CALLS if timer.greenlet is None else e.TIMER_THROWS if throws else 0
        facts.timer(timer, int(min(timer.due, 9e9) * 1e9), timer.greenlet, flags)
