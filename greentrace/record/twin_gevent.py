"""Gevent in the Python recorder: the roles of its loops: watchers, links, callbacks, threads, select.

In:  calls of a hub's, a loop's and a watcher's methods. Out: events. The native core has the same in native/gevent.c.
Never: a role of its primitives; those are every runtime's.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Kind, Mode, Op, ResourceKind, Waker
from greentrace.record.tables import MAX_WAITS, Node
from greentrace.record.twin_eventlet import EventletHooks
from greentrace.record.twin_hooks import IO_OPS, Fire, Function, delay_ns


class GeventHooks(EventletHooks):
    """The roles."""

    @staticmethod
    def _ge_mode(watcher: Any) -> int:
        return (getattr(watcher, "events", 1) & 3) or Mode.READ

    def _role_ge_wait(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            resource, wanted = e.RESOURCE_UNKNOWN, Op.WAIT
            if node.intent_depth == 0 and len(args) > 1:
                what = self.kind_of(args[1], 0)
                if what == ResourceKind.FD:
                    resource, wanted = self.fd(args[1].fd).resource, IO_OPS[self._ge_mode(args[1])]
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

    def _role_ge_io_start(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
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
                me.intents.append((self.fd(fd).resource, IO_OPS[mode]))
            return result

        return act

    def _role_ge_select(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            if node.intent_depth:
                return wrapped(*args, **kwargs)
            node.intent_depth, node.selecting = 1, True
            # What a selector did not hear of the last time it still listens for.
            node.intents = [(ear.resource, int(IO_OPS[ear.mode])) for ear in node.listeners]
            try:
                return wrapped(*args, **kwargs)
            finally:
                node.intent_depth, node.selecting = 0, False

        return act

    def _role_ge_async_start(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) < 2 or self._target(args[1])[0] or not callable(args[1]):
                return wrapped(*args, **kwargs)
            watcher, callback, *rest = args
            self.current()
            return wrapped(watcher, Fire(self, callback, id(watcher), Waker.THREAD), *rest, **kwargs)

        return act

    def _role_ge_async_send(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            self.senders[id(args[0])] = self.thread().index
            return wrapped(*args, **kwargs)

        return act

    def _outside(self, wrapped: Function, waker: Waker, number: Callable[[Any], Any]) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if len(args) < 2 or not callable(args[1]):
                return wrapped(*args, **kwargs)
            watcher, callback, *rest = args
            self.current()
            told = number(watcher)
            if isinstance(told, int) and told > 0:
                self.numbers[id(watcher)] = told
            return wrapped(watcher, Fire(self, callback, id(watcher), waker), *rest, **kwargs)

        return act

    def _role_ge_child_start(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        return self._outside(wrapped, Waker.PROCESS, lambda watcher: getattr(watcher, "pid", 0))

    def _role_ge_signal_start(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        return self._outside(wrapped, Waker.SIGNAL, lambda watcher: 0)

    def _role_ge_signal(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            if len(args) > 1 and isinstance(args[1], int) and args[1] > 0:
                self.numbers[id(result)] = args[1]
            return result

        return act

    def _role_ge_imap(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            node = self.current()
            node.otherwise = self.resource_of(args[0], kind).number
            # Seen where gevent is in Python.
            semaphore = getattr(args[0], "_result_semaphore", None)
            if semaphore is not None:
                self.resource_alias(semaphore, args[0], kind)
            if not node.name:
                # It has no function of the user's.
                self.say_name(node, type(args[0]).__name__, 0)
            try:
                return wrapped(*args, **kwargs)
            finally:
                node.otherwise = 0

        return act

    def _role_ge_result(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            resource = self._by_object.get(id(getattr(args[0], "receiver", None)))
            if resource is not None:
                self.say_touch(Kind.SET, self.current(), resource)
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_threads(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
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

    def _role_ge_stop(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            self.say_unlisten(id(args[0]))
            self.say_timer_end(id(args[0]), False)
            self.senders.pop(id(args[0]), None)
            self.numbers.pop(id(args[0]), None)
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_timer_start(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(timer: Any, *args: Any, **kwargs: Any) -> Any:
            if not args or not callable(args[0]):
                return wrapped(timer, *args, **kwargs)
            # A timer of no time at all is a check watcher in libuv.
            delay = delay_ns(getattr(timer, "_after", getattr(timer, "at", 0)))
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

    def _ge_feeds(self, args: tuple[Any, ...]) -> bool:
        """Whether an AsyncResult takes over the result of the greenlet that it is linked to."""
        return len(args) > 1 and isinstance(args[0], greenlet.greenlet) and self.kind_of(args[1], 0) == ResourceKind.RESULT

    def _role_ge_link(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if self._ge_feeds(args):
                result = wrapped(*args, **kwargs)
                self.say_feeds(self.node(args[0]), self.resource_of(args[1], ResourceKind.RESULT), True)
                return result
            link = self._ge_linked(args[0], args[1]) if len(args) > 1 else None
            if link is not None:
                node = self.current()
                if len(node.links) < MAX_WAITS:
                    node.links.append(link)
                else:
                    node.links_lost += 1
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_unlink(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
        def act(*args: Any, **kwargs: Any) -> Any:
            if self._ge_feeds(args):
                result = wrapped(*args, **kwargs)
                self.say_feeds(self.node(args[0]), self.resource_of(args[1], ResourceKind.RESULT), False)
                return result
            link = self._ge_linked(args[0], args[1]) if len(args) > 1 else None
            if link is not None:
                node = self.current()
                if link in node.links:
                    node.links.remove(link)
                elif node.links_lost:
                    node.links_lost -= 1
            return wrapped(*args, **kwargs)

        return act

    def _role_ge_callback(self, wrapped: Function, kind: int, op: int, extra: Any) -> Function:
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
