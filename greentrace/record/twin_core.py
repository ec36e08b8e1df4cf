"""Core of the Python recorder: what happens, and what a switch means.

In:  a switch, a wait that was announced, an acquire, a timer. Out: events.
The native core has the same in native/vocabulary.c, queues.c, watchers.c and process.c. One room, because all of them are small here.
"""

from __future__ import annotations

import sys
import weakref
from time import monotonic_ns
from typing import Any

import greenlet

from greentrace import events as e
from greentrace.events import Kind, Mode, Op, ResourceKind, State, Waker
from greentrace.record.tables import FEW_WAITS, MAX_FEEDS, MAX_WAITS, Listener, Node, Resource, Thread, Timer
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
        if node.state not in (State.FINISHED, State.RUNNABLE) and not node.forgotten:
            self._wake(node, waker, who, resource, monotonic_ns())

    def say_wake_by(self, node: Node, me: Node) -> None:
        """`me` makes somebody runnable: a greenlet, or the hub on behalf of whatever it was called for."""
        if not me.is_hub:
            self.say_wake(node, Waker.GREENLET, me.number)
        else:
            self.say_wake(node, *(self.thread().cause or (Waker.CALLBACK, 0, 0)))

    def say_work_on(self, r: Resource, node: Node) -> None:
        """Somebody does something to a resource that may end a wait."""
        cause = (Waker.GREENLET, node.number, 0) if not node.is_hub else self.thread().cause or (Waker.CALLBACK, 0, 0)
        r.toucher_kind, r.toucher, _ = cause
        r.touched_ns = max(monotonic_ns(), self._last_ns)

    def say_feeds(self, node: Node, result: Resource, feeds: bool) -> None:
        """The end of a greenlet sets a result, from now on or not any more."""
        if not self._recording:
            return
        if feeds and node.state == State.FINISHED:
            result.fed_by = node.number
        elif feeds and len(node.feeds) < MAX_FEEDS:
            node.feeds.append(result.number)
        elif not feeds and result.number in node.feeds:
            node.feeds.remove(result.number)

    @staticmethod
    def _told(waits: list[tuple[int, int]], others: bool = False) -> list[tuple[int, int]]:
        """Return a copy; of so many that not all can be told, a few, and that there are others."""
        if not others and len(waits) <= MAX_WAITS:
            return waits[:]
        return [*waits[: FEW_WAITS - 1], (e.RESOURCE_UNKNOWN, Op.WAIT)]

    def _gather(self, origin: Node, to_hub: bool) -> None:
        """Set what the origin waits on, as far as it was announced."""
        waits: list[tuple[int, int]] = []
        dues = [timer.due_ns for timer in origin.timers if not timer.flags & e.TIMER_CALLS]
        origin.deadline_ns = min(dues, default=0)
        if origin.intent_depth:
            # A select of nothing at all is a sleep.
            waits = self._told(origin.intents) or [(e.RESOURCE_SLEEP, Op.SLEEP)]
        elif origin.links and to_hub:
            # What has finished may still be about to tell its links: `_infer_alternative` takes away those that it has told.
            waits = self._told(origin.links, origin.links_lost > 0)
        elif origin.listeners and to_hub:
            waits = self._told([(ear.resource, Op.WRITE if ear.mode == Mode.WRITE else Op.READ) for ear in origin.listeners])
        elif not to_hub:
            waits = [(e.RESOURCE_SWITCH, Op.SWITCH)]
        elif any(not timer.flags & (e.TIMER_THROWS | e.TIMER_CALLS) for timer in origin.timers):
            waits = [(e.RESOURCE_SLEEP, Op.SLEEP)]
        elif origin.otherwise:
            waits = [(origin.otherwise, Op.PUT)]
        origin.waits = waits or [(e.RESOURCE_UNKNOWN, Op.WAIT)]
        origin.waits_inferred = False
        origin.joined = {r: self._joins[r].number for r, op in origin.waits if op == Op.JOIN and r in self._joins}

    @staticmethod
    def _take_due(r: Resource, op: int) -> tuple[int, int, int] | None:
        found = next((one for one in r.dues or () if one[0] == op), None)
        if found is not None and r.dues is not None:
            r.dues.remove(found)
        return found

    def _due(self, r: Resource, node: Node, op: int) -> None:
        """Somebody has put or got: without having been woken for it, it took what another had made possible."""
        if node.matched != r.number:
            self._take_due(r, Op.GET if op == Op.PUT else Op.PUT)
        node.matched = 0
        if r.dues is not None and len(r.dues) < MAX_WAITS:
            r.dues.append((op, r.toucher_kind, r.toucher))

    def leave_queue(self, thread: Thread) -> None:
        """The hub has looked at the queue."""
        r = self._resources.get(thread.unlocking)
        thread.unlocking = 0
        if r is not None:
            r.dues = None

    def _wake_by_due(self, thread: Thread, target: Node, t: int) -> bool:
        """Several may have put before the hub looks at the queue: each getter is owed to one of them, and the first alone asked the hub."""
        number, op = target.waits[0] if target.waits else (0, 0)
        r = self._resources.get(number) if number == thread.unlocking and op in (Op.GET, Op.PUT) else None
        if r is None:
            return False
        due = self._take_due(r, Op.GET if op == Op.PUT else Op.PUT)
        if due is not None:
            self._wake(target, due[1], due[2], number, t)
            target.matched = number
        elif thread.cause is not None and thread.cause[:2] == (Waker.GREENLET, target.number):
            # A channel: it asked the hub itself, and whoever already waited at the other end is not known.
            self._wake(target, Waker.UNKNOWN, 0, number, t)
        else:
            return False
        thread.cause = None
        return True

    def _infer_wake(self, thread: Thread, target: Node, thrown: bool, t: int) -> None:
        """Say who made the target runnable, when nobody said so before the hub switched to it."""
        if thread.unlocking and not thrown and self._wake_by_due(thread, target, t):
            return
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
            self._infer_alternative(thread, target, t)
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
        elif target.state != State.CREATED:
            self._infer_alternative(thread, target, t)

    def _infer_alternative(self, thread: Thread, target: Node, t: int) -> None:
        """Say which of the alternatives ended the wait: the first greenlet to finish, the one thing that was touched since, a timer.

        More than one that could have is none that is known to have.
        """
        touched: list[Resource] = []
        finished: list[tuple[int, int, int]] = []
        outside = 0
        for resource, _ in target.waits:
            joined = self._joins.get(resource)
            ended = target.joined.get(resource, 0) if joined is None else joined.number if joined.state == State.FINISHED else 0
            if ended:
                finished.append((joined.since_ns if joined else 0, ended, resource))
                continue
            r = self._resources.get(resource)
            if r is not None and r.toucher_kind and r.touched_ns >= target.since_ns:
                touched.append(r)
            elif r is not None:
                outside += r.kind in (ResourceKind.CALLBACK, ResourceKind.SIGNAL, ResourceKind.PROCESS)
            else:
                outside += joined is not None or resource >= e.FIRST_RESOURCE
        if finished or len(touched) == 1:
            if finished:
                _, who, resource = min(finished)
                self._wake(target, Waker.GREENLET, who, resource, t)
            else:
                resource = touched[0].number
                self._wake(target, touched[0].toucher_kind, touched[0].toucher, resource, t)
            # It has been delivered: the next wait of a gevent.iwait is for the others.
            if not target.links_lost:
                target.links = [link for link in target.links if link[0] != resource]
            return
        if touched:
            return
        for timer in target.timers:
            if not timer.flags & (e.TIMER_THROWS | e.TIMER_CALLS) and timer.due_ns <= t + 2_000_000:
                self.say_timer_end(timer.key, True)
                thread.cause = None
                self._wake(target, Waker.TIMER, timer.number, 0, t)
                return
        if outside == len(target.waits):
            self._wake(target, Waker.CALLBACK, 0, 0, t)

    @whole
    def say_switch(self, event: str, origin_object: Any, target_object: Any) -> None:
        thrown = event == "throw"
        thread = self.thread()
        origin, target = self.node(origin_object), self.node(target_object)
        t = monotonic_ns()
        if origin is target:
            return
        thread.displaced = False
        if self._late and origin.state in (State.PARKED, State.RUNNABLE):
            # Between a switch and this call of Python another thread may have looked, and found it where it is not told to have gone.
            self.emit(Kind.STATE, State.UNKNOWN, t, origin.number, 0, origin.site, t)
            origin.state = State.UNKNOWN
            origin.waits = []
        site = resource = 0
        died = is_dead(origin_object)
        if died:
            state = State.FINISHED
            if origin.state != State.FINISHED:
                if not origin.name and origin.last_name:
                    self._say_last_name(origin)
                how = e.How.EXCEPTION if thrown else self._how_it_ended(origin, origin_object)
                self.emit(Kind.FINISH, how, t, origin.number)
                origin.state = State.FINISHED
                origin.since_ns = t
                for number in origin.feeds:
                    if number in self._resources:
                        self._resources[number].fed_by = origin.number
            origin.waits = []
        elif origin.is_hub:
            state = State.RUNNABLE
            origin.waits = []
            if thread.polling:
                # libuv calls back from inside of its poll: it is over once somebody runs.
                self.emit(Kind.POLL_END, 0, t, origin.number)
                thread.polling = False
        else:
            frame = origin_object.gr_frame
            if not origin.name:
                name, of_runtime = self._names.outermost(frame)
                if of_runtime and origin.last_name:
                    self._say_last_name(origin)
                else:
                    self.say_name(origin, name, 0)
            site = self._names.site(frame)
            del frame
            origin.site = site
            self._gather(origin, target.is_hub)
            if origin.woken:
                state = State.RUNNABLE
                origin.waits = []
                # Whoever only gives way is out of what it was found in.
                origin.pending = 0
            else:
                state = State.PARKED
                if origin.pending:
                    self._found_parks_again(origin)
                resource = origin.waits[0][0]
                inferred = e.FLAG_INFERRED if origin.waits_inferred else 0
                for wanted, op in origin.waits:
                    self.emit(Kind.PARK, op | inferred, t, origin.number, wanted, site, origin.deadline_ns)
        if target.state in (State.PARKED, State.CREATED) and not target.is_hub:
            if origin.is_hub:
                self._infer_wake(thread, target, thrown, t)
            elif target.waits and target.waits[0][0] != e.RESOURCE_SWITCH and not died:
                self._wake(target, Waker.GREENLET, origin.number, 0, t)
        if not target.started:
            if not target.name:
                self.name_at_start(target, target_object)
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
        ends_a_wait, target.timed = target.timed, False
        target.thread = thread.index
        thread.current = target
        # A Timeout ends a wait and not a life; and whoever is switched to has caught what was thrown before.
        if thrown and not ends_a_wait:
            # Whether it catches that or is ended by it, Python does not show; native/endings.c finds out.
            target.how = e.How.UNKNOWN
        else:
            target.how = e.How.RETURNED
        if target.pending or target.passing is not None:
            self._found_goes_on(target, thrown or ends_a_wait)

    def _found_goes_on(self, node: Node, in_vain: bool) -> None:
        """Tell what comes of a wait that was found (twin_discovery.py)."""
        raise NotImplementedError

    def _found_parks_again(self, node: Node) -> None:
        """Look whether it is still inside of what it was found in (twin_discovery.py)."""
        raise NotImplementedError

    def _how_it_ended(self, node: Node, g: Any) -> int:
        """Return how a greenlet has ended that passed control on as after a return: as its own object says, if it keeps that."""
        if isinstance(g, self._named_types):
            # A gevent Greenlet catches all that its function raises, and keeps it.
            if getattr(g, "exception", None) is not None:
                return e.How.EXCEPTION
            if isinstance(getattr(g, "value", None), greenlet.GreenletExit):
                return e.How.KILLED
            if hasattr(g, "exception"):
                return e.How.RETURNED
            # An eventlet GreenThread sends it to those who wait.
            sent = getattr(getattr(g, "_exit_event", None), "_exc", None)
            if sent:
                return e.How.KILLED
        own = sys.modules.get("greentrace.hub.greenthread")
        if node.how == e.How.UNKNOWN and own is not None and isinstance(g, own.GreenThread) and g.finished:
            # A green thread of the built-in hub keeps what it lets out.
            return e.How.KILLED if isinstance(g._error, greenlet.GreenletExit) else e.How.RETURNED
        return node.how

    def say_intent(self, node: Node, resource: int, op: int) -> None:
        if node.intent_depth == 0:
            node.intents = [(resource, op)]

    @whole
    def _say_last_name(self, node: Node) -> None:
        self.emit(Kind.NAME, 0, monotonic_ns(), node.number, 0, 0, node.last_name)
        node.name = node.last_name

    def name_at_start(self, node: Node, g: Any) -> None:
        """Name who may never park: a gevent Greenlet's function stands in `_run`; and a class of greenlets may have a method `run`."""
        known = isinstance(g, self._named_types)
        name, of_runtime = self._names.function_of(g, known)
        if known and of_runtime:
            node.last_name = self._names.string(name)
        elif name:
            self.say_name(node, name, 0)

    @whole
    def passing(self, kind: int) -> Resource:
        """Return a resource for an object that takes no weak reference, while somebody waits on it."""
        r = Resource(self._number("resource"), kind, 0, self.site_here(), 0, True)
        self.emit(Kind.RESOURCE, self._resource_flags(r), monotonic_ns(), 0, r.number, r.site, r.capacity)
        self._resources[r.number] = r
        return r

    @whole
    def say_acquire(self, node: Node, r: Resource) -> None:
        self.say_holds(node, r, self.site_here(), 0)

    @whole
    def say_holds(self, node: Node, r: Resource, site: int, inferred: int) -> None:
        # Recording has ended, and begun again, while the call lasted that this is the end of.
        if node.forgotten or r.forgotten:
            return
        t = monotonic_ns()
        self.emit(Kind.ACQUIRE, inferred, t, node.number, r.number, site)
        r.holds.append((node.number, site, t, inferred))

    @whole
    def say_release(self, node: Node, r: Resource) -> None:
        if node.forgotten or r.forgotten:
            return
        at = next((i for i, hold in enumerate(r.holds) if hold[0] == node.number), -1)
        foreign = at < 0
        loser = r.holds[max(at, 0)][0] if r.holds else 0
        self.emit(Kind.RELEASE, e.RELEASE_FOREIGN if foreign else 0, monotonic_ns(), node.number, r.number, 0, loser)
        if foreign:
            r.signal = True
        if r.holds:
            del r.holds[max(at, 0)]
        self.say_work_on(r, node)

    @whole
    def say_touch(self, kind: int, node: Node, r: Resource, arg: int = 0) -> None:
        if node.forgotten or r.forgotten:
            return
        self.emit(kind, 0, monotonic_ns(), node.number, r.number, 0, arg)
        self.say_work_on(r, node)
        if kind == Kind.SET and r.fed_by and (node.is_hub or not node.name):
            # The hub sets it, or a greenlet that gevent made for it: both on behalf of whoever has finished.
            r.toucher_kind, r.toucher, r.fed_by = Waker.GREENLET, r.fed_by, 0
        if r.dues is not None and kind in (Kind.PUT, Kind.GET):
            self._due(r, node, Op.PUT if kind == Kind.PUT else Op.GET)

    def _gone_alias(self, r: Resource, key: int) -> None:
        r.aliases.pop(key, None)
        self._forget_key(key, r)

    @whole
    def resource_alias(self, obj: Any, owner: Any, kind: int) -> None:
        """From now on `obj` is only another name of the resource that is `owner`."""
        own = self._by_object.get(id(obj))
        if own is not None:
            if own.key != id(obj):
                return
            # Told when it was made, before anybody could know.
            self._gone_resource(own)
            own.reference = None
        r = self.resource_of(owner, kind)
        key = id(obj)
        if self._by_object.get(id(owner)) is r:
            r.aliases[key] = weakref.ref(obj, lambda _: self._gone_alias(r, key))
            self._by_object[key] = r

    @whole
    def resource_resized(self, r: Resource, capacity: int) -> None:
        """Its capacity is another one from now on."""
        if r.capacity != capacity and not r.forgotten:
            self.emit(Kind.RESOURCE, self._resource_flags(r), monotonic_ns(), r.creator, r.number, r.site, capacity)
            r.capacity = capacity

    @whole
    def say_listen(self, key: int, fd: int, mode: int, node: Node | None) -> None:
        if key in self._listeners or fd < 0 or (node is not None and node.forgotten):
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

    @staticmethod
    def _waits_for(node: Node, resource: int) -> bool:
        """A greenlet that waits for so many things may wait for one that found no room."""
        return any(wanted == resource or (i and not wanted) for i, (wanted, _) in enumerate(node.waits))

    @whole
    def say_heard(self, key: int) -> None:
        """The hub is about to call this listener."""
        listener = self._listeners.get(key)
        if listener is None:
            return
        node, t = listener.node, monotonic_ns()
        self.emit(Kind.FD_READY, listener.mode, t, node.number if node else 0, listener.resource)
        # gevent's selectors go on listening while their greenlet does something else.
        if node is not None and node.state == State.PARKED and self._waits_for(node, listener.resource):
            self._wake(node, Waker.FD, listener.resource, listener.resource, t)
        self.thread().cause = (Waker.FD, listener.resource, listener.resource)

    def say_unlisten_all(self, fd: int) -> None:
        """The hub listens to this fd no more."""
        entry = self._fds.get(fd)
        for listener in list(entry.listeners) if entry else ():
            self.say_unlisten(listener.key)

    @whole
    def say_fd_close(self, fd: int) -> None:
        entry = self._fds.get(fd)
        if entry is not None and entry.resource:
            self.emit(Kind.FD_CLOSE, 0, monotonic_ns(), self.current().number, entry.resource)
            entry.resource = 0

    @whole
    def say_fd_open(self, fd: int) -> None:
        entry = self._fds.get(fd)
        for listener in entry.listeners if entry is not None else ():
            # Eventlet throws into whoever still listens to the old one: whoever opened the new one made it runnable.
            node = listener.node
            if node is not None and node.state == State.PARKED and self._waits_for(node, listener.resource):
                self.say_wake_by(node, self.current())
        if entry is not None and entry.resource:
            # Its number is in use again, so it was closed at some time that nobody told.
            self.emit(Kind.FD_CLOSE, e.FLAG_INFERRED, monotonic_ns(), 0, entry.resource)
            entry.resource = 0
        entry = self.fd(fd)
        self.emit(Kind.FD_OPEN, 0, monotonic_ns(), self.current().number, entry.resource, 0, fd | entry.generation << e.FD_GENERATION_SHIFT)

    @whole
    def say_timer(
        self, key: int, due_ns: int, node: Node | None, flags: int, silent: bool, cause: tuple[int, int, int] | None = None
    ) -> None:
        """`silent`: a call at the next turn rather than a timer; its existence is of no interest, only whoever asked for it (`cause`)."""
        self.say_timer_end(key, False)
        if node is not None and node.forgotten:
            return
        timer = Timer(0, flags, silent, due_ns, 0, key, None, cause)
        if not silent:
            timer.number = self._number("timer")
            timer.site = self.site_here()
            self.emit(Kind.TIMER_ADD, flags, monotonic_ns(), node.number if node else 0, timer.number, timer.site, due_ns)
            timer.node = node
            timer.thread = thread = self.thread()
            if not thread.earliest_ns or due_ns < thread.earliest_ns:
                thread.earliest_ns = due_ns
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
            self.thread().cause = timer.cause if timer.silent else (Waker.TIMER, timer.number, 0)
            self.thread().unlocking = timer.unlocks
        if timer.thread is not None and timer.due_ns <= timer.thread.earliest_ns:
            timer.thread.earliest_stale = True
        del self._timers[key]
        if node is not None:
            node.timers.remove(timer)

    def until_earliest(self, thread: Thread, t: int) -> int:
        """Return the time until the earliest timer of a thread in ns, -1 without one."""
        if thread.earliest_stale:
            thread.earliest_ns = min((timer.due_ns for timer in self._timers.values() if timer.thread is thread), default=0)
            thread.earliest_stale = False
        return max(thread.earliest_ns - t, 0) if thread.earliest_ns else -1
