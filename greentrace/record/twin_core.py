"""Core of the Python recorder: what happens, and what a switch means.

In:  a switch, a wait that was announced, an acquire, a timer. Out: events.
The native core has the same in the second half of native/core.c.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

from greentrace import events as e
from greentrace.events import Kind, Mode, Op, State, Waker
from greentrace.record.tables import MAX_WAITS, Listener, Node, Resource, Thread, Timer
from greentrace.record.twin_world import World, is_dead, whole


class Core(World):
    """The vocabulary over the tables."""

    def _wake(self, node: Node, waker: int, who: int, resource: int, t: int) -> None:
        self.emit(Kind.WAKE, waker, t, node.number, who, 0, resource)
        node.timed = waker == Waker.TIMER
        if node.state == State.RUNNING:
            node.woken = True
        elif node.state in (State.PARKED, State.CREATED, State.UNKNOWN):
            node.state = State.RUNNABLE
            node.since_ns = t

    @whole
    def say_wake(self, node: Node, waker: int, who: int, resource: int = 0) -> None:
        if node.state not in (State.FINISHED, State.RUNNABLE):
            self._wake(node, waker, who, resource, monotonic_ns())

    def _gather(self, origin: Node, to_hub: bool) -> None:
        """Set what the origin waits on, as far as it was announced."""
        waits: list[tuple[int, int]] = []
        dues = [timer.due_ns for timer in origin.timers if not timer.flags & e.TIMER_CALLS]
        origin.deadline_ns = min(dues, default=0)
        if origin.intent_depth:
            waits = origin.intents[:MAX_WAITS]
        elif origin.links and to_hub:
            # What has finished may still be about to tell its links: only `_infer_wake` takes a link away before its time.
            waits = list(origin.links)
            if origin.links_lost:
                waits = [*waits[: MAX_WAITS - 1], (e.RESOURCE_UNKNOWN, Op.WAIT)]
        elif origin.listeners and to_hub:
            waits = [(ear.resource, Op.WRITE if ear.mode == Mode.WRITE else Op.READ) for ear in origin.listeners[:MAX_WAITS]]
        elif not to_hub:
            waits = [(e.RESOURCE_SWITCH, Op.SWITCH)]
        elif any(not timer.flags & (e.TIMER_THROWS | e.TIMER_CALLS) for timer in origin.timers):
            waits = [(e.RESOURCE_SLEEP, Op.SLEEP)]
        origin.waits = waits or [(e.RESOURCE_UNKNOWN, Op.WAIT)]

    def _told(self, node: Node, resource: int) -> None:
        """A link has told what it had to tell. Which one it was of several that have finished makes no difference: each tells once."""
        at = next((i for i, link in enumerate(node.links) if link[0] == resource), None)
        if at is not None:
            del node.links[at]

    def _infer_wake(self, thread: Thread, target: Node, thrown: bool, t: int) -> None:
        """Say who made the target runnable, when nobody said so before the hub switched to it."""
        if thread.cause is not None:
            self._wake(target, *thread.cause, t)
            thread.cause = None
            return
        if thrown:
            due = [timer for timer in target.timers if timer.flags & e.TIMER_THROWS and timer.due_ns <= t + 2_000_000]
            if due:
                timer = min(due, key=lambda timer: timer.due_ns)
                self.say_timer_end(timer.key, True)
                thread.cause = None
                self._wake(target, Waker.TIMER, timer.number, 0, t)
            return
        if len(target.waits) > 1:
            # Of several alternatives only a join shows that it is the one: its greenlet has finished.
            for resource, op in target.waits:
                joined = self._joins.get(resource) if op == Op.JOIN else None
                if joined is not None and joined.state == State.FINISHED:
                    self._told(target, resource)
                    self._wake(target, Waker.GREENLET, joined.number, resource, t)
                    return
            return
        if target.state == State.CREATED:
            # Whoever has not begun waits for nothing but a timer.
            resource, op = e.RESOURCE_UNKNOWN, int(Op.SLEEP)
        elif target.waits:
            resource, op = target.waits[0]
        else:
            return
        if op == Op.SLEEP:
            for timer in target.timers:
                if not timer.flags & (e.TIMER_THROWS | e.TIMER_CALLS):
                    self.say_timer_end(timer.key, True)
                    thread.cause = None
                    self._wake(target, Waker.TIMER, timer.number, resource, t)
                    return
        elif op in (Op.READ, Op.WRITE, Op.READWRITE):
            mode = Mode.READ if op == Op.READ else Mode.WRITE if op == Op.WRITE else Mode.READWRITE
            self.emit(Kind.FD_READY, mode, t, target.number, resource)
            self._wake(target, Waker.FD, resource, resource, t)
        elif op == Op.JOIN and resource in self._joins:
            self._told(target, resource)
            self._wake(target, Waker.GREENLET, self._joins[resource].number, resource, t)
        elif (r := self._resources.get(resource)) is not None and r.toucher:
            self._wake(target, Waker.GREENLET, r.toucher, resource, t)

    @whole
    def say_switch(self, event: str, origin_object: Any, target_object: Any) -> None:
        thrown = event == "throw"
        thread = self.thread()
        origin, target = self.node(origin_object), self.node(target_object)
        t = monotonic_ns()
        if origin is target:
            return
        thread.displaced = False
        site = resource = 0
        died = is_dead(origin_object)
        if died:
            state = State.FINISHED
            if origin.state != State.FINISHED:
                how = e.How.EXCEPTION if thrown else e.How.KILLED | e.FLAG_INFERRED if origin.thrown else e.How.RETURNED
                self.emit(Kind.FINISH, how, t, origin.number)
                origin.state = State.FINISHED
                origin.since_ns = t
            origin.waits = []
        elif origin.is_hub:
            state = State.RUNNABLE
            origin.waits = []
        else:
            frame = origin_object.gr_frame
            if not origin.name:
                self.say_name(origin, self._names.outermost(frame), 0)
            site = self._names.site(frame)
            del frame
            origin.site = site
            self._gather(origin, target.is_hub)
            if origin.woken:
                state = State.RUNNABLE
                origin.waits = []
            else:
                state = State.PARKED
                resource = origin.waits[0][0]
                for wanted, op in origin.waits:
                    self.emit(Kind.PARK, op, t, origin.number, wanted, site, origin.deadline_ns)
        if target.state in (State.PARKED, State.CREATED) and not target.is_hub:
            if origin.is_hub:
                self._infer_wake(thread, target, thrown, t)
            elif target.waits and target.waits[0][0] != e.RESOURCE_SWITCH and not died:
                self._wake(target, Waker.GREENLET, origin.number, 0, t)
        if not target.started:
            self.emit(Kind.START, 0, t, target.number, origin.number)
            target.started = True
        self.emit(Kind.THROW if thrown else Kind.SWITCH, state, t, target.number, origin.number, site, resource)
        if not died:
            origin.state = state
            origin.since_ns = t
        origin.woken = target.woken = False
        target.state = State.RUNNING
        target.since_ns = t
        target.waits = []
        # A Timeout ends a wait and not a life.
        target.thrown = thrown and not target.timed
        target.timed = False
        target.thread = thread.index
        thread.current = target

    def say_intent(self, node: Node, resource: int, op: int) -> None:
        if node.intent_depth == 0:
            node.intents = [(resource, op)]

    @whole
    def say_acquire(self, node: Node, r: Resource) -> None:
        t = monotonic_ns()
        site = self.site_here()
        self.emit(Kind.ACQUIRE, 0, t, node.number, r.number, site)
        r.holds.append((node.number, site, t))

    @whole
    def say_release(self, node: Node, r: Resource) -> None:
        at = next((i for i, hold in enumerate(r.holds) if hold[0] == node.number), -1)
        foreign = at < 0
        loser = r.holds[max(at, 0)][0] if r.holds else 0
        self.emit(Kind.RELEASE, e.RELEASE_FOREIGN if foreign else 0, monotonic_ns(), node.number, r.number, 0, loser)
        if foreign:
            r.signal = True
        if r.holds:
            del r.holds[max(at, 0)]
        r.toucher = node.number

    @whole
    def say_resized(self, r: Resource, capacity: int) -> None:
        """So many can hold it from now on."""
        if r.capacity != capacity:
            r.capacity = capacity
            self.emit(Kind.RESOURCE, self._resource_flags(r), monotonic_ns(), r.creator, r.number, r.site, r.capacity)

    @whole
    def say_touch(self, kind: int, node: Node, r: Resource, arg: int = 0) -> None:
        self.emit(kind, 0, monotonic_ns(), node.number, r.number, 0, arg)
        r.toucher = node.number

    @whole
    def say_listen(self, key: int, fd: int, mode: int, node: Node | None) -> None:
        if key in self._listeners or fd < 0:
            return
        entry = self.fd(fd)
        number = self._number("listener")
        self.emit(Kind.FD_ADD, mode, monotonic_ns(), node.number if node else 0, entry.resource, 0, number)
        listener = self._listeners[key] = Listener(number, entry.resource, fd, mode, key, node)
        entry.listeners.append(listener)
        if node is not None:
            node.listeners.append(listener)

    @whole
    def say_unlisten(self, key: int) -> None:
        listener = self._listeners.get(key)
        if listener is None:
            return
        node = listener.node
        self.emit(Kind.FD_REMOVE, listener.mode, monotonic_ns(), node.number if node else 0, listener.resource, 0, listener.number)
        del self._listeners[key]
        self._fds[listener.fd].listeners.remove(listener)
        if node is not None:
            node.listeners.remove(listener)

    @whole
    def say_ready(self, fd: int, mode: int) -> None:
        entry = self._fds.get(fd)
        t = monotonic_ns()
        for listener in list(entry.listeners) if entry else ():
            if listener.mode & mode:
                node = listener.node
                self.emit(Kind.FD_READY, listener.mode & mode, t, node.number if node else 0, listener.resource)
                if node is not None and node.state == State.PARKED:
                    self._wake(node, Waker.FD, listener.resource, listener.resource, t)

    @whole
    def say_fd_close(self, fd: int) -> None:
        entry = self._fds.get(fd)
        if entry is not None and entry.resource:
            self.emit(Kind.FD_CLOSE, 0, monotonic_ns(), self.current().number, entry.resource)
            entry.resource = 0

    @whole
    def say_fd_open(self, fd: int) -> None:
        entry = self._fds.get(fd)
        if entry is not None and entry.resource:
            # Its number is in use again, so it was closed at some time that nobody told.
            self.emit(Kind.FD_CLOSE, e.FLAG_INFERRED, monotonic_ns(), 0, entry.resource)
            entry.resource = 0
        entry = self.fd(fd)
        self.emit(Kind.FD_OPEN, 0, monotonic_ns(), self.current().number, entry.resource, 0, fd | entry.generation << e.FD_GENERATION_SHIFT)

    @whole
    def say_timer(self, key: int, due_ns: int, node: Node | None, flags: int, silent: bool) -> None:
        """`silent`: a call at the next turn rather than a timer; its existence is of no interest."""
        self.say_timer_end(key, False)
        timer = Timer(0, flags, silent, due_ns, 0, key)
        if not silent:
            timer.number = self._number("timer")
            timer.site = self.site_here()
            self.emit(Kind.TIMER_ADD, flags, monotonic_ns(), node.number if node else 0, timer.number, timer.site, due_ns)
            timer.node = node
            if node is not None:
                node.timers.append(timer)
        self._timers[key] = timer

    @whole
    def say_timer_end(self, key: int, fired: bool) -> None:
        timer = self._timers.get(key)
        if timer is None:
            return
        node = timer.node
        if not timer.silent:
            self.emit(Kind.TIMER_FIRE if fired else Kind.TIMER_CANCEL, 0, monotonic_ns(), node.number if node else 0, timer.number)
        if fired:
            self.thread().cause = None if timer.silent else (Waker.TIMER, timer.number, 0)
        del self._timers[key]
        if node is not None:
            node.timers.remove(timer)
