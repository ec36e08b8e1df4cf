"""World of the Python recorder: the ring, and the tables of what lives.

In:  greenlets, locks, fds as they are met. Out: their numbers, and a keyframe at each start of a generation.
The native core has the same in native/ring.c, greenlets.c and resources.c. Every method first writes the record and then changes the
tables: a record may open a generation, and the keyframe that goes before it must tell how things were. So what tells and
changes is `@whole`: one thread at a time, as the GIL makes it in the native core.
One room, because the three tell each other what to write in a keyframe.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import threading
import weakref
from collections.abc import Callable
from importlib.machinery import BuiltinImporter
from time import monotonic_ns
from types import BuiltinFunctionType, FrameType
from typing import Any, TypeVar, cast

import greenlet

from greentrace import events as e
from greentrace.events import Kind, ResourceKind, State
from greentrace.record.names import Names
from greentrace.record.tables import TAG, FdEntry, Listener, Node, Resource, Tag, Thread, Timer
from greentrace.ring import PARTIAL_KEYFRAMES, Writer

_pack = e.RECORD.pack
# Before anything is monkey-patched: afterwards it would be the runtime's own.
_native_id = threading.get_native_id
_TURNS = frozenset((Kind.SWITCH, Kind.THROW, Kind.POLL_BEGIN, Kind.POLL_END, Kind.HUB))
"""What says who has a thread, for the watchdog."""

# greenlet's own answers: gevent's Greenlet has others of the same names.
is_dead = greenlet.greenlet.dead.__get__
is_active = greenlet.greenlet.__bool__


def native_threads() -> Any:
    """Return `_thread` as the system's threads are, whoever has made `threading` green."""
    import _thread

    if isinstance(_thread.allocate_lock, BuiltinFunctionType) and isinstance(_thread.get_ident, BuiltinFunctionType):
        return _thread
    spec = BuiltinImporter.find_spec("_thread")
    assert spec is not None
    untouched = importlib.util.module_from_spec(spec)
    BuiltinImporter.exec_module(untouched)
    return untouched


def native_lock() -> Any:
    """Return a lock of the system's threads.

    No RLock: eventlet replaces those that it finds anywhere.
    """
    return native_threads().allocate_lock()


_Method = TypeVar("_Method", bound=Callable[..., Any])


def whole(method: _Method) -> _Method:
    """What the method tells and changes is one step for every other thread; what dies meanwhile is told afterwards."""

    @functools.wraps(method)
    def locked(self: World, *args: Any, **kwargs: Any) -> Any:
        me = [_native_id()]
        turn = self._turn
        try:
            # To take the lock and to say whose it is must be one step: between two, whatever Python does between two lines
            # (a signal's handler, the program's own sys.settrace function, a collection) may come here again.
            while (owner := turn.setdefault("owner", me)) is not me:
                if owner == me:
                    return method(self, *args, **kwargs)
                self._pause.acquire(timeout=0.0005)
            return method(self, *args, **kwargs)
        finally:
            if turn.get("owner") is me:
                while self._dead:
                    self._dead.pop(0)()
                del turn["owner"]

    return cast(_Method, locked)


def frame_outside() -> FrameType | None:
    """Return the frame of whoever called into the recorder."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("greentrace.record.twin"):
        frame = frame.f_back
    return frame


class World:
    """The ring and the tables."""

    def __init__(self) -> None:
        self._recording = False
        # It goes on, but nothing is told just now.
        self._quiet = False
        # Kept here: when the interpreter goes, the names of this module go before the last object dies, which then stays untold.
        self._is_finalizing = sys.is_finalizing
        self._writer: Writer | None = None
        self._last_ns = 0
        # Whose turn it is to tell: {"owner": [native id]} while it is somebody's.
        self._turn: dict[str, list[int]] = {}
        # Never given back: to wait for it is to sleep, whoever has made `time` green.
        self._pause = native_lock()
        self._pause.acquire()
        self._dead: list[Callable[[], None]] = []
        self._names = Names(32)
        self._nodes: dict[int, Node] = {}
        self._resources: dict[int, Resource] = {}
        self._by_object: dict[int, Resource] = {}
        self._joins: dict[int, Node] = {}
        self._fds: dict[int, FdEntry] = {}
        self._timers: dict[int, Timer] = {}
        self._listeners: dict[int, Listener] = {}
        self._threads: dict[int, Thread] = {}
        self._kinds: dict[type, int] = {}
        self._makers: dict[int, int] = {}
        self._by_thread: dict[int, Node] = {}
        self._hub_types: tuple[type, ...] = ()
        self._named_types: tuple[type, ...] = ()
        # Recording began in the middle of lives: what is first met now may have been held before, by somebody unknown.
        self._late = False
        # While something is told that was found: the thread in which it is so, and the site at which.
        self._found_thread: Thread | None = None
        self._found_site: int | None = None
        self._next = {"greenlet": 1, "resource": e.FIRST_RESOURCE, "timer": 1, "listener": 1, "thread": 0}

    def _number(self, what: str) -> int:
        number = self._next[what]
        self._next[what] = number + 1
        return number

    # ---- the ring

    def emit(self, kind: int, flags: int, t_ns: int, greenlet_: int = 0, other: int = 0, site: int = 0, arg: int = 0) -> None:
        """Write one event, after a keyframe if it opens a generation."""
        writer = self._writer
        if writer is None or os.getpid() != writer.pid:
            # In the child of a fork the ring is the parent's until `forked` comes, and others are asked before us.
            return
        if writer.head % writer.layout.generation_records == 0:
            self._keyframe(t_ns)
        thread = self._found_thread or self._threads.get(_native_id())
        self._put(kind, flags, t_ns, thread.index if thread else 0, greenlet_, other, site, arg)
        if kind in _TURNS and thread is not None:
            thread.note_turn(kind, self._last_ns, greenlet_)

    def _put(self, kind: int, flags: int, t_ns: int, thread: int, greenlet_: int, other: int, site: int, arg: int) -> None:
        writer = self._writer
        assert writer is not None
        if t_ns < self._last_ns:
            t_ns = self._last_ns
        self._last_ns = t_ns
        writer.append(_pack(t_ns, kind, flags, thread, greenlet_, other, site, arg & e.NO_CAPACITY))

    def _keyframe(self, t: int) -> None:
        writer = self._writer
        assert writer is not None
        begin = writer.head
        room = writer.layout.generation_records // 2
        self._put(Kind.KEYFRAME, e.KEYFRAME_BEGIN | e.FLAG_KEY, t, 0, 0, 0, 0, 0)
        partial = False
        for kind, flags, *rest in self._everything():
            if writer.head - begin >= room:
                partial = True
                break
            self._put(kind, flags | e.FLAG_KEY, t, *rest)
        flags = e.KEYFRAME_END | e.FLAG_KEY
        if partial:
            writer.words[PARTIAL_KEYFRAMES] += 1
            flags |= e.KEYFRAME_PARTIAL
        self._put(Kind.KEYFRAME, flags, t, 0, 0, 0, 0, writer.head - begin + 1)

    def _everything(self) -> list[tuple[int, ...]]:
        """Return (kind, flags, thread, greenlet, other, site, arg) of all that lives."""
        rows: list[tuple[int, ...]] = [(Kind.THREAD, 0, th.index, th.main, 0, 0, th.native_id) for th in self._threads.values() if th.told]
        nodes = list(self._nodes.values())
        for n in nodes:
            rows.append((Kind.STATE, n.state, n.thread, n.number, n.spawner, n.site, n.since_ns))
            if n.is_hub:
                rows.append((Kind.HUB, 0, n.thread, n.number, 0, 0, 0))
            if n.name:
                rows.append((Kind.NAME, e.NAME_GIVEN if n.named else 0, n.thread, n.number, 0, 0, n.name))
            if n.spawn_site:
                rows.append((Kind.SPAWN, 0, n.thread, n.number, n.spawner, n.spawn_site, 0))
            if n.started and not n.site and n.state != State.RUNNING:
                rows.append((Kind.START, 0, n.thread, n.number, 0, 0, 0))
            if n.join_resource:
                rows.append((Kind.RESOURCE, ResourceKind.GREENLET, n.thread, 0, n.join_resource, n.spawn_site, n.number))
        for r in list(self._resources.values()):
            rows.append((Kind.RESOURCE, self._resource_flags(r), 0, r.creator, r.number, r.site, r.capacity))
            rows += [(Kind.ACQUIRE, inferred, 0, g, r.number, site, since) for g, site, since, inferred in r.holds]
        for fd, entry in list(self._fds.items()):
            if entry.resource:
                rows.append((Kind.RESOURCE, ResourceKind.FD, 0, 0, entry.resource, 0, fd | entry.generation << e.FD_GENERATION_SHIFT))
                for listener in entry.listeners:
                    who = listener.node.number if listener.node else 0
                    rows.append((Kind.FD_ADD, listener.mode, 0, who, listener.resource, 0, listener.number))
        for n in nodes:
            if n.state in (State.PARKED, State.RUNNING):
                inferred = e.FLAG_INFERRED if n.waits_inferred else 0
                rows += [(Kind.PARK, op | inferred, n.thread, n.number, resource, n.site, n.deadline_ns) for resource, op in n.waits]
        for timer in list(self._timers.values()):
            if not timer.silent:
                rows.append(
                    (Kind.TIMER_ADD, timer.flags, 0, timer.node.number if timer.node else 0, timer.number, timer.site, timer.due_ns)
                )
        return rows

    @staticmethod
    def _resource_flags(r: Resource) -> int:
        return r.kind | (e.RESOURCE_SIGNAL if r.signal else 0) | (e.FLAG_INFERRED if r.inferred else 0)

    def site_here(self) -> int:
        """Return the site of whoever called into the recorder."""
        if self._found_site is not None:
            return self._found_site
        return self._names.site(frame_outside())

    def let_go(self) -> None:
        """Recording has ended: all that is known of what lives goes. The numbers go on, and so do the threads that live.

        Whoever is inside of a hook meanwhile takes nobody for somebody else.
        """
        if self._turn.get("owner") == [_native_id()]:
            # In the middle of telling something: afterwards.
            self._dead.append(self._let_go)
        else:
            self._let_go()

    @whole
    def _let_go(self) -> None:
        if self._recording or self._quiet:
            return
        for node in self._nodes.values():
            node.forgotten = True
            node.timers, node.listeners, node.waits, node.links, node.state = [], [], [], [], State.COLLECTED
        for r in self._resources.values():
            r.reference, r.aliases, r.forgotten = None, {}, True
        for table in (self._nodes, self._resources, self._by_object, self._joins, self._fds, self._timers, self._listeners, self._makers):
            table.clear()  # type: ignore[attr-defined]
        self._by_thread.clear()
        self._kinds.clear()
        self._hub_types = self._named_types = ()
        for native, thread in list(self._threads.items()):
            thread.current = thread.cause = None
            thread.displaced = thread.polling = thread.earliest_stale = thread.told = False
            thread.earliest_ns = thread.main = thread.unlocking = 0
            thread.turn = (Kind.POLL_BEGIN, 0, 0)
            if not os.path.exists(f"/proc/self/task/{native}"):
                del self._threads[native]
        self._names = Names(self._names.depth)
        # The ring is unmapped as soon as nobody is in the middle of writing into it.
        self._writer = None

    # ---- threads and greenlets

    def thread(self) -> Thread:
        """Return this OS thread, telling of it the first time."""
        thread = self._threads.get(_native_id())
        return thread if thread is not None and thread.main and thread.met else self._meet_thread(_native_id())

    def known_thread(self) -> Thread | None:
        """Return this OS thread if it has said anything yet, in this recording or an earlier one."""
        return self._threads.get(_native_id())

    @staticmethod
    def _main_of_thread() -> Any:
        g = greenlet.getcurrent()
        while g.parent is not None:
            g = g.parent
        return g

    @whole
    def _meet_thread(self, native: int) -> Thread:
        thread = self._threads.get(native)
        if thread is None:
            thread = self._threads[native] = Thread(self._number("thread"), native)
        thread.met = True
        thread.ident = native_threads().get_ident()
        try:
            g = self._main_of_thread()
            thread.main_address = id(g)
            thread.main = self.node(g).number
        except RuntimeError:
            # The interpreter is on its way out: `current` says nobody.
            pass
        self.emit(Kind.THREAD, 0, monotonic_ns(), thread.main, 0, 0, native)
        thread.told = True
        return thread

    def node(self, g: Any, spawner: Node | None = None) -> Node:
        """Return what is known of a greenlet, telling of it the first time."""
        tag = g.__dict__.get(TAG)
        return tag.node if tag is not None and not tag.node.forgotten else self._meet(g, spawner)

    @whole
    def _meet(self, g: Any, spawner: Node | None) -> Node:
        tag = g.__dict__.get(TAG)
        if tag is not None and not tag.node.forgotten:
            return tag.node  # type: ignore[no-any-return]
        thread = self._found_thread or self._threads.get(_native_id())
        node = Node(self._number("greenlet"), id(g), thread.index if thread else 0, since_ns=monotonic_ns())
        if not (self._recording or self._quiet):
            # Recording has ended since the hook was entered.
            return node
        g.__dict__[TAG] = Tag(node, self._gone)
        node.is_hub = isinstance(g, self._hub_types)
        if spawner is not None:
            node.spawner = spawner.number
            node.spawn_site = self.site_here()
            self.emit(Kind.SPAWN, 0, node.since_ns, node.number, spawner.number, node.spawn_site)
            node.state = State.CREATED
        elif is_dead(g) or is_active(g):
            node.started = True
            node.state = State.RUNNING if g is greenlet.getcurrent() else State.UNKNOWN
        else:
            node.state = State.CREATED
        if g.parent is None:
            node.is_main = True
            node.started = node.named = True
            node.name = self._names.string(f"main of thread {node.thread}" if node.thread else "main")
        if spawner is None:
            self.emit(Kind.STATE, node.state, node.since_ns, node.number, 0, 0, node.since_ns)
        self._nodes[node.number] = node
        if node.is_hub:
            self.say_hub(node, type(g).__qualname__)
        elif node.name:
            self.emit(Kind.NAME, e.NAME_GIVEN, node.since_ns, node.number, 0, 0, node.name)
        return node

    def _gone(self, node: Node) -> None:
        try:
            self._died(functools.partial(self._collected, node))
        except Exception:
            if not self._is_finalizing():
                raise

    def _died(self, tell: Callable[[], None]) -> None:
        """Tell it now, or after what is being told: an object may die at any moment."""
        if self._turn.get("owner") == [_native_id()]:
            self._dead.append(tell)
        else:
            tell()

    @whole
    def _collected(self, node: Node) -> None:
        if node.forgotten:
            return
        if self._recording:
            self.emit(Kind.COLLECT, 0, monotonic_ns(), node.number)
        self._nodes.pop(node.number, None)
        self._joins.pop(node.join_resource, None)
        for timer in node.timers:
            timer.node = None
        for listener in node.listeners:
            listener.node = None
        node.state = State.COLLECTED

    def current(self) -> Node:
        """Return the greenlet that runs now.

        If no switch brought it here, this thread was not traced until now, or another tracer has taken our place.
        """
        thread = self.thread()
        try:
            g = greenlet.getcurrent()
        except RuntimeError:
            # The interpreter is on its way out, and greenlet has cleaned up before whoever still takes a lock.
            return Node(0, 0, thread.index)
        node = thread.current
        if node is None or node.address != id(g):
            node = self.node(g)
            if not node.name:
                self.name_at_start(node, g)
            if thread.current is not None and thread.tracing and not thread.displaced:
                thread.displaced = True
                self.say_text(Kind.DISPLACED, "greenlet.settrace")
            thread.current = node
            if not thread.tracing and self._recording:
                self._runs_unseen(node)
                self.start_thread()
        return node

    @whole
    def _runs_unseen(self, node: Node) -> None:
        """It may have been seen when it did not run, and nobody has told of the switch."""
        if node.state != State.RUNNING:
            t = monotonic_ns()
            self.emit(Kind.STATE, State.RUNNING, t, node.number, 0, 0, t)
            node.state, node.since_ns, node.waits = State.RUNNING, t, []

    def start_thread(self) -> None:
        """Trace this thread's switches; the face (twin.py) does it."""
        raise NotImplementedError

    def name_at_start(self, node: Node, g: Any) -> None:
        """Name who may never park (twin_core.py)."""
        raise NotImplementedError

    # ---- resources

    def kind_of(self, obj: Any, otherwise: int) -> int:
        for base in type(obj).__mro__:
            if base in self._kinds:
                return self._kinds[base]
        return otherwise

    def resource_of(self, obj: Any, kind: int, capacity: int = e.NO_CAPACITY, inferred: bool = True) -> Resource:
        """Return what is known of a resource, telling of it the first time."""
        return self._by_object.get(id(obj)) or self._meet_resource(obj, kind, capacity, inferred)

    @whole
    def _meet_resource(self, obj: Any, kind: int, capacity: int, inferred: bool) -> Resource:
        if id(obj) in self._by_object:
            return self._by_object[id(obj)]
        kind = self.kind_of(obj, kind)
        thread = self._threads.get(_native_id())
        creator = thread.current.number if thread and thread.current and self._found_site is None else 0
        if kind == ResourceKind.SEMAPHORE and thread and thread.current and thread.current.making_places:
            kind, capacity = ResourceKind.POOL, e.NO_CAPACITY
        r = Resource(self._number("resource"), kind, creator, self.site_here(), id(obj), inferred)
        r.capacity = 1 if kind in (ResourceKind.LOCK, ResourceKind.RLOCK) else capacity & e.NO_CAPACITY
        r.signal = kind in (ResourceKind.SEMAPHORE, ResourceKind.LOCK) and capacity == 0
        self.emit(Kind.RESOURCE, self._resource_flags(r), monotonic_ns(), creator, r.number, r.site, r.capacity)
        try:
            r.reference = weakref.ref(obj, lambda _: self._gone_resource(r))
        except TypeError:
            # It takes no weak reference and cannot be known again: it gets a number for this once.
            self.emit(Kind.DISPOSE, 0, monotonic_ns(), 0, r.number)
            return r
        self._by_object[id(obj)] = self._resources[r.number] = r
        return r

    def _forget_key(self, key: int, r: Resource) -> None:
        """An object is no longer there that stood for a resource; outside of any turn, for it may go at any time."""
        if self._by_object.get(key) is r:
            # Another thread may have let go of everything meanwhile.
            self._by_object.pop(key, None)

    def _gone_resource(self, r: Resource) -> None:
        try:
            # At once: its address may be used again from now on.
            for key in (r.key, *r.aliases):
                self._forget_key(key, r)
            self._died(functools.partial(self._disposed, r))
        except Exception:
            if not self._is_finalizing():
                raise

    @whole
    def _disposed(self, r: Resource) -> None:
        if self._resources.get(r.number) is not r:
            return
        if self._recording:
            self.emit(Kind.DISPOSE, 0, monotonic_ns(), 0, r.number)
        self._resources.pop(r.number, None)

    @whole
    def join_of(self, node: Node) -> int:
        """Return the resource that stands for the end of a greenlet."""
        if not node.join_resource:
            number = self._number("resource")
            self.emit(Kind.RESOURCE, ResourceKind.GREENLET, monotonic_ns(), 0, number, node.spawn_site, node.number)
            node.join_resource = number
            self._joins[number] = node
        return node.join_resource

    @whole
    def fd(self, fd: int) -> FdEntry:
        """Return the present generation of a file descriptor."""
        entry = self._fds.setdefault(fd, FdEntry())
        if not entry.resource:
            number = self._number("resource")
            arg = fd | (entry.generation + 1) << e.FD_GENERATION_SHIFT
            self.emit(Kind.RESOURCE, ResourceKind.FD, monotonic_ns(), 0, number, 0, arg)
            entry.generation += 1
            entry.resource = number
        return entry

    @whole
    def say_hub(self, node: Node, type_name: str) -> None:
        self.emit(Kind.HUB, 0, monotonic_ns(), node.number, 0, 0, self._names.string(type_name))
        node.is_hub = True
        if not node.name:
            node.name = self._names.string("hub")
            node.named = True
            self.emit(Kind.NAME, e.NAME_GIVEN, monotonic_ns(), node.number, 0, 0, node.name)

    @whole
    def say_name(self, node: Node, text: Any, flags: int) -> None:
        number = self._names.string(text)
        if number:
            self.emit(Kind.NAME, flags, monotonic_ns(), node.number, 0, 0, number)
            node.name = number
            node.named = node.named or bool(flags & e.NAME_GIVEN)

    @whole
    def say_text(self, kind: int, text: str) -> None:
        thread = self.thread()
        site = self.site_here() if kind == Kind.MARK else 0
        self.emit(kind, 0, monotonic_ns(), thread.current.number if thread.current else 0, 0, site, self._names.string(text))
