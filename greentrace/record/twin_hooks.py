"""Hooks of the Python recorder: functions that stand in the place of a runtime's methods.

The roles are those of native/hooks.c, by the same names; each is a method here that makes the function for one method.
A hooked method costs about half a microsecond more, ten times what the native hook costs. One room, because native/hooks.c
is one: the two are read side by side.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Kind, Mode, Op, ResourceKind, Waker
from greentrace.record.tables import MAX_WAITS, Node, Resource
from greentrace.record.twin_core import Core
from greentrace.record.twin_world import whole

_Function = Callable[..., Any]


def _delay_ns(seconds: Any) -> int:
    """Return seconds as ns, -1 when it is no number."""
    if not isinstance(seconds, (int, float)) or math.isnan(seconds):
        return -1
    return 0 if seconds < 0 else int(min(seconds, 9e9) * 1e9)


class Fire:
    """A gevent timer's callback that tells that the timer fired."""

    def __init__(self, hooks: Hooks, callback: _Function, key: int) -> None:
        self._hooks = hooks
        self._callback = callback
        self._key = key

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._hooks.is_recording():
            return self._callback(*args, **kwargs)
        thread = self._hooks.thread()
        self._hooks.say_timer_end(self._key, True)
        try:
            return self._callback(*args, **kwargs)
        finally:
            thread.cause = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callback, name)


_CAPACITY: dict[int, str] = {ResourceKind.SEMAPHORE: "counter", ResourceKind.POOL: "size"}
"""The attribute that tells how many can hold it, once it has been made."""


class Hooks(Core):
    """The roles."""

    def is_recording(self) -> bool:
        return self._recording

    def hook(self, wrapped: _Function, role: str, kind: int = 0, op: int = 0, extra: _Function | None = None) -> _Function:
        """Return a function that calls `wrapped` and tells what that meant."""
        make = getattr(self, f"_role_{role}", None)
        if make is None:
            raise ValueError(f"no role is named {role}")
        act: _Function = make(wrapped, kind, op, extra)

        @functools.wraps(wrapped)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            if not self._recording or not args:
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

    def _role_composite(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource = self.resource_of(args[0], kind).number
            node.acquire_depth += 1
            node.release_depth += 1
            try:
                return self._waiting(node, resource, op, wrapped, args, kwargs)
            finally:
                node.acquire_depth -= 1
                node.release_depth -= 1

        return act

    def _role_apart(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            announced, depth = node.intents, node.intent_depth
            node.intents, node.intent_depth = [], 0
            try:
                return wrapped(*args, **kwargs)
            finally:
                node.intents, node.intent_depth = announced, depth

        return act

    def _pool(self, wrapped: _Function, kind: int, op: int, done: Callable[[Node, Resource], None]) -> _Function:
        """A place in a pool is taken by who spawns, but it is whoever was spawned that has it and gives it back."""
        composite = self._role_composite(wrapped, kind, op, None)

        def act(*args: Any, **kwargs: Any) -> Any:
            size = getattr(args[0], "size", None)
            capacity = size if isinstance(size, int) else e.NO_CAPACITY
            self.current()
            resource = self.resource_of(args[0], kind, capacity)
            self.say_resized(resource, capacity)
            result = composite(*args, **kwargs)
            member = args[1] if len(args) > 1 and isinstance(args[1], greenlet.greenlet) else result
            # A full pool runs the function in the caller, who is a member already: the result then never was one.
            if member is result and result not in getattr(args[0], "coroutines_running", ()):
                return result
            if self._recording:
                done(self.node(member), resource)
            return result

        return act

    def _role_pool_enter(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        return self._pool(wrapped, kind, op, self.say_acquire)

    def _role_pool_leave(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def done(node: Node, resource: Resource) -> None:
            if any(hold[0] == node.number for hold in resource.holds):
                self.say_release(node, resource)

        return self._pool(wrapped, kind, op, done)

    def _lock(self, wrapped: _Function, kind: int, times: Callable[[Any, Any], int]) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            # If it was never acquired before, as far as we watched, what it has now is all it has.
            counter = getattr(args[0], "counter", None) if kind == ResourceKind.SEMAPHORE else None
            resource = self.resource_of(args[0], kind, counter if isinstance(counter, int) else e.NO_CAPACITY)
            outer = node.acquire_depth == 0
            node.acquire_depth += 1
            try:
                result = self._waiting(node, resource.number, Op.ACQUIRE, wrapped, args, kwargs)
            finally:
                node.acquire_depth -= 1
            if outer and self._recording:
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

        locked = self._lock(wrapped, kind, times)

        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            # A Condition's wait is over; from now on its lock is waited for.
            announced, node.intents = node.intents, [(self.resource_of(args[0], kind).number, int(Op.ACQUIRE))]
            try:
                return locked(*args, **kwargs)
            finally:
                node.intents = announced

        return act

    def _unlock(self, wrapped: _Function, kind: int, everything: bool) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource = self.resource_of(args[0], kind)
            held = sum(hold[0] == node.number for hold in resource.holds)
            outer = node.release_depth == 0
            node.release_depth += 1
            try:
                result = wrapped(*args, **kwargs)
            finally:
                node.release_depth -= 1
            if outer and self._recording:
                for _ in range(held if everything else 1):
                    self.say_release(node, resource)
            return result

        return act

    def _role_release(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        return self._unlock(wrapped, kind, False)

    def _role_release_all(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        return self._unlock(wrapped, kind, True)

    def _role_set(self, wrapped: _Function, kind: int, op: int, extra: Any, event: Kind = Kind.SET) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            # Told first: the call itself may already wake somebody.
            if node.intent_depth == 0:
                self.say_touch(event, node, self.resource_of(args[0], kind))
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
                resource.toucher = node.number
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
            self.current()
            capacity = _CAPACITY.get(self.kind_of(args[0], kind))
            if capacity is None:
                self.resource_of(args[0], kind, inferred=False)
            result = wrapped(*args, **kwargs)
            if capacity is not None and self._recording:
                counter = getattr(args[0], capacity, None)
                self.resource_of(args[0], kind, counter if isinstance(counter, int) else e.NO_CAPACITY, inferred=False)
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
                extra(result, *args)
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
        what, node = self._target(callback)
        if not what and len(args) == 3 and isinstance(args[2], greenlet.greenlet) and getattr(callback, "__name__", "") == "_do_send":
            # Event._do_send(result, exc, waiter): sends at once, or a wait's own time limit.
            what, node = 1, self.node(args[2])
        elif not what and getattr(callback, "__qualname__", "") == "trampoline.<locals>._timeout":
            what, node = 2, me
        if what == 1 and node is not None and not node.name and args and isinstance(callback.__self__, self._named_types):
            self.say_name(node, getattr(args[0], "__name__", None), 0)
        if what and node is not None and delay == 0:
            self.say_timer(id(timer), 0, node, 0, True)
            self.say_wake(node, Waker.GREENLET, me.number)
            return
        flags = e.TIMER_THROWS if what == 2 else 0 if what else e.TIMER_CALLS
        self.say_timer(id(timer), monotonic_ns() + delay, node if what else me, flags, delay == 0)

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
            self.emit(Kind.POLL_BEGIN, 0, monotonic_ns(), self.current().number, 0, 0, timeout_ns)

    @whole
    def poll_end(self, ready: int) -> None:
        if self._recording:
            self.emit(Kind.POLL_END, 0, monotonic_ns(), self.current().number, 0, 0, ready + 1)

    # ---- gevent

    @staticmethod
    def _ge_mode(watcher: Any) -> int:
        return (getattr(watcher, "events", 1) & 3) or Mode.READ

    def _role_ge_wait(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        ops = {1: Op.READ, 2: Op.WRITE, 3: Op.READWRITE}

        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource, wanted = e.RESOURCE_UNKNOWN, Op.WAIT
            if node.intent_depth == 0 and len(args) > 1:
                what = self.kind_of(args[1], 0)
                if what == ResourceKind.FD:
                    resource, wanted = self.fd(args[1].fd).resource, ops[self._ge_mode(args[1])]
                elif what == ResourceKind.SLEEP:
                    resource, wanted = e.RESOURCE_SLEEP, Op.SLEEP
            return self._waiting(node, resource, wanted, wrapped, args, kwargs)

        return act

    def _role_ge_io_start(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            if len(args) > 1:
                self.say_listen(id(args[0]), getattr(args[0], "fd", -1), self._ge_mode(args[0]), self._target(args[1])[1])
            return result

        return act

    def _role_ge_stop(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            self.say_unlisten(id(args[0]))
            self.say_timer_end(id(args[0]), False)
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_timer_start(self, wrapped: _Function, kind: int, op: int, extra: Any) -> _Function:
        def act(timer: Any, *args: Any, **kwargs: Any) -> Any:
            if not args:
                return wrapped(timer, *args, **kwargs)
            delay = _delay_ns(getattr(timer, "_after", getattr(timer, "at", None)))
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
            if not what:
                args = (Fire(self, args[0], id(timer)), *args[1:])
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
            what, node = self._target(args[1])
            if not what and len(args) > 2 and isinstance(args[2], greenlet.greenlet) and getattr(args[1], "__name__", "") == "_kill":
                what, node = 2, self.node(args[2])
            if what and node is not None:
                self.say_wake(node, Waker.GREENLET, self.current().number)
            return result

        return act
