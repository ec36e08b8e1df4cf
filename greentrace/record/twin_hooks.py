"""Hooks of the Python recorder: functions that stand in the place of a runtime's methods.

The roles are those of native/hooks.h, by the same names; each is a method that makes the function for one method. Here are those that
every runtime has; twin_eventlet.py and twin_gevent.py have their own. A hooked method costs about half a microsecond more, ten times
what the native hook costs. One room, because a role is a few lines, and whoever looks for one finds it by its name.
"""

from __future__ import annotations

import contextlib
import functools
import math
import posix
import sys
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Kind, Mode, Op, ResourceKind, State, Waker
from greentrace.record.tables import Node, Resource
from greentrace.record.twin_core import Core
from greentrace.record.twin_world import whole

Function = Callable[..., Any]
IO_OPS: dict[int, Op] = {Mode.READ: Op.READ, Mode.WRITE: Op.WRITE, Mode.READWRITE: Op.READWRITE}
BY_TIMERS = -2


def delay_ns(seconds: Any) -> int:
    """Return seconds as ns, -1 when it is no number."""
    if not isinstance(seconds, (int, float)) or math.isnan(seconds):
        return -1
    return 0 if seconds < 0 else int(min(seconds, 9e9) * 1e9)


def without_us(error: BaseException) -> None:
    """Take our frames out of the front of a traceback: to be called where it is about to be raised again, by a bare `raise`.

    That goes on with the traceback that the exception has by then, adds nothing to it, and leaves __context__ and __cause__ alone.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").startswith("greentrace.record.twin"):
        traceback = traceback.tb_next
    error.__traceback__ = traceback


class Fire:
    """A callback that tells that its watcher or listener fired."""

    def __init__(self, hooks: Hooks, callback: Function, key: int, waker: Waker) -> None:
        self._hooks = hooks
        self._callback = callback
        self._key = key
        self._waker = waker

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._call(*args, **kwargs)
        except BaseException as error:
            without_us(error)
            raise

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if not self._hooks.is_telling():
            return self._callback(*args, **kwargs)
        thread = self._hooks.thread()
        if self._waker == Waker.TIMER:
            self._hooks.say_timer_end(self._key, True)
        elif self._waker == Waker.FD:
            # The hub calls from inside of its poll, or does not show what that returned.
            if thread.polling:
                self._hooks.poll_end(1)
            self._hooks.say_heard(self._key)
        elif self._waker in (Waker.PROCESS, Waker.SIGNAL):
            thread.cause = (self._waker, self._hooks.numbers.get(self._key, 0), 0)
        else:
            # libuv makes other watchers of it, which the hub's own thread sends to.
            sender = self._hooks.senders.get(self._key)
            known = sender is not None and sender != thread.index
            thread.cause = (Waker.THREAD, sender or 0, 0) if known else (Waker.CALLBACK, 0, 0)
        try:
            return self._callback(*args, **kwargs)
        finally:
            thread.cause = None

    def __repr__(self) -> str:
        # gevent prints the watcher whose callback has failed, and that callback with it.
        return repr(self._callback)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callback, name)


class Job:
    """What a greenlet has given to a native thread to call: its end will be that thread's doing."""

    def __init__(self, hooks: Hooks, function: Function, node: Node) -> None:
        self._hooks = hooks
        self._function = function
        self._node = node

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks.is_recording():
            self._node.worker = self._hooks.thread().index
        return self._function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


class Hooks(Core):
    """The roles."""

    def __init__(self) -> None:
        super().__init__()
        self.senders: dict[int, int] = {}
        """The address of a watcher that another thread has sent to -> that thread."""
        self.numbers: dict[int, int] = {}
        """The address of a watcher of a child or a signal -> its pid or number."""

    def is_recording(self) -> bool:
        return (self._recording or self._quiet) and not self._is_finalizing()

    def is_telling(self) -> bool:
        return self._recording and not self._is_finalizing()

    def hook(self, wrapped: Function, role: str, kind: int = 0, op: int = 0, extra: Function | None = None) -> Function:
        """Return a function that calls `wrapped` and tells what that meant."""
        make = getattr(self, f"_role_{role}", None)
        if make is None:
            raise ValueError(f"no role is named {role}")
        act: Function = make(wrapped, kind, op, extra)
        is_finalizing = self._is_finalizing

        @functools.wraps(wrapped)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            try:
                if not self._recording or not args or is_finalizing():
                    return wrapped(*args, **kwargs)
                return act(*args, **kwargs)
            except BaseException as error:
                without_us(error)
                raise

        return hooked

    def _waiting(self, node: Node, resource: int, op: int, call: Function, args: Any, kwargs: Any) -> Any:
        self.say_intent(node, resource, op)
        node.intent_depth += 1
        try:
            return call(*args, **kwargs)
        finally:
            node.intent_depth -= 1

    def _target(self, callback: Any) -> tuple[int, Node | None]:
        """Return (1 switches to | 2 throws into | 0 neither, whom) of a timer's or loop's callback."""
        owner = getattr(callback, "__self__", None)
        what = {"switch": 1, "throw": 2}.get(getattr(callback, "__name__", ""), 0)
        if owner is None or not what:
            return 0, None
        if isinstance(owner, greenlet.greenlet):
            return what, self.node(owner)
        waiter = getattr(owner, "greenlet", owner)
        if isinstance(waiter, greenlet.greenlet):
            return what, self.node(waiter)
        return (what, self.current()) if waiter is None else (0, None)

    # ---- waits and locks

    def _role_wait(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node, resource = self.current(), self.resource_of(args[0], kind)
            # An Event that only stands for a DAGPool.
            if resource.key != id(args[0]) and not node.intent_depth:
                keys = self._keys_awaited(sys._getframe(2), resource)
                if keys:
                    return self._waiting_for(node, keys, wrapped, args, kwargs)
            return self._waiting(node, resource.number, op, wrapped, args, kwargs)

        return act

    def _keys_awaited(self, frame: Any, resource: Resource) -> list[tuple[int, int]]:
        """Return what is awaited of a DAGPool, [] if that cannot be known (twin_eventlet.py)."""
        return []

    def _waiting_for(self, node: Node, waits: list[tuple[int, int]], call: Function, args: Any, kwargs: Any) -> Any:
        node.intents = waits
        node.intent_depth += 1
        try:
            return call(*args, **kwargs)
        finally:
            node.intent_depth -= 1

    def _role_join(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if not isinstance(args[0], greenlet.greenlet):
                return wrapped(*args, **kwargs)
            return self._waiting(self.current(), self.join_of(self.node(args[0])), Op.JOIN, wrapped, args, kwargs)

        return act

    @contextlib.contextmanager
    def _inside(self, node: Node) -> Iterator[None]:
        """What a primitive acquires and releases of that which it is made of is its own affair."""
        node.acquire_depth += 1
        node.release_depth += 1
        try:
            yield
        finally:
            node.acquire_depth -= 1
            node.release_depth -= 1

    def _role_composite(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            with self._inside(node):
                return self._waiting(node, self.resource_of(args[0], kind).number, op, wrapped, args, kwargs)

        return act

    def _role_afresh(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            # Inside of a Condition's wait its lock is given up and taken back: that lock says itself what becomes of it and what is
            # waited for. A Condition inside of something else (threading.Event) stays that one's affair.
            node = self.current()
            announced, depth = node.intents, node.intent_depth
            inside = int(node.acquire_depth == 1)
            node.intent_depth = 0
            node.acquire_depth -= inside
            node.release_depth -= inside
            try:
                return wrapped(*args, **kwargs)
            finally:
                node.intents, node.intent_depth = announced, depth
                node.acquire_depth += inside
                node.release_depth += inside

        return act

    @staticmethod
    def _capacity(obj: Any, kind: int) -> int:
        """Return how many may hold it at a time: semaphores (threading's counter is `_value`), pools."""
        names = ("size", "max_size") if kind == ResourceKind.POOL else ("counter", "_value")
        # A CappedSemaphore is made of two.
        for owner, name in (*((obj, name) for name in names), (getattr(obj, "lower_bound", None), "counter")):
            capacity = getattr(owner, name, None)
            if isinstance(capacity, int) and capacity >= 0:
                return capacity
        return e.NO_CAPACITY

    def _limited(self, obj: Any, kind: int) -> Resource:
        """Return a resource that has a capacity: if it was never used before, as far as we watched, what it has now is all it has."""
        known = self._by_object.get(id(obj))
        if known is not None:
            return known
        capacity = self._capacity(obj, kind)
        if self._late and kind == ResourceKind.SEMAPHORE:
            # Somebody may have used it before we watched: what it has now is all it has only if it says so itself.
            known_to_it = getattr(obj, "_initial_value", getattr(obj, "original_counter", None))
            capacity = known_to_it if isinstance(known_to_it, int) else e.NO_CAPACITY
        return self.resource_of(obj, kind, capacity)

    def _role_resized(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            resource = self._by_object.get(id(args[0]))
            if resource is not None and self._recording:
                self.resource_resized(resource, self._capacity(args[0], kind))
            return result

        return act

    def _role_work(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            resource = self._by_object.get(id(args[0]))
            if resource is not None:
                self.say_work_on(resource, self.current())
            return wrapped(*args, **kwargs)

        return act

    def _role_work_by(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            resource = self._by_object.get(id(args[0]))
            if resource is not None:
                by = args[1] if len(args) > 1 and isinstance(args[1], greenlet.greenlet) else None
                self.say_work_on(resource, self.current() if by is None else self.node(by))
            return wrapped(*args, **kwargs)

        return act

    # ---- pools, and threads that are greenlets

    def _named_by(self, node: Node, function: Any) -> None:
        """The greenlet runs this function; it was spawned with one of the runtime's around it."""
        if not node.named and isinstance(getattr(function, "__name__", None), str):
            self.say_name(node, function.__name__, 0)

    def _role_named(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1:
                self._named_by(self.current(), args[1])
            return wrapped(*args, **kwargs)

        return act

    def _role_pool_enter(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        # A place in a pool is held by the greenlet that is in it, and not by whoever spawned that. A gevent Pool's methods call a
        # Group's, which have rows too: a greenlet enters and leaves but once.
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) < 2:
                return wrapped(*args, **kwargs)
            pool, node = args[0], self.current()
            running = getattr(pool, "coroutines_running", ())
            resource = self._limited(pool, kind)
            if getattr(getattr(pool, "sem", None), "counter", 1) <= 0 and greenlet.getcurrent() in running:
                # One of its own finds it full: the function runs here and now, and what that waits for is the function's affair.
                return wrapped(*args, **kwargs)
            with self._inside(node):
                result = self._waiting(node, resource.number, op, wrapped, args, kwargs)
            member = args[1] if isinstance(args[1], greenlet.greenlet) else result if result in running else None
            if self._recording and isinstance(member, greenlet.greenlet) and not self._holds(resource, self.node(member)):
                self.say_acquire(self.node(member), resource)
            return result

        return act

    @staticmethod
    def _holds(resource: Resource, node: Node) -> bool:
        return any(hold[0] == node.number for hold in resource.holds)

    def _role_pool_run(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 4 and args[4] is not None:
                self._named_by(self.current(), args[1])
                self.say_acquire(self.current(), self._limited(args[0], kind))
            return wrapped(*args, **kwargs)

        return act

    def _role_pool_leave(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            resource = self._limited(args[0], kind)
            # Told first: the call itself may already wake somebody.
            if len(args) > 1 and isinstance(args[1], greenlet.greenlet):
                member = self.node(args[1])
                if self._holds(resource, member):
                    self.say_release(member, resource)
                else:
                    self.say_work_on(resource, member)
            with self._inside(self.current()):
                return wrapped(*args, **kwargs)

        return act

    def _role_thread_run(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            if node.number == self.thread().main:
                # A thread of the system runs in a main greenlet, and is none of our business.
                return wrapped(*args, **kwargs)
            name = getattr(args[0], "_name", None)
            if not node.named and isinstance(name, str):
                self.say_name(node, name, e.NAME_GIVEN)
            # The thread object lives as long as this call, so its address is its own until then.
            self._by_thread[id(args[0])] = node
            try:
                return wrapped(*args, **kwargs)
            finally:
                self._by_thread.pop(id(args[0]), None)

        return act

    def _role_thread_join(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            joined = self._by_thread.get(id(args[0]))
            number = self.join_of(joined) if joined else self.resource_of(args[0], ResourceKind.THREAD).number
            return self._waiting(self.current(), number, Op.JOIN, wrapped, args, kwargs)

        return act

    @staticmethod
    def _counts(resource: Resource, kind: int) -> bool:
        """gevent's ThreadPool keeps a semaphore for its places, and who holds those are native threads; an imap one for its room."""
        return kind == ResourceKind.SEMAPHORE and resource.kind in (ResourceKind.POOL, ResourceKind.QUEUE)

    def _lock(self, wrapped: Function, kind: int, times: Callable[[Any, Any], int], within: int = 0) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource = self._limited(args[0], kind) if kind == ResourceKind.SEMAPHORE else self.resource_of(args[0], kind)
            outer = node.acquire_depth <= within
            wanted = Op.PUT if resource.kind == ResourceKind.QUEUE else Op.ACQUIRE
            with self._inside(node):
                result = self._waiting(node, resource.number, wanted, wrapped, args, kwargs)
            if outer and self._recording and not self._counts(resource, kind):
                for _ in range(min(times(result, args), 1000)):
                    self.say_acquire(node, resource)
            return result

        return act

    def _role_acquire(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        return self._lock(wrapped, kind, lambda result, args: bool(result))

    def _role_enter(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        return self._lock(wrapped, kind, lambda result, args: 1)

    def _role_acquire_again(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def times(result: Any, args: Any) -> int:
            state = args[1] if len(args) > 1 else None
            return state[0] if isinstance(state, tuple) and state and isinstance(state[0], int) else 1

        # It is called inside of a Condition's wait, and is not its affair.
        locked = self._lock(wrapped, kind, times, 1)

        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            if node.acquire_depth > 1:
                return locked(*args, **kwargs)
            # A Condition's wait is over; from now on its lock is waited for.
            announced, node.intents = node.intents, [(self.resource_of(args[0], kind).number, int(Op.ACQUIRE))]
            try:
                return locked(*args, **kwargs)
            finally:
                node.intents = announced

        return act

    def _unlock(self, wrapped: Function, kind: int, op: int, everything: bool) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource = self.resource_of(args[0], kind)
            held = sum(hold[0] == node.number for hold in resource.holds)
            outer = node.release_depth <= everything
            with self._inside(node):
                result = self._waiting(node, resource.number, op, wrapped, args, kwargs) if op else wrapped(*args, **kwargs)
            if outer and self._recording:
                # threading's Semaphore.release(n=1)
                count = kwargs.get("n", args[1] if len(args) > 1 else 1)
                given = max(1, min(count, 1000)) if type(count) is int else 1
                for _ in range(held if everything else given):
                    if self._counts(resource, kind):
                        self.say_work_on(resource, node)
                    else:
                        self.say_release(node, resource)
            return result

        return act

    def _role_release(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        return self._unlock(wrapped, kind, op, False)

    def _role_release_all(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        return self._unlock(wrapped, kind, op, True)

    def _role_set(self, wrapped: Function, kind: int, op: int, extra: Any, event: Kind = Kind.SET) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            # Told first: the call itself may already wake somebody.
            if node.intent_depth == 0 and node.acquire_depth == 0:
                self.say_touch(event, node, self.resource_of(args[0], kind))
            with self._inside(node):
                return wrapped(*args, **kwargs)

        return act

    def _role_clear(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        return self._role_set(wrapped, kind, op, extra, Kind.CLEAR)

    def _role_put(self, wrapped: Function, kind: int, op: int, extra: Any, event: Kind = Kind.PUT) -> Function:
        wanted = Op.PUT if event == Kind.PUT else Op.GET

        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource = self.resource_of(args[0], kind)
            outer = node.intent_depth == 0
            if event == Kind.PUT:
                self.say_work_on(resource, node)
            elif isinstance(args[0], greenlet.greenlet):
                # Whoever asks a gevent imap for its next result first makes room for one more.
                imap = self.node(args[0])
                if imap.otherwise and imap.state == State.PARKED and imap.waits[0][0] == resource.number:
                    self.say_wake(imap, Waker.GREENLET, node.number, resource.number)
            with self._inside(node):
                result = self._waiting(node, resource.number, wanted, wrapped, args, kwargs)
            if outer and self._recording:
                try:
                    size = len(args[0]) + 1
                except TypeError:
                    size = 0
                self.say_touch(event, node, resource, size)
            return result

        return act

    def _role_get(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        return self._role_put(wrapped, kind, op, extra, Kind.GET)

    def _role_created(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            # By the function that makes it: its caller is `hooked`, whose caller is that function.
            made = self._makers.get(id(sys._getframe(2).f_code), kind) if self._makers else kind
            what = self.kind_of(args[0], made)
            limited = what in (ResourceKind.SEMAPHORE, ResourceKind.POOL)
            node = self.current()
            if not limited:
                self.resource_of(args[0], made, inferred=False)
            # A gevent Pool's __init__ calls a Group's, which does not know how many may be in it.
            outer, node.creating = node.creating, id(args[0])
            try:
                with self._inside(node):
                    result = wrapped(*args, **kwargs)
            finally:
                node.creating = outer
            if limited and outer != id(args[0]) and self._recording:
                self.resource_of(args[0], made, self._capacity(args[0], what), inferred=False)
            return result

        return act

    # ---- hubs

    def _role_hub_created(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            g = getattr(args[0], "greenlet", None)
            if isinstance(g, greenlet.greenlet) and self._recording:
                self.current()
                self.say_hub(self.node(g), type(args[0]).__qualname__)
            return result

        return act

    def _hub_runs(self, hub: Any) -> None:
        node = self.current()
        if not node.is_hub:
            self.say_hub(node, type(hub).__qualname__)

    def _role_hub_runs(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            self._hub_runs(args[0])
            return wrapped(*args, **kwargs)

        return act

    def _role_fd_opened(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1 and isinstance(args[1], int) and args[1] >= 0:
                self.say_fd_open(args[1])
            return wrapped(*args, **kwargs)

        return act

    def _role_fd_closed(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1 and isinstance(args[1], int) and args[1] >= 0:
                self.say_fd_close(args[1])
            return wrapped(*args, **kwargs)

        return act

    def _role_python(self, wrapped: Function, kind: int, op: int, extra: Function | None) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            if self._recording and extra is not None:
                try:
                    extra(result, *args)
                except Exception as error:
                    # A fault of ours is said and no more.
                    posix.write(2, f"greentrace: {type(error).__name__} in {extra.__name__}: {error}\n".encode(errors="replace"))
            return result

        return act

    # ---- polls

    @whole
    def poll_begin(self, timeout_ns: int) -> None:
        if self._recording:
            number, t, thread = self.current().number, monotonic_ns(), self.thread()
            if timeout_ns == BY_TIMERS:
                timeout_ns = self.until_earliest(thread, t)
            self.emit(Kind.POLL_BEGIN, 0, t, number, 0, 0, timeout_ns)
            thread.polling = True

    @whole
    def poll_end(self, ready: int) -> None:
        # It may have been over before: somebody ran.
        if self._recording and self.thread().polling:
            self.emit(Kind.POLL_END, 0, monotonic_ns(), self.current().number, 0, 0, ready + 1)
            self.thread().polling = False
