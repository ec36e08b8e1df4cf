"""Scribe: a small language that writes legal streams of events through `ring.Writer`, for the tests of the reading side.

    s = Scribe(tmp_path / "a.ring")
    alice, bob = s.spawn("alice"), s.spawn("bob")
    a = s.lock("a")
    s.to(alice); s.acquire(a)          what runs now does it
    s.park(b, to=hub)                  PARK and SWITCH
    trace = s.open()

In:  what the greenlets of an imagined program do. Out: a ring. Time is a clock that only `tick` and the events move.
It keeps the tables that a recorder keeps and can write a keyframe of them at any time.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greentrace import events as e
from greentrace.events import RECORD, Kind, Op, ResourceKind, State, Waker
from greentrace.replay import reader
from greentrace.ring import NameKind, Writer, create

MS = 1_000_000
START_NS = 1_000_000_000


@dataclass
class Being:
    """A greenlet of the imagined program."""

    id: int
    spawner: int = 0
    spawn_site: int = 0
    state: State = State.CREATED
    since_ns: int = 0
    site: int = 0
    started: bool = False
    name: int = 0
    given: bool = False
    hub: bool = False
    thread: int = 0
    waits: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass
class Thing:
    """A resource of the imagined program."""

    id: int
    kind: ResourceKind
    arg: int
    site: int
    creator: int
    signal: bool = False
    holds: list[tuple[int, int, int]] = field(default_factory=list)


class Scribe:
    """Writes one process. A hub (greenlet 1) and a main greenlet (2, running) exist from the start."""

    def __init__(self, path: Path, ring_bytes: int = 1 << 20, step_ns: int = 1000, meta: dict[str, Any] | None = None) -> None:
        clocks = {"mono_ns": START_NS, "wall_ns": 1_700_000_000_000_000_000}
        create(path, ring_bytes, 1, {"pid": 4242, "argv": ["bank.py"], **clocks, **(meta or {})})
        self.path = path
        self.ring = Writer(path)
        self.now, self.step_ns = START_NS, step_ns
        self.beings: dict[int, Being] = {}
        self.things: dict[int, Thing] = {}
        self.timers: dict[int, tuple[int, int, int, int]] = {}
        self.ears: dict[int, tuple[int, int, int]] = {}
        self.records: list[tuple[int, ...]] = []
        self._strings: dict[str, int] = {}
        self._codes: dict[tuple[str, str, int], int] = {}
        self._sites: dict[tuple[tuple[str, int, str, int], ...], int] = {}
        self._next = {"greenlet": 1, "resource": e.FIRST_RESOURCE, "timer": 1, "listener": 1}
        self._auto = True
        self.thread = 0
        self.running: dict[int, int] = {0: 0}
        self.keyframe()
        self.put(Kind.THREAD, greenlet=2, arg=4242)
        self.hub = self.spawn("hub", spawner=0)
        self.put(Kind.HUB, greenlet=self.hub, arg=self.string("Hub"))
        self.beings[self.hub].hub = True
        self.main = self.spawn("main", spawner=0)
        self.enter(self.main)

    # ---- names

    def string(self, text: str) -> int:
        if text not in self._strings:
            self._strings[text] = len(self._strings) + 1
            self.ring.add_name(NameKind.STRING, 0, self._strings[text], text.encode())
        return self._strings[text]

    def site(self, *frames: tuple[str, int, str] | tuple[str, int, str, int]) -> int:
        """Return the site of (file, line, function[, code flags]) frames, innermost first."""
        whole = tuple((*frame, 0) if len(frame) == 3 else frame for frame in frames)
        if whole not in self._sites:
            pairs = []
            for file, line, function, flags in whole:
                code = self._codes.get((file, function, flags))
                if code is None:
                    code = self._codes[file, function, flags] = len(self._codes) + 1
                    payload = struct.pack("<III", self.string(file), self.string(function), 1)
                    self.ring.add_name(NameKind.CODE, flags, code, payload)
                pairs.append(struct.pack("<II", code, line))
            self._sites[whole] = len(self._sites) + 1
            self.ring.add_name(NameKind.SITE, 0, self._sites[whole], b"".join(pairs))
        return self._sites[whole]

    def at(self, line: int, function: str = "main") -> int:
        return self.site(("/srv/app.py", line, function))

    # ---- records

    def put(
        self, kind: Kind, flags: int = 0, greenlet: int = 0, other: int = 0, site: int = 0, arg: int = 0, t_ns: int | None = None
    ) -> int:
        """Write one record; return its position. A keyframe goes first wherever a generation begins."""
        if self._auto and self.records and self.ring.head % self.ring.layout.generation_records == 0:
            self.keyframe()
        if t_ns is None:
            self.now += self.step_ns
            t_ns = self.now
        return self._write(t_ns, kind, flags, self.thread, greenlet, other, site, arg)

    def _write(self, *record: int) -> int:
        self.records.append(record)
        self.ring.append(RECORD.pack(*record))
        return len(self.records) - 1

    def tick(self, ns: int) -> None:
        """Let time pass."""
        self.now += ns

    # ---- greenlets

    @property
    def current(self) -> int:
        return self.running.get(self.thread, 0)

    def spawn(self, name: str = "", spawner: int | None = None, line: int = 1, given: bool = True) -> int:
        number = self._next["greenlet"]
        self._next["greenlet"] += 1
        spawner = self.current if spawner is None else spawner
        site = self.at(line, "spawning")
        being = self.beings[number] = Being(number, spawner, site, since_ns=self.now + self.step_ns, thread=self.thread)
        self.put(Kind.SPAWN, greenlet=number, other=spawner, site=being.spawn_site)
        if name:
            self.put(Kind.NAME, e.NAME_GIVEN if given else 0, number, arg=self.string(name))
            being.name, being.given = self.string(name), given
        return number

    def enter(self, number: int) -> int:
        """Switch to a greenlet from nowhere: how a thread begins."""
        position = self.put(Kind.SWITCH, 0, number)
        self._entered(number)
        return position

    def _entered(self, number: int) -> None:
        being = self.beings[number]
        being.state, being.since_ns, being.started, being.waits = State.RUNNING, self.now, True, []
        self.running[self.thread] = number

    def switch(self, to: int, state: State = State.RUNNABLE, resource: int = 0, site: int = 0, kind: Kind = Kind.SWITCH) -> int:
        """The running greenlet leaves in `state`; return the position of the SWITCH."""
        origin = self.current
        if not self.beings[to].started:
            self.put(Kind.START, greenlet=to, other=origin)
            self.beings[to].started = True
        position = self.put(kind, state, to, origin, site, resource)
        being = self.beings[origin]
        if being.state != state:
            being.since_ns = self.now
        being.state, being.site = state, site or being.site
        if state != State.PARKED:
            being.waits = []
        self._entered(to)
        return position

    def park(self, *resources: int, to: int = 1, op: Op = Op.ACQUIRE, deadline_ns: int = 0, line: int = 30, function: str = "work") -> int:
        """The running greenlet parks on the resources, any of which may wake it; return the position of the SWITCH."""
        me, site = self.current, self.at(line, function)
        for resource in resources:
            self.put(Kind.PARK, op, me, resource, site, deadline_ns)
            self.beings[me].waits.append((resource, op, deadline_ns))
        return self.switch(to, State.PARKED, resources[0] if resources else 0, site)

    def run(self, number: int) -> int:
        """From the hub (parking whoever runs is the caller's business) switch to a greenlet."""
        return self.switch(number)

    def wake(self, number: int, waker: Waker = Waker.GREENLET, other: int | None = None, resource: int = 0) -> int:
        being = self.beings[number]
        position = self.put(Kind.WAKE, waker, number, self.current if other is None else other, arg=resource)
        if being.state in (State.CREATED, State.PARKED, State.UNKNOWN):
            being.state, being.since_ns = State.RUNNABLE, self.now
        return position

    def repark(self, number: int, resource: int, op: Op = Op.ACQUIRE) -> int:
        """A woken greenlet lost the race and waits again."""
        being = self.beings[number]
        position = self.put(Kind.PARK, op, number, resource, being.site)
        if being.state == State.RUNNABLE:
            being.state, being.since_ns = State.PARKED, self.now
        being.waits = [w for w in being.waits if w[:2] != (resource, op)] + [(resource, op, 0)]
        return position

    def finish(self, to: int = 1, how: e.How = e.How.RETURNED, error: str = "") -> int:
        me = self.current
        position = self.put(Kind.FINISH, how, me, arg=self.string(error) if error else 0)
        self.beings[me].state, self.beings[me].since_ns = State.FINISHED, self.now
        self.switch(to, State.FINISHED)
        return position

    def collect(self, number: int) -> int:
        position = self.put(Kind.COLLECT, greenlet=number)
        del self.beings[number]
        return position

    # ---- resources

    def resource(self, kind: ResourceKind, line: int = 10, capacity: int = e.NO_CAPACITY, signal: bool = False, flags: int = 0) -> int:
        number = self._next["resource"]
        self._next["resource"] += 1
        thing = self.things[number] = Thing(number, kind, capacity, self.at(line), self.current, signal)
        self.put(Kind.RESOURCE, kind | (e.RESOURCE_SIGNAL if signal else 0) | flags, thing.creator, number, thing.site, capacity)
        return number

    def lock(self, line: int = 10) -> int:
        return self.resource(ResourceKind.LOCK, line, 1)

    def rlock(self, line: int = 10) -> int:
        return self.resource(ResourceKind.RLOCK, line, 1)

    def semaphore(self, capacity: int, line: int = 10) -> int:
        return self.resource(ResourceKind.SEMAPHORE, line, capacity, signal=capacity == 0)

    def join_of(self, number: int) -> int:
        return self.resource(ResourceKind.GREENLET, capacity=number)

    def fd(self, fd: int, generation: int = 1) -> int:
        return self.resource(ResourceKind.FD, capacity=fd | generation << e.FD_GENERATION_SHIFT)

    def acquire(self, resource: int, by: int | None = None, line: int = 20, flags: int = 0) -> int:
        by = self.current if by is None else by
        position = self.put(Kind.ACQUIRE, flags, by, resource, self.at(line, "taking"))
        self.things[resource].holds.append((by, self.at(line, "taking"), self.now))
        return position

    def release(self, resource: int, by: int | None = None) -> int:
        by = self.current if by is None else by
        thing = self.things[resource]
        mine = next((i for i, hold in enumerate(thing.holds) if hold[0] == by), None)
        loser = by if mine is not None else thing.holds[0][0] if thing.holds else 0
        position = self.put(Kind.RELEASE, 0 if mine is not None else e.RELEASE_FOREIGN, by, resource, arg=loser)
        thing.signal |= mine is None
        if thing.holds:
            del thing.holds[mine or 0]
        return position

    def touch(self, kind: Kind, resource: int, arg: int = 0) -> int:
        return self.put(kind, 0, self.current, resource, arg=arg)

    def dispose(self, resource: int) -> int:
        del self.things[resource]
        return self.put(Kind.DISPOSE, other=resource)

    # ---- hub

    def timer(self, due_ns: int, greenlet: int = 0, flags: int = 0) -> int:
        number = self._next["timer"]
        self._next["timer"] += 1
        self.put(Kind.TIMER_ADD, flags, greenlet, number, self.at(40), due_ns)
        self.timers[number] = (flags, greenlet, self.at(40), due_ns)
        return number

    def cancel(self, timer: int, kind: Kind = Kind.TIMER_CANCEL) -> int:
        _, greenlet, _, _ = self.timers.pop(timer)
        return self.put(kind, 0, greenlet, timer)

    def listen(self, resource: int, mode: e.Mode = e.Mode.READ, greenlet: int = 0) -> int:
        number = self._next["listener"]
        self._next["listener"] += 1
        self.put(Kind.FD_ADD, mode, greenlet, resource, arg=number)
        self.ears[number] = (mode, greenlet, resource)
        return number

    def unlisten(self, listener: int) -> int:
        mode, greenlet, resource = self.ears.pop(listener)
        return self.put(Kind.FD_REMOVE, mode, greenlet, resource, arg=listener)

    def poll(self, timeout_ns: int = e.NO_CAPACITY) -> int:
        return self.put(Kind.POLL_BEGIN, 0, self.current, arg=timeout_ns)

    def polled(self, ready: int = 0) -> int:
        return self.put(Kind.POLL_END, 0, self.current, arg=ready + 1)

    # ---- keyframes and gaps

    def keyframe(self, partial: bool = False) -> None:
        """Write all that is so; only half of the greenlets, if `partial`, and who runs."""
        t, before = self.now, self._auto
        self._auto = False
        key = e.FLAG_KEY
        first = self._write(t, Kind.KEYFRAME, e.KEYFRAME_BEGIN | key, 0, 0, 0, 0, 0)
        beings = list(self.beings.values())
        for b in [b for i, b in enumerate(beings) if not partial or i < len(beings) // 2 or b.id == self.current]:
            self._write(t, Kind.STATE, b.state | key, b.thread, b.id, b.spawner, b.site, b.since_ns)
            if b.hub:
                self._write(t, Kind.HUB, key, b.thread, b.id, 0, 0, 0)
            if b.name:
                self._write(t, Kind.NAME, (e.NAME_GIVEN if b.given else 0) | key, b.thread, b.id, 0, 0, b.name)
            self._write(t, Kind.SPAWN, key, b.thread, b.id, b.spawner, b.spawn_site, 0)
            if b.started:
                self._write(t, Kind.START, key, b.thread, b.id, 0, 0, 0)
            for resource, op, deadline_ns in b.waits:
                self._write(t, Kind.PARK, op | key, b.thread, b.id, resource, b.site, deadline_ns)
        for thing in self.things.values():
            flags = thing.kind | (e.RESOURCE_SIGNAL if thing.signal else 0) | key
            self._write(t, Kind.RESOURCE, flags, 0, thing.creator, thing.id, thing.site, thing.arg)
            for greenlet, site, since_ns in thing.holds:
                self._write(t, Kind.ACQUIRE, key, 0, greenlet, thing.id, site, since_ns)
        for number, (mode, greenlet, resource) in self.ears.items():
            self._write(t, Kind.FD_ADD, mode | key, 0, greenlet, resource, 0, number)
        for number, (flags, greenlet, site, due_ns) in self.timers.items():
            self._write(t, Kind.TIMER_ADD, flags | key, 0, greenlet, number, site, due_ns)
        flags = e.KEYFRAME_END | key | (e.KEYFRAME_PARTIAL if partial else 0)
        self._write(t, Kind.KEYFRAME, flags, 0, 0, 0, 0, len(self.records) - first + 1)
        self._auto = before

    def gap(self, lost: int = 10) -> int:
        """What a follower writes when events were lost."""
        return self.put(Kind.GAP, arg=lost)

    def open(self) -> reader.Trace:
        """Return the trace of what was written so far."""
        return reader.open(self.path)
