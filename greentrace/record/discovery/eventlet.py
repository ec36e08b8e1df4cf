"""eventlet: what lives in its hubs: listeners, timers, who is runnable; and what is in its pools.

In:  the hubs of all threads. Out: facts. What a greenlet waits for its own frames tell, for eventlet is Python throughout.
"""

from __future__ import annotations

import sys
from time import monotonic_ns
from types import FunctionType
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Mode, Op, ResourceKind
from greentrace.record.discovery.facts import Facts, Seen, Want, is_active, target
from greentrace.record.discovery.heap import Heap


def _module(name: str) -> Any:
    return sys.modules.get(f"eventlet.{name}")


def types() -> list[type]:
    hub, pool, semaphore = _module("hubs.hub"), _module("greenpool"), _module("semaphore")
    found: list[type] = [hub.BaseHub] if hub is not None else []
    found += [pool.GreenPool] if pool is not None else []
    return found + ([semaphore.Semaphore] if semaphore is not None else [])


def look(heap: Heap, facts: Facts) -> None:
    hub_module, pool, semaphore = _module("hubs.hub"), _module("greenpool"), _module("semaphore")
    if hub_module is None:
        return
    mine = getattr(getattr(_module("hubs"), "_threadlocal", None), "hub", None)
    hubs = {id(hub): hub for hub in (*heap.of(hub_module.BaseHub), *([mine] if mine is not None else []))}
    for hub in hubs.values():
        _look_at_hub(hub, facts)
    for one in heap.of(pool.GreenPool) if pool is not None else ():
        facts.capacity(one, one.size)
        for member in list(one.coroutines_running):
            facts.held(member, one, ResourceKind.POOL)
    for lock in heap.of(semaphore.Semaphore) if semaphore is not None else ():
        facts.capacity(lock, getattr(lock, "original_counter", None))


def _look_at_hub(hub: Any, facts: Facts) -> None:
    if hub.greenlet.dead:
        return
    facts.hub(hub.greenlet)
    for structure in (hub.listeners, hub.secondaries):
        for evtype, bucket in structure.items():
            mode = Mode.READ if evtype == "read" else Mode.WRITE
            for fd, held in list(bucket.items()):
                for listener in held if isinstance(held, list) else [held]:
                    if not listener.spent:
                        facts.listener(listener, fd, mode, listener.greenlet)
    here, now_ns = hub.clock(), monotonic_ns()
    for due, timer in (*hub.timers, *hub.next_timers):
        if not timer.called and getattr(timer, "tpl", None):
            _look_at_timer(timer, now_ns + int(min(due - here, 9e9) * 1e9), facts)


def _look_at_timer(timer: Any, due_ns: int, facts: Facts) -> None:
    callback, args, _ = timer.tpl
    what, g = target(callback)
    at_once = timer.seconds <= 0
    name = getattr(callback, "__qualname__", "")
    if not what and len(args) == 3 and isinstance(args[2], greenlet.greenlet) and getattr(callback, "__name__", "") == "_do_send":
        # Event._do_send(result, exc, waiter): sends at once, or a wait's own time limit.
        what, g = "switch", args[2]
    elif not what and name in ("trampoline.<locals>._timeout", "select.<locals>.on_timeout"):
        what, g = "throw" if name.startswith("trampoline") else "switch", _enclosed(callback)
        at_once = False
    if what == "switch" and not is_active(g):
        # It has not begun: its function is not on its stack, but among what it will be given.
        begins = args[0] if args and type(g).__module__.startswith("eventlet") else getattr(g, "run", None)
        facts.name(g, getattr(begins, "__name__", None))
    if what and at_once:
        facts.runnable(g)
    elif what:
        facts.timer(timer, due_ns, g, e.TIMER_THROWS if what == "throw" else 0)
    elif not at_once:
        facts.timer(timer, due_ns, None, e.TIMER_CALLS)


def keys_awaited(seen: Seen, facts: Facts) -> list[Want]:
    """Return what somebody waits for who waits for a DAGPool: it does so in one generator, which knows the keys that are still pending.

    A key that a greenlet of the pool computes nobody else may post; any other anybody may.
    """
    for depth, (code, at) in enumerate(seen.stack.codes):
        if code.co_name == "_wait_each_raw" and code.co_filename.endswith("dagpool.py") and seen.frame is not None:
            pool, pending = facts.recorder.slots(seen.frame, depth, (0, 1), code, at)
            coros = getattr(pool, "coros", None)
            if not isinstance(coros, dict) or not isinstance(pending, (set, frozenset)):
                return []
            computed = [getattr(coros.get(key), "greenthread", None) for key in pending]
            wants = [Want(g, ResourceKind.GREENLET, Op.JOIN) for g in computed if isinstance(g, greenlet.greenlet)]
            return wants if len(wants) == len(computed) else [*wants, Want(pool, ResourceKind.POOL, Op.WAIT)]
    return []


def _enclosed(function: Any, depth: int = 0) -> Any:
    """Return the greenlet that a function inside of another one has kept."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            kept = cell.cell_contents
            if isinstance(kept, FunctionType) and depth < 2:
                kept = _enclosed(kept, depth + 1)
            if isinstance(kept, greenlet.greenlet):
                return kept
        except ValueError:
            continue
    return None
