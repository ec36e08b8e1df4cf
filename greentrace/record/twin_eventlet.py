"""Eventlet in the Python recorder: the roles of its hubs: listeners, timers, polls; and of its native threads, processes and DAGPools.

In:  calls of a hub's methods. Out: events. The native core has the same in native/eventlet.c.
Never: a role of its primitives; those are every runtime's.
"""

from __future__ import annotations

import os
from time import monotonic_ns
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Mode, Op, ResourceKind, Waker
from greentrace.record.tables import Resource
from greentrace.record.twin_hooks import Fire, Function, Hooks, Job, delay_ns


class EventletHooks(Hooks):
    """The roles."""

    def _role_ev_add(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            listener = wrapped(*args, **kwargs)
            if len(args) > 2 and isinstance(args[2], int):
                self.say_listen(id(listener), args[2], Mode.READ if args[1] == "read" else Mode.WRITE, self.current())
            return listener

        return act

    def _role_ev_add_called(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            listener = wrapped(*args, **kwargs)
            listener.cb = Fire(self, listener.cb, id(listener), Waker.FD)
            return listener

        return act

    def _role_ev_ready(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 2:
                reader = args[0].listeners["read"].get(args[2])
                self.say_ready(args[2], Mode.READ if reader is not None and reader.cb is args[1] else Mode.WRITE)
            return wrapped(*args, **kwargs)

        return act

    def _role_ev_forget(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            if len(args) > 1:
                self.say_unlisten_all(args[1])
            return result

        return act

    def _role_ev_remove(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1:
                self.say_unlisten(id(args[1]))
            return wrapped(*args, **kwargs)

        return act

    def _role_ev_timer(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            if len(args) > 1:
                self._ev_timer_added(args[1])
            return result

        return act

    def _ev_timer_added(self, timer: Any) -> None:
        delay = delay_ns(getattr(timer, "seconds", None))
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
                cause = (Waker.THREAD, node.worker, 0)
            self.say_timer(id(timer), 0, node, 0, True)
            self.say_wake(node, *cause)
            return
        flags = e.TIMER_THROWS if what == 2 else 0 if what else e.TIMER_CALLS
        self.say_timer(id(timer), monotonic_ns() + delay, node if what else me, flags, at_once, cause)
        if at_once and not what and getattr(callback, "__name__", "") == "_unlock":
            # LightQueue._unlock: the hub will look at the queue, and wake whoever can go on by then.
            queue = self._by_object.get(id(getattr(callback, "__self__", None)))
            if queue is not None and queue.kind == ResourceKind.QUEUE:
                queue.dues = []
                self._timers[id(timer)].unlocks = queue.number

    def _role_ev_timer_cancel(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) > 1:
                self.say_timer_end(id(args[1]), False)
            return wrapped(*args, **kwargs)

        return act

    def _role_ev_timer_call(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            thread = self.thread()
            if getattr(args[0], "called", None) is False:
                self.say_timer_end(id(args[0]), True)
            try:
                return wrapped(*args, **kwargs)
            finally:
                thread.cause = None
                if thread.unlocking:
                    self.leave_queue(thread)

        return act

    def _keys_awaited(self, frame: Any, resource: Resource) -> list[tuple[int, int]]:
        # Whoever waits for a DAGPool does so in one generator, which knows the keys that are still `pending`. A key that a greenlet of
        # the pool computes nobody else may post; any other anybody may.
        if frame.f_code.co_name != "_wait_each_raw":
            return []
        known = frame.f_locals
        coros = getattr(known.get("self"), "coros", None)
        if not isinstance(coros, dict):
            return []
        computed = [getattr(coros.get(key), "greenthread", None) for key in tuple(known.get("pending", ()))]
        waits = [(self.join_of(self.node(g)), int(Op.JOIN)) for g in computed if isinstance(g, greenlet.greenlet)]
        return waits if len(waits) == len(computed) else [*waits, (resource.number, int(Op.WAIT))]

    def _role_ev_execute(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(function: Any, *args: Any, **kwargs: Any) -> Any:
            # What cannot be called is refused, as without us.
            return wrapped(Job(self, function, self.current()) if callable(function) else function, *args, **kwargs)

        return act

    def _role_ev_waitpid(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            options = args[1] if len(args) > 1 and isinstance(args[1], int) else os.WNOHANG
            if options & os.WNOHANG or node.intent_depth:
                return wrapped(*args, **kwargs)
            process = self.passing(ResourceKind.PROCESS)
            try:
                return self._waiting(node, process.number, Op.WAIT, wrapped, args, kwargs)
            finally:
                self._disposed(process)

        return act

    def _role_ev_select(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        polled = self._polled(wrapped, lambda ready: None)

        def act(*args: Any, **kwargs: Any) -> Any:
            # Whoever else has a selector is no hub.
            return polled(*args, **kwargs) if self.current().is_hub else wrapped(*args, **kwargs)

        return act

    def _role_ev_poll(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def heard(ready: list[tuple[int, int]]) -> None:
            for fd, mask in ready:
                # IN 1, PRI 2, OUT 4, ERR 8, HUP 16: an error wakes both sides.
                self.say_ready(fd, (Mode.READ if mask & 27 else 0) | (Mode.WRITE if mask & 28 else 0))

        return self._polled(wrapped, heard)

    def _polled(self, wrapped: Function, heard: Function) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            thread = self.thread()
            timeout = delay_ns(args[1]) if len(args) > 1 else -1
            if not thread.polling and timeout:
                self.poll_begin(timeout)
                thread.polling = True
            ready: list[Any] = []
            try:
                ready = wrapped(*args, **kwargs)
                return ready
            finally:
                if not thread.polling and ready:
                    self.poll_begin(timeout)
                if thread.polling or ready:
                    self.poll_end(len(ready))
                thread.polling = False
                heard(ready)

        return act

    def _role_ev_wait(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            thread = self.thread()
            # It may have been running long before we came.
            self._hub_runs(args[0])
            timeout = delay_ns(args[1]) if len(args) > 1 else -1
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
