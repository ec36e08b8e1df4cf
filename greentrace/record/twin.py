"""Twin: the recorder in Python, for where the native core is not.

The same face as native/module.c and the same events. What it cannot see is the creation of a greenlet that no adapter
tells of (it is first seen when it first runs) and the creation of a static type's instances: both are UNKNOWN then, never
wrong.

    World (twin_world: ring, tables) <- Core (twin_core: what happens) <- Hooks (twin_hooks: roles) <- Threads (twin_threads)
    <- Discovery (twin_discovery: what was there before) <- Twin (here: the face)
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from time import monotonic_ns
from types import CodeType
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Kind, Op, ResourceKind, State, Waker
from greentrace.record.tables import TAG, Node, fd_key
from greentrace.record.twin_discovery import Discovery
from greentrace.record.twin_watchdog import Watchdog
from greentrace.record.twin_world import _native_id, whole
from greentrace.ring import Writer

# It writes to immutable types as well, which `setattr` refuses.
_ABSTRACT_METHODS = type.__dict__["__abstractmethods__"]


class Twin(Discovery):
    """The face: the session's half, then the vocabulary as the built-in hub speaks it."""

    # ---- the session

    def start(self, ring_path: str, depth: int = 32) -> None:
        if self._recording:
            raise RuntimeError("recording already")
        self.forget()
        self._writer = self._names.writer = Writer(Path(ring_path))
        self._names.depth = max(1, min(depth, 64))
        self._recording = True
        self.thread()

    def stop(self) -> None:
        if (self._recording or self._quiet) and self._writer is not None:
            self._recording = self._quiet = False
            self._writer.stopped()

    def quiet(self, on: bool) -> None:
        """Tell nothing while everything is being hooked: nobody is told of the half of it."""
        if on and self._recording:
            self._recording, self._quiet = False, True
        elif not on and self._quiet:
            self._recording, self._quiet = True, False

    def forget(self) -> None:
        """Let go of everything that is known, after `stop`, and of what stands for it in the program."""
        if self._recording or self._quiet:
            return
        self.senders.clear()
        self.numbers.clear()
        met = bool(self._nodes)
        self.let_go()
        if met:
            for g in self.instances(_and_subclasses(greenlet.greenlet)):
                g.__dict__.pop(TAG, None)

    def forked(self, ring_path: str | None, parent_pid: int) -> None:
        """In the child of a fork: go on in another ring, or stop. The parent's ring is not touched."""
        self._recording = self._quiet = False
        # Another thread may have had the lock; it does not exist here.
        self._turn.clear()
        before, self._writer = self._writer, None
        if ring_path is None:
            return
        self._writer = self._names.writer = Writer(Path(ring_path))
        if before is not None:
            self._names.adopt(before.names())
        me = self._threads.popitem()[1] if len(self._threads) == 1 else self._threads.get(self._fork_thread)
        self._threads.clear()
        if me is not None:
            me.native_id = os.getpid()
            self._threads[me.native_id] = me
            for node in self._nodes.values():
                if node.thread != me.index and node.state != State.FINISHED:
                    # Its thread is not here: who was seen to run there will never run again.
                    ran_there = node.started and node.state not in (State.UNKNOWN, State.CREATED)
                    node.state = State.FINISHED if ran_there else State.UNKNOWN
                    node.since_ns = monotonic_ns()
        self._recording = True
        self.emit(Kind.FORK, 0, monotonic_ns(), self.current().number, 0, 0, parent_pid)

    def watch_creation(self, on: bool) -> bool:
        """Not possible from Python: a greenlet is seen when it first runs, or when its runtime schedules it."""
        return False

    def patch(self, owner: type, name: str, value: Any) -> None:
        """Write into the dict of a type that does not allow it."""
        namespace = gc.get_referents(owner.__dict__)[0]
        if value is None:
            del namespace[name]
        else:
            namespace[name] = value
        # Whatever CPython has cached of the type is stale; setting this attribute tells it so. PyType_Modified by way of ctypes
        # would too, but on some systems ctypes opens a file of libffi's for good: one descriptor more in the traced program.
        before = owner.__dict__.get("__abstractmethods__")
        _ABSTRACT_METHODS.__set__(owner, before or frozenset())
        if before is None:
            _ABSTRACT_METHODS.__delete__(owner)

    def patch_init(self, owner: type, kind: int) -> bool:
        """Not possible from Python: a static type's instance is seen when it is first used."""
        return False

    def patch_next(self, owner: type, kind: int) -> bool:
        """Not possible from Python: who iterates over a static type's instance waits for something unknown."""
        return False

    def unpatch_inits(self) -> None:
        """Nothing was patched."""

    def set_kind(self, owner: type, kind: int) -> None:
        self._kinds[owner] = kind

    def set_maker(self, code: CodeType, kind: int) -> None:
        self._makers[id(code)] = kind

    def stands_for(self, obj: Any, owner: Any, kind: int) -> None:
        if self._recording:
            self.current()
            self.resource_alias(obj, owner, kind)

    def set_hub_type(self, owner: type) -> None:
        self._hub_types += (owner,)

    def set_named_type(self, owner: type) -> None:
        self._named_types += (owner,)

    def add_path(self, prefix: str, flag: int) -> None:
        self._names.add_path(prefix, flag)

    def counts(self) -> dict[str, int]:
        return {
            "greenlets": len(self._nodes),
            "resources": len(self._resources),
            "timers": len(self._timers),
            "listeners": len(self._listeners),
            "events": self._writer.head if self._writer else 0,
        }

    # ---- the vocabulary

    def hub(self, g: Any) -> None:
        if self._recording:
            self.current()
            node = self.node(g)
            # It may have been found before it says so itself.
            if not node.is_hub:
                self.say_hub(node, type(g).__qualname__)

    def name(self, g: Any, text: str, given: bool = False) -> None:
        if self._recording:
            self.say_name(self.node(g), text, e.NAME_GIVEN if given else 0)

    def park(self, op: int, resource: Any, kind: int) -> None:
        if not self._recording:
            return
        node = self.current()
        if op == Op.SLEEP:
            number = e.RESOURCE_SLEEP
        elif kind == ResourceKind.FD:
            number = self.fd(resource).resource
        elif kind == ResourceKind.GREENLET and isinstance(resource, greenlet.greenlet):
            number = self.join_of(self.node(resource))
        else:
            number = e.RESOURCE_UNKNOWN if resource is None else self.resource_of(resource, kind).number
        if not node.intent_depth:
            node.intents = []
            node.intent_depth = 1
        node.intents.append((number, op))

    def unpark(self) -> None:
        if self._recording:
            self.current().intent_depth = 0

    def wake(self, g: Any) -> None:
        if not self._recording:
            return
        node, me, cause = self.node(g), self.current(), self.thread().cause
        if not me.is_hub:
            self.say_wake(node, Waker.GREENLET, me.number)
        elif cause is not None:
            self.say_wake(node, *cause)
        else:
            self.say_wake(node, Waker.CALLBACK, 0)

    def resource(self, obj: Any, kind: int, capacity: int) -> None:
        if self._recording:
            self.current()
            resource = self.resource_of(obj, kind, capacity, inferred=False)
            if kind == ResourceKind.POOL:
                # It may tell again how large it is.
                self.resource_resized(resource, capacity & e.NO_CAPACITY)

    def acquire(self, obj: Any, kind: int) -> None:
        if self._recording:
            self.say_acquire(self.current(), self.resource_of(obj, kind))

    def release(self, obj: Any, kind: int) -> None:
        if self._recording:
            self.say_release(self.current(), self.resource_of(obj, kind))

    def _touched(self, event: Kind, obj: Any, kind: ResourceKind, size: int = -1) -> None:
        if self._recording:
            self.say_touch(event, self.current(), self.resource_of(obj, kind), size + 1)

    def put(self, obj: Any, size: int = -1) -> None:
        self._touched(Kind.PUT, obj, ResourceKind.QUEUE, size)

    def get(self, obj: Any, size: int = -1) -> None:
        self._touched(Kind.GET, obj, ResourceKind.QUEUE, size)

    def set(self, obj: Any) -> None:
        self._touched(Kind.SET, obj, ResourceKind.EVENT)

    def clear(self, obj: Any) -> None:
        self._touched(Kind.CLEAR, obj, ResourceKind.EVENT)

    def fd_open(self, fd: int) -> None:
        if self._recording:
            self.say_fd_open(fd)

    def fd_close(self, fd: int) -> None:
        if self._recording:
            self.say_fd_close(fd)

    def fd_add(self, fd: int, mode: int, g: Any) -> None:
        if self._recording:
            self.current()
            self.say_listen(fd_key(fd, mode), fd, mode, self._node_or_none(g))

    def fd_remove(self, fd: int, mode: int, g: Any = None) -> None:
        if self._recording:
            self.say_unlisten(fd_key(fd, mode))

    def fd_ready(self, fd: int, mode: int, g: Any = None) -> None:
        if self._recording:
            self.say_ready(fd, mode)

    def timer_add(self, timer: Any, due_ns: int, g: Any, throws: bool) -> None:
        if self._recording:
            node = self._node_or_none(g)
            flags = (e.TIMER_THROWS if throws else 0) if node else e.TIMER_CALLS
            self.say_timer(id(timer), due_ns, node or self.current(), flags, False)

    def timer_cancel(self, timer: Any) -> None:
        if self._recording:
            self.say_timer_end(id(timer), False)

    def timer_fire(self, timer: Any) -> None:
        if self._recording:
            self.say_timer_end(id(timer), True)

    def callback(self, name: str) -> None:
        if self._recording:
            self.thread().cause = None
            self.say_text(Kind.CALLBACK, name)

    def poll_begin(self, timeout_ns: int) -> None:
        if self._recording:
            self.thread().cause = None
        super().poll_begin(timeout_ns)

    def error(self, text: str) -> None:
        if self._recording:
            self.say_text(Kind.ERROR, text)

    def mark(self, text: str) -> None:
        if self._recording:
            self.current()
            self.say_text(Kind.MARK, text)

    @whole
    def trigger(self, text: str) -> None:
        """Something calls for a snapshot. Anybody may say so: a thread that is not recorded does not become one of the program's."""
        if self._recording:
            thread = self._threads.get(_native_id())
            who = thread.current.number if thread and thread.current else 0
            site = self.site_here() if thread else 0
            self.emit(Kind.TRIGGER, 0, monotonic_ns(), who, 0, site, self._names.string(text))

    def watch_hogs(self, limit_ns: int) -> bool:
        """Tell who keeps a thread for longer; 0 for no more. Return False when there is no thread to be had."""
        before, self._watchdog = self._watchdog, None
        if before is not None:
            before.stop()
        if limit_ns > 0:
            self._watchdog = Watchdog(self, limit_ns)
            return self._watchdog.start()
        return True

    _watchdog: Watchdog | None = None

    def patched(self, text: str) -> None:
        if self._recording:
            self.say_text(Kind.PATCH, text)

    @whole
    def forking(self) -> None:
        if self._recording:
            self._fork_thread = self.thread().native_id
            self.emit(Kind.FORK, 0, monotonic_ns(), self.current().number)

    _fork_thread = 0

    def _node_or_none(self, g: Any) -> Node | None:
        return self.node(g) if isinstance(g, greenlet.greenlet) else None


def _and_subclasses(owner: type) -> tuple[type, ...]:
    found = [owner]
    for each in found:
        found += type.__subclasses__(each)
    return tuple(dict.fromkeys(found))
