"""Twin: the recorder in Python, for where the native core is not.

The same face as native/module.c and the same events. What it cannot see is the creation of a greenlet that no adapter
tells of (it is first seen when it first runs) and the creation of a static type's instances: both are UNKNOWN then, never
wrong.

    World (twin_world: ring, tables) <- Core (twin_core: what happens) <- Hooks (twin_hooks: roles) <- Twin (here: the face)
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
from greentrace.record.tables import Node
from greentrace.record.twin_gevent import GeventHooks
from greentrace.record.twin_world import whole
from greentrace.ring import Writer

# It writes to immutable types as well, which `setattr` refuses.
_ABSTRACT_METHODS = type.__dict__["__abstractmethods__"]


class Twin(GeventHooks):
    """The face: the session's half, then the vocabulary as the built-in hub speaks it."""

    # ---- the session

    def start(self, ring_path: str, depth: int = 32) -> None:
        if self._recording:
            raise RuntimeError("recording already")
        before, self._writer = self._writer, Writer(Path(ring_path))
        self._names.writer = self._writer
        if before is not None:
            self._names.adopt(before.names())
            self.forget()
        self._names.depth = max(1, min(depth, 64))
        self._recording = True
        self.thread()

    def stop(self) -> None:
        if self._recording and self._writer is not None:
            self._recording = False
            self._writer.stopped()

    def forked(self, ring_path: str | None, parent_pid: int) -> None:
        """In the child of a fork: go on in another ring, or stop. The parent's ring is not touched."""
        self._recording = False
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

    def trace(self, event: str, args: Any) -> None:
        """greenlet's trace function; a tracer that was there before is called as if we were not."""
        if self._is_finalizing():
            return
        thread = self.thread()
        # A tracer that was put on top of us may call with anything.
        if self._recording and isinstance(args, tuple) and len(args) == 2 and all(isinstance(g, greenlet.greenlet) for g in args):
            try:
                self.say_switch(event, *args)
            except Exception as error:
                # A fault of ours must not land in the program.
                self.stop()
                os.write(2, f"greentrace: recording has ended: {error!r}. The events until now are kept. Please report this.\n".encode())
        if thread.chained is not None:
            try:
                thread.chained(event, args)
            except BaseException:
                # greenlet takes a tracer out that raises, and with it ours.
                thread.chained = None
                thread.tracing = False
                raise

    def start_thread(self) -> None:
        thread = self.thread()
        if thread.tracing:
            return
        self.current()
        if thread.tracing:
            return
        before = greenlet.settrace(self.trace)
        thread.tracing = True
        thread.chained = before if before is not None and before != self.trace else None

    def stop_thread(self) -> bool:
        thread = self.thread()
        if not thread.tracing:
            return True
        thread.tracing = False
        chained, thread.chained = thread.chained, None
        ours = greenlet.settrace(chained)
        if ours != self.trace:
            # Somebody sits on top of us: it stays, and what it calls of ours is inert.
            thread.chained = chained
            greenlet.settrace(ours)
            return False
        return True

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
            self.say_hub(self.node(g), type(g).__qualname__)

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
            self.say_listen(_fd_key(fd, mode), fd, mode, self._node_or_none(g))

    def fd_remove(self, fd: int, mode: int, g: Any = None) -> None:
        if self._recording:
            self.say_unlisten(_fd_key(fd, mode))

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


def _fd_key(fd: int, mode: int) -> int:
    # Negative: no object's address.
    return -(fd << 2 | mode) - 1
