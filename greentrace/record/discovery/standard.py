"""Standard library: what lives in the copies of `threading` and `queue` that greenlets use.

In:  the classes that the adapters have rows for. Out: facts: owners of RLocks, the greenlets that run threads.
A Condition keeps the methods of its lock from the day it was made, and they know no hook: `rebind` gives it those that do.
"""

from __future__ import annotations

import weakref
from typing import Any

from greentrace.events import ResourceKind
from greentrace.record.discovery.facts import Facts
from greentrace.record.discovery.heap import Heap

_KEPT = ("acquire", "release", "_release_save", "_acquire_restore", "_is_owned")


def look(heap: Heap, facts: Facts, rlocks: list[type], semaphores: list[type]) -> None:
    """`rlocks`: classes whose `_owner` is the greenlet or its id. `semaphores`: made of a Condition."""
    for lock in heap.of(*rlocks) if rlocks else ():
        owner = getattr(lock, "_owner", None)
        seen = facts.seen.get(owner if isinstance(owner, int) else id(owner))
        if seen is not None:
            facts.held(seen.g, lock, ResourceKind.RLOCK, getattr(lock, "_count", 1))
    for seen in facts.seen.values():
        for row, thread in seen.stack.inside:
            if row.role == "thread_run" and seen.g is not seen.main:
                facts.threads[id(thread)] = seen.g
                facts.name(seen.g, getattr(thread, "_name", None), True)


def rebind(heap: Heap, conditions: list[type]) -> list[Any]:
    """Let each Condition find the methods of its lock anew; return weak references to those that were changed."""
    changed = []
    for condition in heap.of(*conditions) if conditions else ():
        lock = condition.__dict__.get("_lock")
        for name in _KEPT:
            kept = condition.__dict__.get(name)
            if kept is not None and getattr(kept, "__self__", None) is lock and type(kept).__name__ == "method":
                new = getattr(lock, name, None)
                if new is not None and new != kept:
                    condition.__dict__[name] = new
                    changed.append(weakref.ref(condition))
    return changed


def unbind(changed: list[Any]) -> None:
    """The same again, after the hooks have gone."""
    for reference in changed:
        condition = reference()
        if condition is None:
            continue
        lock = condition.__dict__.get("_lock")
        for name in _KEPT:
            if name in condition.__dict__ and hasattr(lock, name):
                condition.__dict__[name] = getattr(lock, name)
    changed.clear()
