"""Grammar: the walk that every recorded stream must survive.

In:  the records of a ring, from its first on. Out: nothing, or an AssertionError that names the record.
Every change of state goes through `lifecycle.step`; nothing is named that was not told before; whoever leaves was running; what is
released was held; and each keyframe tells exactly what the records before it have told.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from greentrace import events as e
from greentrace.events import Kind, ResourceKind, State, Waker
from greentrace.lifecycle import LEFT, IllegalStep, Step, step

from .reading import Record, Ring

SLACK_NS = 1_000_000_000
"""A keyframe tells since when to within this: a thread may lose its turn between the moment and the record that tells of it."""


@dataclass
class Facts:
    """What holds at one moment, in the words in which a keyframe tells it."""

    states: dict[int, State] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)
    names: dict[int, int] = field(default_factory=dict)
    hubs: set[int] = field(default_factory=set)
    threads: dict[int, int] = field(default_factory=dict)
    resources: dict[int, tuple[int, int]] = field(default_factory=dict)
    holds: list[tuple[int, int]] = field(default_factory=list)
    waits: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    timers: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    ears: dict[int, tuple[int, int, int]] = field(default_factory=dict)


def walk(ring: Ring) -> Facts:
    """Walk through a whole ring; return what holds at its end."""
    walker = Walker(ring)
    walker.feed(ring.records)
    assert walker.keyframes, "a ring begins with a keyframe"
    return walker.now


class Walker:
    """The walk, in steps: `feed` as records come. The first keyframe is believed; each later one is compared."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.now = Facts()
        self.keyframes = 0
        self._told: Facts | None = None
        self._begun: Record | None = None
        self._last_ns = 0
        self._running: dict[int, int] = {}
        self._parks: dict[int, list[tuple[int, int, int]]] = {}
        self._displaced = False

    def feed(self, records: list[Record]) -> None:
        for r in records:
            try:
                self._one(r)
            except (AssertionError, IllegalStep, KeyError) as error:
                nearby = "\n".join(self.ring.say(x) for x in self.ring.records if -30 < x.at - r.at < 5)
                raise AssertionError(f"at #{r.at}: {type(error).__name__}: {error}\n{nearby}") from error

    def _one(self, r: Record) -> None:
        assert r.t_ns >= self._last_ns, "time runs backwards"
        self._last_ns = r.t_ns
        assert r.key == (r.kind == Kind.KEYFRAME or self._begun is not None), "FLAG_KEY stands inside keyframes and nowhere else"
        if r.kind == Kind.KEYFRAME:
            self._keyframe(r)
        elif self._begun is not None:
            assert r.t_ns == self._begun.t_ns, "a keyframe is one moment"
            assert self._told is not None
            tell(self._told, r)
        else:
            assert r.at % self.ring.per_generation, "a generation begins with a keyframe"
            self._check(r)
            self._live(r)

    # ---- keyframes

    def _keyframe(self, r: Record) -> None:
        if r.flags & e.KEYFRAME_BEGIN:
            assert self._begun is None
            assert r.at % self.ring.per_generation == 0, "a keyframe opens a generation"
            self._begun, self._told = r, Facts()
            return
        assert self._begun is not None
        assert self._told is not None
        assert r.arg == r.at - self._begun.at + 1, "the end counts the records"
        assert not r.flags & e.KEYFRAME_PARTIAL, "everything found room"
        if self.keyframes:
            # Another thread may be about to name somebody whom it has told of already: the keyframe is told the name before that.
            soon = {x.greenlet for x in self.ring.records if x.at > r.at and x.kind == Kind.NAME and not x.key} - self.now.names.keys()
            self._told.names = {number: name for number, name in self._told.names.items() if number not in soon}
            self._compare(self._told, self.now)
        else:
            self.now = self._told
            # It may stand between what somebody waits on and the switch.
            self._parks = {n: list(w) for n, w in self.now.waits.items() if self.now.states[n] == State.RUNNING}
        self.keyframes += 1
        self._begun = self._told = None

    @staticmethod
    def _compare(told: Facts, known: Facts) -> None:
        live = {number: state for number, state in known.states.items() if state != State.COLLECTED}
        assert told.states == live
        for number, since in told.since.items():
            assert since <= known.since[number] <= since + SLACK_NS, f"greenlet {number} is {live[number].name} since then"
        assert told.names == {number: name for number, name in known.names.items() if number in live}
        assert told.hubs == known.hubs & set(live)
        assert told.threads == known.threads
        assert told.resources == known.resources
        assert Counter(told.holds) == Counter(known.holds)
        parked = {number for number, state in live.items() if state == State.PARKED}
        assert {n: sorted(w) for n, w in told.waits.items() if n in parked} == {n: sorted(w) for n, w in known.waits.items() if n in parked}
        assert told.timers == known.timers
        assert told.ears == known.ears

    # ---- one record

    def _check(self, r: Record) -> None:
        """What a record names was told before."""
        assert r.site in self.ring.sites, "the site is known"
        for code, _ in self.ring.sites[r.site]:
            assert self.ring.codes[code][0] in self.ring.strings
        known = self.now.states
        if r.kind in (Kind.SPAWN, Kind.STATE):
            assert r.greenlet, "somebody is met"
            assert r.greenlet not in known or r.kind == Kind.STATE, "nobody is born twice"
            # What was found of it before is not so any more.
            self._parks.pop(r.greenlet, None)
        elif r.kind == Kind.COLLECT:
            assert known[r.greenlet] != State.COLLECTED, "nobody is collected twice"
        elif r.greenlet:
            assert r.greenlet in known, "the greenlet was told before"
        if r.kind in (Kind.SWITCH, Kind.THROW):
            assert r.greenlet
            assert r.other in known, "the origin was told before"
        if r.kind in (Kind.PARK, Kind.ACQUIRE, Kind.RELEASE, Kind.PUT, Kind.GET, Kind.SET, Kind.CLEAR, Kind.FD_ADD, Kind.FD_READY):
            assert r.other < e.FIRST_RESOURCE or r.other in self.now.resources, "the resource was told before, and lives"
        if r.kind == Kind.WAKE and r.flags & 7 == Waker.GREENLET:
            assert r.other in known, "the waker was told before"
        if r.kind in (Kind.TIMER_FIRE, Kind.TIMER_CANCEL):
            assert r.other in self.now.timers, "the timer is armed"
        if r.kind == Kind.TIMER_ADD:
            assert r.other not in self.now.timers, "a timer is armed once"
        if r.kind == Kind.FD_REMOVE:
            assert r.arg in self.now.ears, "the listener was there"
        if r.kind == Kind.RELEASE:
            assert bool(r.flags & e.RELEASE_FOREIGN) == (r.arg != r.greenlet)
            assert not r.arg or (r.arg, r.other) in self.now.holds, "who loses a hold had it"
            assert r.arg or not any(hold[1] == r.other for hold in self.now.holds), "nobody loses it only when nobody has it"
        if r.kind in (Kind.NAME, Kind.HUB, Kind.MARK, Kind.PATCH, Kind.CALLBACK, Kind.ERROR, Kind.DISPLACED):
            assert self.ring.strings[r.arg], "the text is known"

    def _live(self, r: Record) -> None:
        now = self.now
        if r.kind in (Kind.SWITCH, Kind.THROW):
            self._switch(r)
        elif r.kind == Kind.SPAWN:
            self._step(r.greenlet, Step.SPAWNED, r.t_ns)
        elif r.kind == Kind.FINISH:
            self._step(r.greenlet, Step.FINISHED, r.t_ns)
        elif r.kind == Kind.COLLECT:
            self._step(r.greenlet, Step.COLLECTED, r.t_ns)
            joins = [n for n, (kind, arg) in now.resources.items() if kind & 0x1F == ResourceKind.GREENLET and arg == r.greenlet]
            for number in joins:
                del now.resources[number]
            now.timers = {n: (f, 0 if g == r.greenlet else g, due) for n, (f, g, due) in now.timers.items()}
            now.ears = {n: (m, 0 if g == r.greenlet else g, res) for n, (m, g, res) in now.ears.items()}
        elif r.kind == Kind.WAKE:
            self._step(r.greenlet, Step.WOKEN, r.t_ns)
        elif r.kind == Kind.PARK:
            self._step(r.greenlet, Step.PARKED, r.t_ns)
            self._parks.setdefault(r.greenlet, []).append((r.other, r.flags & 0x3F, r.arg))
            tell(now, r)
        elif r.kind == Kind.RELEASE:
            if r.arg:
                now.holds.remove((r.arg, r.other))
            if r.flags & e.RELEASE_FOREIGN:
                kind, arg = now.resources[r.other]
                now.resources[r.other] = kind | e.RESOURCE_SIGNAL, arg
        elif r.kind == Kind.DISPOSE:
            del now.resources[r.other]
            now.holds = [hold for hold in now.holds if hold[1] != r.other]
        elif r.kind == Kind.FD_CLOSE:
            del now.resources[r.other]
        elif r.kind in (Kind.TIMER_FIRE, Kind.TIMER_CANCEL):
            del now.timers[r.other]
        elif r.kind == Kind.FD_REMOVE:
            del now.ears[r.arg]
        elif r.kind == Kind.DISPLACED:
            self._running.pop(r.thread, None)
        else:
            tell(now, r)

    def _step(self, number: int, what: Step, t_ns: int) -> None:
        before = self.now.states.get(number, State.UNKNOWN)
        after = step(before, what)
        if before != after or number not in self.now.states:
            self.now.since[number] = t_ns
        self.now.states[number] = after

    def _switch(self, r: Record) -> None:
        assert r.other == self._running.get(r.thread, r.other), f"thread {r.thread} ran {self._running.get(r.thread)}"
        parks = self._parks.pop(r.other, [])
        if r.left == State.PARKED:
            assert parks, "whoever parks has said on what"
            assert r.arg == parks[0][0], "the switch names the first alternative"
            self.now.waits[r.other] = parks
        else:
            assert r.arg == 0
            self.now.waits.pop(r.other, None)
        self._step(r.other, LEFT[r.left], r.t_ns)
        self._step(r.greenlet, Step.ENTERED, r.t_ns)
        self.now.waits.pop(r.greenlet, None)
        self._parks.pop(r.greenlet, None)
        self._running[r.thread] = r.greenlet


def tell(facts: Facts, r: Record) -> None:
    """Take in a record of what is so."""
    if r.kind == Kind.STATE:
        facts.states[r.greenlet], facts.since[r.greenlet] = r.left, r.arg
    elif r.kind == Kind.NAME:
        facts.names[r.greenlet] = r.arg
    elif r.kind == Kind.HUB:
        facts.hubs.add(r.greenlet)
    elif r.kind == Kind.THREAD:
        facts.threads[r.thread] = r.arg
    elif r.kind == Kind.RESOURCE:
        facts.resources[r.other] = r.flags & ~e.FLAG_KEY & ~e.FLAG_INFERRED, r.arg
    elif r.kind == Kind.ACQUIRE:
        facts.holds.append((r.greenlet, r.other))
    elif r.kind == Kind.PARK:
        waits = facts.waits.setdefault(r.greenlet, [])
        wait = (r.other, r.flags & 0x3F, r.arg)
        if wait not in waits:
            waits.append(wait)
    elif r.kind == Kind.TIMER_ADD:
        facts.timers[r.other] = r.flags & 3, r.greenlet, r.arg
    elif r.kind == Kind.FD_ADD:
        facts.ears[r.arg] = r.flags & 3, r.greenlet, r.other
