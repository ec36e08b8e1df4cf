"""Hooks of the Python recorder: functions that stand in the place of a runtime's methods.

The roles are those of native/hooks.c, by the same names; each is a method here that makes the function for one method.
A hooked method costs about half a microsecond more, ten times what the native hook costs. One room, because native/hooks.c
is one: the two are read side by side.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Kind, Mode, Op, ResourceKind, Waker
from greentrace.record.tables import MAX_WAITS, Node, Resource
from greentrace.record.twin_core import Core
from greentrace.record.twin_world import whole

_Function = Callable[..., Any]
_IO_OPS: dict[int, Op] = {Mode.READ: Op.READ, Mode.WRITE: Op.WRITE, Mode.READWRITE: Op.READWRITE}
_BY_TIMERS = -2


def _delay_ns(seconds: Any) -> int:
    """Return seconds as ns, -1 when it is no number."""
    if not isinstance(seconds, (int, float)) or math.isnan(seconds):
        return -1
    return 0 if seconds < 0 else int(min(seconds, 9e9) * 1e9)


class Fire:
    """A callback that tells that its watcher or listener fired."""

    def __init__(self, hooks: Hooks, callback: _Function, key: int, waker: Waker) -> None:
        self._hooks = hooks
        self._callback = callback
        self._key = key
        self._waker = waker

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._hooks.is_recording():
            return self._callback(*args, **kwargs)
        thread = self._hooks.thread()
        if self._waker == Waker.TIMER:
            self._hooks.say_timer_end(self._key, True)
        elif self._waker == Waker.FD:
            # The hub calls from inside of its poll, or does not show what that returned.
            if thread.polling:
                self._hooks.poll_end(1)
            self._hooks.say_heard(self._key)
        else:
            # libuv makes other watchers of it, which the hub's own thread sends to.
            sender = self._hooks.senders.get(self._key)
            known = sender is not None and sender != thread.index
            thread.cause = (Waker.THREAD, sender or 0, 0) if known else (Waker.CALLBACK, 0, 0)
        try:
            return self._callback(*args, **kwargs)
        finally:
            thread.cause = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callback, name)


class Hooks(Core):
    """The roles."""

    def __init__(self) -> None:
        super().__init__()
        self.senders: dict[int, int] = {}
        """The address of a watcher that another thread has sent to -> that thread."""

    def is_recording(self) -> bool:
        return self._recording and not self._is_finalizing()

    def hook(self, wrapped: _Function, role: str, kind: int = 0, op: int = 0, extra: _Function | None = None) -> _Function:
        """Return a function that calls `wrapped` and tells what that meant."""
        make = getattr(self, f"_role_{role}", None)
        if make is None:
            raise ValueError(f"no role is named {role}")
        act: _Function = make(wrapped, kind, op, extra)
        is_finalizing = self._is_finalizing

        @functools.wraps(wrapped)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            if not self._recording or not args or is_finalizing():
                return wrapped(*args, **kwargs)
            return act(*args, **kwargs)

        return hooked

    def _waiting(self, node: Node, resource: int, op: int, call: _Function, args: Any, kwargs: Any) -> Any:
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

    def _role_wait(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            return self._waiting(self.current(), self.resource_of(args[0], kind).number, op, wrapped, args, kwargs)

        return act

    def _role_join(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
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

    def _role_composite(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            with self._inside(node):
                return self._waiting(node, self.resource_of(args[0], kind).number, op, wrapped, args, kwargs)

        return act

    def _role_afresh(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
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
        for name in ("size", "max_size") if kind == ResourceKind.POOL else ("counter", "_value"):
            capacity = getattr(obj, name, None)
            if isinstance(capacity, int) and capacity >= 0:
                return capacity
        return e.NO_CAPACITY

    def _limited(self, obj: Any, kind: int) -> Resource:
        """Return a resource that has a capacity: if it was never used before, as far as we watched, what it has now is all it has."""
        return self._by_object.get(id(obj)) or self.resource_of(obj, kind, self._capacity(obj, kind))

    def _role_resized(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            resource = self._by_object.get(id(args[0]))
            if resource is not None and self._recording:
                self.resource_resized(resource, self._capacity(args[0], kind))
            return result

        return act

    def _role_work(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            resource = self._by_object.get(id(args[0]))
            if resource is not None:
                self.say_work_on(resource, self.current())
            return wrapped(*args, **kwargs)

        return act

    def _role_work_by(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
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

    def _role_named(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1:
                self._named_by(self.current(), args[1])
            return wrapped(*args, **kwargs)

        return act

    def _role_pool_enter(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
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

    def _role_pool_run(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 4 and args[4] is not None:
                self._named_by(self.current(), args[1])
                self.say_acquire(self.current(), self._limited(args[0], kind))
            return wrapped(*args, **kwargs)

        return act

    def _role_pool_leave(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
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

    def _role_thread_run(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
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

    def _role_thread_join(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            joined = self._by_thread.get(id(args[0]))
            number = self.join_of(joined) if joined else self.resource_of(args[0], ResourceKind.THREAD).number
            return self._waiting(self.current(), number, Op.JOIN, wrapped, args, kwargs)

        return act

    @staticmethod
    def _by_threads(resource: Resource, kind: int) -> bool:
        """gevent's ThreadPool keeps a semaphore for its places, and who holds those are native threads."""
        return kind == ResourceKind.SEMAPHORE and resource.kind == ResourceKind.POOL

    def _lock(self, wrapped: _Function, kind: int, times: Callable[[Any, Any], int], within: int = 0) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource = self._limited(args[0], kind) if kind == ResourceKind.SEMAPHORE else self.resource_of(args[0], kind)
            outer = node.acquire_depth <= within
            with self._inside(node):
                result = self._waiting(node, resource.number, Op.ACQUIRE, wrapped, args, kwargs)
            if outer and self._recording and not self._by_threads(resource, kind):
                for _ in range(min(times(result, args), 1000)):
                    self.say_acquire(node, resource)
            return result

        return act

    def _role_acquire(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        return self._lock(wrapped, kind, lambda result, args: bool(result))

    def _role_enter(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        return self._lock(wrapped, kind, lambda result, args: 1)

    def _role_acquire_again(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
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

    def _unlock(self, wrapped: _Function, kind: int, op: int, everything: bool) -> _Function:
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
                    if self._by_threads(resource, kind):
                        self.say_work_on(resource, node)
                    else:
                        self.say_release(node, resource)
            return result

        return act

    def _role_release(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        return self._unlock(wrapped, kind, op, False)

    def _role_release_all(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        return self._unlock(wrapped, kind, op, True)

    def _role_set(self, wrapped: _Function, kind: int, op: int, extra: Any, event: Kind = Kind.SET) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            # Told first: the call itself may already wake somebody.
            if node.intent_depth == 0 and node.acquire_depth == 0:
                self.say_touch(event, node, self.resource_of(args[0], kind))
            with self._inside(node):
                return wrapped(*args, **kwargs)

        return act

    def _role_clear(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        return self._role_set(wrapped, kind, op, extra, Kind.CLEAR)

    def _role_put(self, wrapped: _Function, kind: int, op: int, extra: Any, event: Kind = Kind.PUT) -> _Function:
        wanted = Op.PUT if event == Kind.PUT else Op.GET

        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource = self.resource_of(args[0], kind)
            outer = node.intent_depth == 0
            if event == Kind.PUT:
                self.say_work_on(resource, node)
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

    def _role_get(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        return self._role_put(wrapped, kind, op, extra, Kind.GET)

    def _role_created(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
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

    def _role_hub_created(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
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

    def _role_hub_runs(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            self._hub_runs(args[0])
            return wrapped(*args, **kwargs)

        return act

    def _role_fd_opened(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1 and isinstance(args[1], int) and args[1] >= 0:
                self.say_fd_open(args[1])
            return wrapped(*args, **kwargs)

        return act

    def _role_fd_closed(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1 and isinstance(args[1], int) and args[1] >= 0:
                self.say_fd_close(args[1])
            return wrapped(*args, **kwargs)

        return act

    def _role_python(self, wrapped: _Function, kind: int, op: int, extra: _Function | None) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            if self._recording and extra is not None:
                try:
                    extra(result, *args)
                except Exception as error:
                    # A fault of ours is said and no more.
                    os.write(2, f"greentrace: {type(error).__name__} in {extra.__name__}: {error}\n".encode(errors="replace"))
            return result

        return act

    # ---- eventlet

    def _role_ev_add(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            listener = wrapped(*args, **kwargs)
            if len(args) > 2 and isinstance(args[2], int):
                self.say_listen(id(listener), args[2], Mode.READ if args[1] == "read" else Mode.WRITE, self.current())
            return listener

        return act

    def _role_ev_add_called(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            listener = wrapped(*args, **kwargs)
            listener.cb = Fire(self, listener.cb, id(listener), Waker.FD)
            return listener

        return act

    def _role_ev_ready(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 2:
                reader = args[0].listeners["read"].get(args[2])
                self.say_ready(args[2], Mode.READ if reader is not None and reader.cb is args[1] else Mode.WRITE)
            return wrapped(*args, **kwargs)

        return act

    def _role_ev_forget(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            if len(args) > 1:
                self.say_unlisten_all(args[1])
            return result

        return act

    def _role_ev_remove(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1:
                self.say_unlisten(id(args[1]))
            return wrapped(*args, **kwargs)

        return act

    def _role_ev_timer(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            if len(args) > 1:
                self._ev_timer_added(args[1])
            return result

        return act

    def _ev_timer_added(self, timer: Any) -> None:
        delay = _delay_ns(getattr(timer, "seconds", None))
        arguments: tuple[Any, ...] = getattr(timer, "tpl", (None, ()))
        callback: Any = arguments[0]
        args: tuple[Any, ...] = arguments[1]
        if delay < 0 or callback is None:
            return
        me = self.current()
        at_once = delay == 0
        # The hub only passes on why it calls.
        cause = (self.thread().cause or (Waker.CALLBACK, 0, 0)) if me.is_hub else (Waker.GREENLET, me.number, 0)
        what, node = self._target(callback)
        if not what and len(args) == 3 and isinstance(args[2], greenlet.greenlet) and getattr(callback, "__name__", "") == "_do_send":
            # Event._do_send(result, exc, waiter): sends at once, or a wait's own time limit.
            what, node = 1, self.node(args[2])
        elif not what and getattr(callback, "__qualname__", "") == "trampoline.<locals>._timeout":
            what, node = 2, me
        elif not what and getattr(callback, "__qualname__", "") == "select.<locals>.on_timeout":
            # Green select's time limit comes back to it by way of one turn more, so that the fds are looked at once.
            what, node, at_once = 1, me, False
        if what == 1 and node is not None and not node.name and not node.started and not isinstance(callback.__self__, self._named_types):
            # A plain greenlet that has not begun still knows its function.
            self.say_name(node, getattr(getattr(callback.__self__, "run", None), "__name__", None), 0)
        if what == 1 and node is not None and not node.name and args and isinstance(callback.__self__, self._named_types):
            self.say_name(node, getattr(args[0], "__name__", None), 0)
        if what and node is not None and at_once:
            resource = self._resources.get(node.waits[0][0]) if node.waits else None
            if resource is not None and resource.kind == ResourceKind.THREAD and node.waits[0][1] == Op.WAIT:
                # A native thread has the result; a greenlet of the runtime only hands it over.
                cause = (Waker.THREAD, 0, 0)
            self.say_timer(id(timer), 0, node, 0, True)
            self.say_wake(node, *cause)
            return
        flags = e.TIMER_THROWS if what == 2 else 0 if what else e.TIMER_CALLS
        self.say_timer(id(timer), monotonic_ns() + delay, node if what else me, flags, at_once, cause)

    def _role_ev_timer_cancel(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1:
                self.say_timer_end(id(args[1]), False)
            return wrapped(*args, **kwargs)

        return act

    def _role_ev_timer_call(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            thread = self.thread()
            if getattr(args[0], "called", None) is False:
                self.say_timer_end(id(args[0]), True)
            try:
                return wrapped(*args, **kwargs)
            finally:
                thread.cause = None

        return act

    def _role_ev_poll(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            thread = self.thread()
            timeout = _delay_ns(args[1]) if len(args) > 1 else -1
            if not thread.polling and timeout:
                self.poll_begin(timeout)
                thread.polling = True
            ready: list[tuple[int, int]] = []
            try:
                ready = wrapped(*args, **kwargs)
                return ready
            finally:
                if not thread.polling and ready:
                    self.poll_begin(timeout)
                if thread.polling or ready:
                    self.poll_end(len(ready))
                thread.polling = False
                for fd, mask in ready:
                    # IN 1, PRI 2, OUT 4, ERR 8, HUP 16: an error wakes both sides.
                    self.say_ready(fd, (Mode.READ if mask & 27 else 0) | (Mode.WRITE if mask & 28 else 0))

        return act

    def _role_ev_wait(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            thread = self.thread()
            # It may have been running long before we came.
            self._hub_runs(args[0])
            timeout = _delay_ns(args[1]) if len(args) > 1 else -1
            if not thread.polling and timeout:
                self.poll_begin(timeout)
                thread.polling = True
            try:
                return wrapped(*args, **kwargs)
            finally:
                if thread.polling:
                    self.poll_end(0)
                    thread.polling = False

        return act

    @whole
    def poll_begin(self, timeout_ns: int) -> None:
        if self._recording:
            number, t, thread = self.current().number, monotonic_ns(), self.thread()
            if timeout_ns == _BY_TIMERS:
                timeout_ns = self.until_earliest(thread, t)
            self.emit(Kind.POLL_BEGIN, 0, t, number, 0, 0, timeout_ns)
            thread.polling = True

    @whole
    def poll_end(self, ready: int) -> None:
        # It may have been over before: somebody ran.
        if self._recording and self.thread().polling:
            self.emit(Kind.POLL_END, 0, monotonic_ns(), self.current().number, 0, 0, ready + 1)
            self.thread().polling = False

    # ---- gevent

    @staticmethod
    def _ge_mode(watcher: Any) -> int:
        return (getattr(watcher, "events", 1) & 3) or Mode.READ

    def _role_ge_wait(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource, wanted = e.RESOURCE_UNKNOWN, Op.WAIT
            if node.intent_depth == 0 and len(args) > 1:
                what = self.kind_of(args[1], 0)
                if what == ResourceKind.FD:
                    resource, wanted = self.fd(args[1].fd).resource, _IO_OPS[self._ge_mode(args[1])]
                elif what == ResourceKind.SLEEP:
                    resource, wanted = e.RESOURCE_SLEEP, Op.SLEEP
                elif what:
                    passing = self.passing(what)
                    try:
                        return self._waiting(node, passing.number, wanted, wrapped, args, kwargs)
                    finally:
                        self._disposed(passing)
            return self._waiting(node, resource, wanted, wrapped, args, kwargs)

        return act

    def _role_ge_io_start(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) < 2:
                return wrapped(*args, **kwargs)
            watcher, callback, *rest = args
            (what, node), me = self._target(callback), self.current()
            # What cannot be called is refused, as without us.
            if not what and callable(callback):
                callback = Fire(self, callback, id(watcher), Waker.FD)
            result = wrapped(watcher, callback, *rest, **kwargs)
            fd, mode = getattr(watcher, "fd", -1), self._ge_mode(watcher)
            self.say_listen(id(watcher), fd, mode, node if what else me if me.selecting else None)
            if not what and me.selecting:
                me.intents.append((self.fd(fd).resource, _IO_OPS[mode]))
            return result

        return act

    def _role_ge_select(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            if node.intent_depth:
                return wrapped(*args, **kwargs)
            node.intent_depth, node.selecting = 1, True
            # What a selector did not hear of the last time it still listens for.
            node.intents = [(ear.resource, int(_IO_OPS[ear.mode])) for ear in node.listeners]
            try:
                return wrapped(*args, **kwargs)
            finally:
                node.intent_depth, node.selecting = 0, False

        return act

    def _role_ge_async_start(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) < 2 or self._target(args[1])[0] or not callable(args[1]):
                return wrapped(*args, **kwargs)
            watcher, callback, *rest = args
            self.current()
            return wrapped(watcher, Fire(self, callback, id(watcher), Waker.THREAD), *rest, **kwargs)

        return act

    def _role_ge_async_send(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            self.senders[id(args[0])] = self.thread().index
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_result(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            resource = self._by_object.get(id(getattr(args[0], "receiver", None)))
            if resource is not None:
                self.say_touch(Kind.SET, self.current(), resource)
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_threads(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            node.making_places = True
            try:
                result = wrapped(*args, **kwargs)
                semaphore = getattr(args[0], "_available_worker_threads_greenlet_sem", None)
                if semaphore is not None:
                    self.resource_of(semaphore, ResourceKind.SEMAPHORE, inferred=False)
                return result
            finally:
                node.making_places = False

        return act

    def _role_ge_stop(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            self.say_unlisten(id(args[0]))
            self.say_timer_end(id(args[0]), False)
            self.senders.pop(id(args[0]), None)
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_timer_start(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(timer: Any, *args: Any, **kwargs: Any) -> Any:
            if not args or not callable(args[0]):
                return wrapped(timer, *args, **kwargs)
            # A timer of no time at all is a check watcher in libuv.
            delay = _delay_ns(getattr(timer, "_after", getattr(timer, "at", 0)))
            what, node = self._target(args[0])
            if (
                not what
                and len(args) > 1
                and isinstance(args[1], greenlet.greenlet)
                and getattr(args[0], "__name__", "") == "_on_expiration"
            ):
                # Timeout._on_expiration(greenlet, exception) throws into the greenlet.
                what, node = 2, self.node(args[1])
            me = self.current()
            if not what and callable(args[0]):
                args = (Fire(self, args[0], id(timer), Waker.TIMER), *args[1:])
            result = wrapped(timer, *args, **kwargs)
            if delay >= 0:
                flags = e.TIMER_THROWS if what == 2 else 0 if what else e.TIMER_CALLS
                self.say_timer(id(timer), monotonic_ns() + delay, node if what else me, flags, False)
            return result

        return act

    def _ge_linked(self, linkable: Any, callback: Any) -> tuple[int, int] | None:
        if type(getattr(callback, "__self__", None)).__name__ != "MultipleWaiter":
            return None
        if isinstance(linkable, greenlet.greenlet):
            return self.join_of(self.node(linkable)), Op.JOIN
        return self.resource_of(linkable, ResourceKind.UNKNOWN).number, Op.WAIT

    def _role_ge_link(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            link = self._ge_linked(args[0], args[1]) if len(args) > 1 else None
            if link is not None:
                node = self.current()
                if len(node.links) < MAX_WAITS:
                    node.links.append(link)
                else:
                    node.links_lost += 1
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_unlink(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            link = self._ge_linked(args[0], args[1]) if len(args) > 1 else None
            if link is not None:
                node = self.current()
                if link in node.links:
                    node.links.remove(link)
                elif node.links_lost:
                    node.links_lost -= 1
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_callback(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            if len(args) < 2:
                return result
            (what, node), me = self._target(args[1]), self.current()
            if what and node is not None:
                self.say_wake_by(node, me)
            elif len(args) > 2:
                self._ge_will_call(getattr(args[1], "__name__", ""), args[2:], me)
            return result

        return act

    def _ge_will_call(self, name: str, args: tuple[Any, ...], me: Node) -> None:
        """Tell what gevent's own functions among the loop's callbacks will do at the hub's next turn."""
        if name == "_kill" and isinstance(args[0], greenlet.greenlet):
            self.say_wake_by(self.node(args[0]), me)
        elif name in ("_killall3", "_killall"):
            for g in args[0]:
                self.say_wake_by(self.node(g), me)
        elif name in ("_cancel_wait", "_cancel_waits_then"):
            # Whoever waits for these watchers is about to be told that somebody closes what they watch.
            for watcher in args[:1] if name == "_cancel_wait" else args[0]:
                listener = self._listeners.get(id(watcher))
                if listener is not None and listener.node is not None and listener.node is not me:
                    self.say_wake_by(listener.node, me)
            return
        else:
            return
        if len(args) > 2 and type(args[2]).__name__.endswith("Waiter"):
            # Whoever kills and waits for it is switched to right afterwards, come what may: it only gives way.
            self.say_wake_by(me, me)
