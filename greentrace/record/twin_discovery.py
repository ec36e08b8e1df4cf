"""Discovery in the Python recorder: how what lived before recording began is told.

In:  what greentrace.record.discovery has found. Out: the facts, as events. The native core has the same in native/discovery.c.
What comes out of an acquire that no hook saw begin is told at its next switch (`_found_goes_on`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic_ns
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Kind, Op, ResourceKind, State
from greentrace.record import twin_memory
from greentrace.record.tables import MAX_WAITS, Node, Resource, Thread, fd_key
from greentrace.record.twin_threads import Threads
from greentrace.record.twin_world import is_active, whole

TOLD, UNTOLD, UNCERTAIN = range(3)
FOUND_HUB = 8
_PASSING = (ResourceKind.CALLBACK, ResourceKind.SIGNAL, ResourceKind.PROCESS, ResourceKind.THREAD)


class Discovery(Threads):
    """The face's part that tells what was found."""

    referents = staticmethod(twin_memory.referents)
    stack = staticmethod(twin_memory.stack)
    slots = staticmethod(twin_memory.slots)
    native_threads = staticmethod(twin_memory.native_threads)

    def begin_finding(self, late: bool) -> bool:
        """`late`: others have lived before recording began."""
        self._late = late
        return True

    @contextmanager
    def _in_thread(self, thread: Thread | None, site: int = 0) -> Iterator[None]:
        """Records name the thread in which it is so, which need not be the one that looks, and no place of the code that runs."""
        self._found_site = site
        self._found_thread = thread
        try:
            yield
        finally:
            self._found_site = self._found_thread = None

    def _thread_with(self, node: Node) -> Thread | None:
        return next((thread for thread in self._threads.values() if thread.index == node.thread), None)

    @whole
    def _thread_by_native(self, native: int, main: Any) -> Thread:
        known = self._threads.get(native)
        if known is not None and known.main:
            return known
        thread = self._threads[native] = known or Thread(self._number("thread"), native)
        # Its greenlets may have been taken for another thread's: it says itself who it is when it first speaks.
        thread.met = False
        with self._in_thread(thread):
            thread.main = self.node(main).number if main is not None else 0
            self.emit(Kind.THREAD, 0, monotonic_ns(), thread.main, 0, 0, native)
            thread.told = True
        return thread

    @whole
    def found(self, g: Any, what: int, native: int, main: Any) -> bool:
        if not self._recording or not isinstance(g, greenlet.greenlet):
            return False
        thread = self._thread_by_native(native, main)
        with self._in_thread(thread):
            node, state = self.node(g), what & 7
            unknown = node.state == State.UNKNOWN or (node.state == State.CREATED and not node.spawner)
            if unknown:
                node.state = State.UNKNOWN
                node.thread = thread.index
            if what & FOUND_HUB and not node.is_hub:
                self.say_hub(node, type(g).__qualname__)
            if not unknown:
                return False
            node.started = is_active(g)
            frame = g.gr_frame
            if frame is not None:
                if not node.name:
                    name, of_runtime = self._names.outermost(frame)
                    if of_runtime and node.last_name:
                        self._say_last_name(node)
                    else:
                        self.say_name(node, name, 0)
                node.site = self._names.site(frame)
            if not node.name:
                self.name_at_start(node, g)
            if state != State.PARKED:
                t = monotonic_ns()
                self.emit(Kind.STATE, state, t, node.number, 0, node.site, t)
                node.state = State(state)
                node.since_ns = t
        return True

    @whole
    def found_resource(self, obj: Any, kind: int, capacity: int, g: Any) -> bool:
        if self._recording and id(obj) not in self._by_object:
            me = self.current()
            making_places = me.making_places
            with self._in_thread(None, self.node(g).site if g is not None else 0):
                # A semaphore may stand for the places of a pool.
                me.making_places = kind == ResourceKind.POOL
                self.resource_of(obj, kind, capacity)
                me.making_places = making_places
        return self._recording

    @whole
    def found_wait(self, g: Any, resource: Any, kind: int, op: int, end: int, times: int) -> bool:
        node = self.node(g)
        if not self._recording or node.state != State.UNKNOWN:
            return False
        with self._in_thread(None, node.site):
            number = self._found_number(node, resource, kind, op, end, times)
        if len(node.waits) == MAX_WAITS:
            # There are others: such a wait proves nothing.
            node.waits[-1] = (e.RESOURCE_UNKNOWN, int(Op.WAIT))
        elif (number, op) not in node.waits:
            node.waits.append((number, op))
        if op == Op.JOIN and number in self._joins:
            node.joined[number] = self._joins[number].number
        return True

    def _found_number(self, node: Node, resource: Any, kind: int, op: int, end: int, times: int) -> int:
        if op == Op.SLEEP:
            return e.RESOURCE_SLEEP
        if op == Op.SWITCH:
            return e.RESOURCE_SWITCH
        if kind == ResourceKind.FD:
            return self.fd(resource).resource
        if kind == ResourceKind.GREENLET and isinstance(resource, greenlet.greenlet):
            return self.join_of(self.node(resource))
        if kind in _PASSING:
            known = None if resource is None else self._by_object.get(id(resource))
            if known is None and node.passing is None:
                known = node.passing = self.passing(kind)
            return known.number if known else e.RESOURCE_UNKNOWN
        if resource is None:
            return e.RESOURCE_UNKNOWN
        r = self.resource_of(resource, kind)
        if r.number not in self._resources:
            return e.RESOURCE_UNKNOWN
        # Who is inside of a hook of an earlier recording will tell it there.
        if end != TOLD and op == Op.ACQUIRE and not node.intent_depth and r.kind in e.HELD:
            node.pending, node.pending_times, node.pending_held = r.number, 0 if end == UNCERTAIN else times, False
        return r.number

    @whole
    def found_parked(self, g: Any) -> bool:
        node = self.node(g)
        if not self._recording or node.state != State.UNKNOWN:
            return False
        node.waits = node.waits or [(e.RESOURCE_UNKNOWN, Op.WAIT)]
        node.waits_inferred = True
        node.deadline_ns = min((timer.due_ns for timer in node.timers if not timer.flags & e.TIMER_CALLS), default=0)
        with self._in_thread(self._thread_with(node)):
            t = monotonic_ns()
            self.emit(Kind.STATE, State.PARKED, t, node.number, 0, node.site, t)
            node.state = State.PARKED
            node.since_ns = t
            for resource, op in node.waits:
                self.emit(Kind.PARK, op | e.FLAG_INFERRED, t, node.number, resource, node.site, node.deadline_ns)
        return True

    @whole
    def found_hold(self, g: Any, obj: Any, kind: int, times: int, observed: bool) -> bool:
        if not self._recording:
            return False
        with self._in_thread(None):
            r = self.resource_of(obj, kind)
            for _ in range(min(times, 1000) if r.number in self._resources else 0):
                self.say_holds(self.node(g), r, 0, 0 if observed else e.FLAG_INFERRED)
        return True

    @whole
    def found_timer(self, timer: Any, due_ns: int, g: Any, flags: int) -> bool:
        node = self.node(g) if isinstance(g, greenlet.greenlet) else None
        if not self._recording or id(timer) in self._timers:
            return False
        with self._in_thread(self._thread_with(node) if node is not None else None):
            self.say_timer(id(timer), due_ns, node, flags, False)
        return True

    @whole
    def found_listener(self, listener: Any, fd: int, mode: int, g: Any) -> bool:
        node = self.node(g) if isinstance(g, greenlet.greenlet) else None
        if not self._recording or fd < 0:
            return False
        with self._in_thread(self._thread_with(node) if node is not None else None):
            self.say_listen(fd_key(fd, mode) if listener is None else id(listener), fd, mode, node)
        return True

    # ---- what becomes of it

    def _found_goes_on(self, node: Node, in_vain: bool) -> None:
        passing, node.passing = node.passing, None
        if passing is not None:
            self._disposed(passing)
        r: Resource | None = self._resources.get(node.pending)
        if r is None or in_vain:
            node.pending = 0
        elif not node.pending_times:
            # It may have acquired it or not: from now on nobody can say who may release it.
            node.pending = 0
            flags = self._resource_flags(dataclasses.replace(r, signal=True))
            self.emit(Kind.RESOURCE, flags, monotonic_ns(), r.creator, r.number, r.site, r.capacity)
            r.signal = True
        else:
            for _ in range(node.pending_times):
                self.say_holds(node, r, 0, e.FLAG_INFERRED)
            node.pending_held = True

    def _found_parks_again(self, node: Node) -> None:
        r = self._resources.get(node.pending)
        if r is None or not node.pending_held or [number for number, _ in node.waits] != [e.RESOURCE_UNKNOWN]:
            node.pending = 0
            return
        touched = r.toucher, r.toucher_kind
        for _ in range(node.pending_times):
            self.say_release(node, r)
        r.toucher, r.toucher_kind = touched
        node.pending_held = False
        node.waits = [(node.pending, int(Op.ACQUIRE))]
        node.waits_inferred = True
