"""gevent: what lives in its primitives, loops and hubs.

In:  the objects themselves, for Cython has no frames: links, getters and putters, watchers, callbacks.
Out: facts. A `list` among the referents of a linkable is its links; a link is `greenlet.switch`, or the `switch` of a MultipleWaiter,
which stands for a greenlet that waits for the first of several things. Links that are about to be told stand in a callback.
Never: a hub's own watchers, or those that we have installed.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from time import monotonic_ns
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Mode, Op, ResourceKind
from greentrace.record.discovery.facts import IO_OPS, End, Facts, Want, is_active, target
from greentrace.record.discovery.frames import called, static
from greentrace.record.discovery.heap import Heap

_ACQUIRES = {"acquire", "__enter__", "wait"}
_GETS = {"get", "wait", "result"}


def _module(name: str) -> Any:
    return sys.modules.get(f"gevent.{name}")


def _named(*paths: tuple[str, str]) -> list[type]:
    found = (getattr(_module(module), name, None) for module, name in paths)
    return [one for one in found if isinstance(one, type)]


def _linkables() -> list[type]:
    return _named(("_abstract_linkable", "AbstractLinkable"))


def _queues() -> list[type]:
    return _named(("queue", "SimpleQueue"), ("queue", "Channel"))


def _callbacks() -> list[type]:
    return _named(("libev.corecext", "callback"), ("_ffi.callback", "callback"))


def types(watchers: list[tuple[type, int]]) -> list[type]:
    """`watchers`: the types of watchers, and what kind of resource each is."""
    found = [*_linkables(), *_queues(), *_callbacks(), *(kind for kind, _ in watchers)]
    found += _named(("greenlet", "Greenlet"), ("hub", "Hub"), ("pool", "Group"), ("threadpool", "ThreadPool"), ("timeout", "Timeout"))
    return found


def look(heap: Heap, facts: Facts, watchers: list[tuple[type, int]]) -> None:
    if _module("hub") is None:
        return
    mine = getattr(_module("_hub_local"), "get_hub_if_exists", lambda: None)()
    hubs = {id(hub): hub for hub in (*heap.of(*_named(("hub", "Hub"))), *([mine] if mine is not None else []))}
    for hub in hubs.values():
        ident = getattr(hub, "thread_ident", 0)
        facts.hub(hub, ident if isinstance(ident, int) else 0)
    _Look(heap, facts).all(watchers)


class _Look:
    """One look at everything; what one structure says helps to read the next."""

    def __init__(self, heap: Heap, facts: Facts) -> None:
        self.heap = heap
        self.facts = facts
        self.linkables = tuple(_linkables())
        self.semaphores = tuple(_named(("_semaphore", "Semaphore")))
        self.results = tuple(_named(("event", "AsyncResult")))
        self.alternatives: dict[int, list[Want]] = defaultdict(list)

    def all(self, watchers: list[tuple[type, int]]) -> None:
        facts, heap = self.facts, self.heap
        for queue in heap.of(*_queues()):
            self._queue(queue)
        for group in heap.of(*_named(("pool", "Group"))):
            facts.capacity(group, getattr(group, "size", None))
            for member in list(getattr(group, "greenlets", ())):
                facts.held(member, group, ResourceKind.POOL)
        for pool in heap.of(*_named(("threadpool", "ThreadPool"))):
            places = getattr(pool, "_available_worker_threads_greenlet_sem", None)
            if places is not None:
                # Who has one is a native thread.
                facts.lifts[id(places)] = Want(places, ResourceKind.POOL, Op.ACQUIRE, End.TOLD)
        for obj in (*heap.of(*self.linkables), *heap.of(*_named(("greenlet", "Greenlet")))):
            if isinstance(obj, self.semaphores):
                facts.capacity(obj, getattr(obj, "_initial_value", None))
            # In pure Python a Greenlet has a dict.
            own = [getattr(obj, "__dict__", {}).get("_links")]
            for links in (*self.facts.recorder.referents(obj), *own):
                if type(links) is list:
                    self._linked(obj, links)
        for callback in heap.of(*_callbacks()):
            self._callback(callback)
        for kind, resource in watchers:
            for watcher in heap.of(kind):
                self._watcher(watcher, resource)

    def _linked(self, obj: Any, links: list[Any]) -> None:
        for link in list(links):
            what, g = target(link)
            if what != "switch" or self.facts.meet(g) is None:
                continue
            if isinstance(getattr(link, "__self__", None), greenlet.greenlet):
                self._waits_for(g, obj, False)
            else:
                self._waits_for(g, obj, type(link.__self__).__name__ == "MultipleWaiter")

    def _waits_for(self, g: Any, obj: Any, one_of_several: bool) -> None:
        facts = self.facts
        if isinstance(obj, greenlet.greenlet):
            facts.wants(g, obj, ResourceKind.GREENLET, Op.JOIN)
        elif id(obj) in facts.lifts:
            lift = facts.lifts[id(obj)]
            facts.wants(g, lift.obj, lift.kind, lift.op, lift.end)
        elif isinstance(obj, self.semaphores):
            how = "wait" if one_of_several else self._method(g, _ACQUIRES)
            end = End.UNTOLD if how in ("acquire", "__enter__") else End.UNCERTAIN
            facts.wants(g, obj, ResourceKind.SEMAPHORE, Op.WAIT if how == "wait" else Op.ACQUIRE, end)
        elif isinstance(obj, self.results):
            how = "wait" if one_of_several else self._method(g, _GETS)
            facts.wants(g, obj, ResourceKind.RESULT, Op.WAIT if how == "wait" else Op.GET)
        else:
            facts.wants(g, obj, ResourceKind.EVENT, Op.WAIT)

    def _method(self, g: Any, names: set[str]) -> str:
        """Return which method of a Cython type the innermost frame calls."""
        seen = self.facts.meet(g)
        if seen is None or seen.frame is None:
            return ""
        stack = self.facts.recorder.stack(seen.frame)
        return called(*stack[0], names) if stack else ""

    def _queue(self, queue: Any) -> None:
        facts = self.facts
        is_channel = type(queue).__name__ == "Channel"
        kind = ResourceKind.CHANNEL if is_channel else ResourceKind.QUEUE
        waiting = [held for held in facts.recorder.referents(queue) if type(held) is deque]
        for held in waiting:
            for entry in list(held):
                puts = isinstance(entry, tuple) or type(entry).__name__ == "ItemWaiter"
                waiter = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
                if type(waiter).__name__.endswith("Waiter") and getattr(waiter, "greenlet", None) is not None:
                    facts.wants(waiter.greenlet, queue, kind, Op.PUT if puts else Op.GET)
        for inner in facts.recorder.referents(queue):
            if isinstance(inner, self.linkables):
                facts.lifts[id(inner)] = Want(queue, kind, Op.JOIN)

    def _callback(self, callback: Any) -> None:
        function, args = getattr(callback, "callback", None), getattr(callback, "args", None) or ()
        if function is None:
            return
        what, g = target(function)
        if what:
            self.facts.runnable(g)
            return
        name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        if name == "_kill" and args and isinstance(args[0], greenlet.greenlet):
            self.facts.runnable(args[0])
        elif name in ("_killall3", "_killall") and args:
            for one in args[0]:
                self.facts.runnable(one)
        elif args and isinstance(args[0], list) and (isinstance(owner, (greenlet.greenlet, *self.linkables))):
            # It is about to tell its links.
            self._linked(owner, args[0])
        elif owner is not None and isinstance(owner, greenlet.greenlet) and not is_active(owner):
            self.facts.meet(owner)

    def _watcher(self, watcher: Any, kind: int) -> None:
        function = getattr(watcher, "callback", None)
        if function is None:
            # It is not active. To ask it would have a cffi watcher keep the answer's way in its class.
            return
        args = getattr(watcher, "args", None) or ()
        what, g = target(function)
        if kind == ResourceKind.FD:
            self._io(watcher, g)
        elif kind == ResourceKind.SLEEP:
            if not what and args and isinstance(args[0], greenlet.greenlet) and getattr(function, "__name__", "") == "_on_expiration":
                # Timeout._on_expiration(greenlet, exception) throws into the greenlet.
                what, g = "throw", args[0]
            flags = e.TIMER_THROWS if what == "throw" else 0 if what else e.TIMER_CALLS
            self.facts.timer(watcher, _due_ns(watcher), g, flags)
        elif what == "switch" and g is not None:
            if kind == ResourceKind.THREAD and args and isinstance(args[0], self.semaphores):
                # A lock that belongs to another thread's hub.
                self._waits_for(g, args[0], False)
            else:
                self.facts.wants(g, watcher, kind, Op.WAIT, End.TOLD)

    def _io(self, watcher: Any, g: Any) -> None:
        fd, mode = getattr(watcher, "fd", -1), (getattr(watcher, "events", 1) & 3) or Mode.READ
        if not isinstance(fd, int) or fd < 0:
            return
        self.facts.listener(watcher, fd, mode, g)
        if g is not None:
            self.facts.wants(g, fd, ResourceKind.FD, IO_OPS[mode])


def selected(seen_frame: Any, obj: Any, watchers: Any) -> Iterator[Any]:
    """Yield the watchers of a select: a list in its frame, or those of a selector."""
    found = watchers if isinstance(watchers, list) else None
    if found is None:
        active = static(obj, "_active_watchers")
        found = list(active.values()) if isinstance(active, dict) else []
    yield from (watcher for watcher in found if isinstance(getattr(watcher, "fd", None), int))


def _due_ns(timer: Any) -> int:
    """Return when a timer is due. libev keeps the moment; libuv's only tells its delay, which is the latest that it can be."""
    at = getattr(timer, "at", None)
    if isinstance(at, float) and not isinstance(timer, tuple(_named(("libuv.watcher", "timer")))):
        return int(min(at, 9e9) * 1e9)
    after = getattr(timer, "_after", 0)
    return monotonic_ns() + (int(min(max(after, 0), 9e9) * 1e9) if isinstance(after, (int, float)) else 0)
