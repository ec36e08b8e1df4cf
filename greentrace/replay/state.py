"""State: the world at one moment.

In:  a `ProcessHistory`, and a position in it.
Out: the part of a `World` that is this process's: greenlets, resources, timers, listeners.
Never: a replay of what the program did. The rows of a `Snapshot` are the state; here they get their names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from greentrace.events import FD_GENERATION_SHIFT, FIRST_RESOURCE, NO_CAPACITY, TIMER_CALLS, TIMER_THROWS, Mode, Op, ResourceKind, State
from greentrace.replay.lives import PREDEFINED, Life, Told, inferred, resource_kind
from greentrace.replay.model import (
    GreenletEver,
    GreenletNow,
    Hold,
    Holder,
    Key,
    ListenerNow,
    ResourceNow,
    TimerNow,
    Wait,
    World,
    key_of,
)
from greentrace.replay.process import ProcessHistory
from greentrace.replay.segment import Segment, Snapshot

_OPS = {int(op): op for op in Op}
_MODES = {int(mode): mode for mode in Mode}
_STATES = list(State)


@dataclass(slots=True)
class Part:
    """One process of a World."""

    greenlets: dict[Key, GreenletNow] = field(default_factory=dict)
    resources: dict[Key, ResourceNow] = field(default_factory=dict)
    timers: list[TimerNow] = field(default_factory=list)
    listeners: list[ListenerNow] = field(default_factory=list)
    polling: dict[Key, int] = field(default_factory=dict)
    threads: int = 0
    known: bool = False
    whole: bool = False


class _Builder:
    """Makes the part of one process at one position."""

    def __init__(self, history: ProcessHistory, segment: Segment, p: int) -> None:
        self.history = history
        self.process = history.index
        self.names = history.names
        self.lives = history.ages.at(segment.first + p)
        self.position = segment.first + p
        self.snapshot: Snapshot = segment.at(p)
        told = segment.known and self.position >= segment.key_until
        self.part = Part(known=told, whole=segment.whole and told)
        self.part.threads = sum(first <= self.position for first, _ in history.ages.now.threads.values())
        self.holds: dict[int, list[Hold]] = {}
        self.holders: dict[int, list[Holder]] = {}
        self.waits: dict[int, list[Wait]] = {}
        self.waiters: dict[int, list[tuple[int, int, Key]]] = {}
        self.timeouts: dict[int, int] = {}

    def key(self, number: int) -> Key:
        return key_of(self.process, number)

    def build(self) -> Part:
        self._holds()
        self._timers()
        self._waits()
        self._greenlets()
        self._resources()
        self._listeners()
        self.part.polling = {self.key(number): timeout for number, timeout in self.snapshot.polls.tolist()}
        return self.part

    def _holds(self) -> None:
        for pair, since_ns, site, guessed, _ in self.snapshot.holds.tolist():
            greenlet, resource = pair >> 32, pair & 0xFFFFFFFF
            told = self.lives.resource(resource)
            if told is not None and told.disposed_at <= self.position:
                continue
            stack = self.names.stack(site)
            self.holds.setdefault(greenlet, []).append(Hold(self.key(resource), since_ns, stack, not guessed))
            self.holders.setdefault(resource, []).append(Holder(self.key(greenlet), since_ns, stack, not guessed))
        for holders in self.holders.values():
            holders.sort(key=lambda holder: holder.since_ns)

    def _timers(self) -> None:
        for number, greenlet, flags, due_ns, site in self.snapshot.timers.tolist():
            calls = bool(flags & TIMER_CALLS)
            whom = self.key(greenlet) if greenlet else None
            self.part.timers.append(TimerNow(self.key(number), due_ns, whom, bool(flags & TIMER_THROWS), self.names.stack(site), calls))
            if greenlet and not calls:
                self.timeouts[greenlet] = min(due_ns, self.timeouts.get(greenlet, due_ns))

    def _waits(self) -> None:
        rows = self.snapshot.greenlets
        parked = rows[rows["state"] == State.PARKED]
        since = dict(zip(parked["id"].tolist(), parked["since_ns"].tolist(), strict=True))
        for greenlet, resource, op, guessed, deadline_ns, _, at in self.snapshot.waits.tolist():
            if greenlet not in since:
                continue
            wait = Wait(self.key(resource), _OPS.get(op, Op.WAIT), deadline_ns or None, not guessed)
            self.waits.setdefault(greenlet, []).append(wait)
            self.waiters.setdefault(resource, []).append((since[greenlet], at, self.key(greenlet)))
        for greenlet, resource in zip(parked["id"].tolist(), parked["parked_on"].tolist(), strict=True):
            known = self.waits.setdefault(greenlet, [])
            key = self.key(resource)
            if known and (not resource or any(wait.resource == key for wait in known)):
                continue
            # The switch alone says what it waits for; there may be alternatives and a deadline that nobody told.
            known.append(Wait(key, Op.SWITCH if resource == 1 else Op.WAIT, None, True, told=False))
            self.waiters.setdefault(resource, []).append((since[greenlet], 0, self.key(greenlet)))

    def _greenlets(self) -> None:
        make, string = self.names.stack, self.names.string
        rows = self.snapshot.greenlets
        for (number, state, since_ns, at, site, _), life in zip(rows.tolist(), self.history.ages.greenlets(rows["id"]), strict=True):
            finished = life.finished_at <= self.position
            state = _STATES[state]
            started = life.started_at <= self.position or finished or state in (State.RUNNING, State.PARKED, State.UNKNOWN)
            key = self.key(number)
            self.part.greenlets[key] = GreenletNow(
                key, number, self.process, self.history.feed.pid, life.thread, string(life.name), string(life.function),
                state, since_ns, make(site), tuple(self.waits.get(number, ())), tuple(self.holds.get(number, ())),
                self.key(life.spawner) if life.spawner else None, make(life.spawn_site), life.is_hub, started or bool(site),
                life.how if finished else None, self.timeouts.get(number), life.is_main, at if at >= 0 else None,
                life.born_seen,
            )  # fmt: skip

    def _resources(self) -> None:
        listened = set(self.snapshot.listeners["resource"].tolist())
        used = self.waiters.keys() | self.holders.keys() | listened
        # What is only a name for somebody's end, or is over, is not part of the world unless somebody uses it.
        for number, told in self.lives.standing(self.position):
            if number not in used:
                self._resource(number, told)
        for number in sorted(used):
            self._resource(number, self.lives.resource(number) or Told())

    def _resource(self, number: int, told: Told) -> None:
        now = resource_of(self.history, number, told, self.position)
        waiters = tuple(dict.fromkeys(waiter for _, _, waiter in sorted(self.waiters.get(number, ()))))
        self.part.resources[now.key] = replace(now, holders=tuple(self.holders.get(number, ())), waiters=waiters)

    def _listeners(self) -> None:
        for number, resource, greenlet, mode in self.snapshot.listeners.tolist():
            now = self.part.resources.get(self.key(resource))
            self.part.listeners.append(
                ListenerNow(
                    key_of(self.process, number & 0xFFFFFFFF),
                    now.fd if now else None,
                    now.generation if now else None,
                    self.key(resource),
                    _MODES.get(mode, Mode.READ),
                    self.key(greenlet) if greenlet else None,
                )
            )


def ever(h: ProcessHistory, life: Life) -> GreenletEver:
    """Return one greenlet as the whole trace knows it."""
    string = h.names.string
    return GreenletEver(
        key_of(h.index, life.id), life.id, h.index, h.feed.pid, life.thread, string(life.name), string(life.function),
        life.born_ns, life.died_ns, life.seen_ns, life.how, key_of(h.index, life.spawner) if life.spawner else None,
        h.names.stack(life.spawn_site), life.is_hub, life.is_main, string(life.error),
    )  # fmt: skip


def resource_of(history: ProcessHistory, number: int, told: Told, position: int) -> ResourceNow:
    """Return what a resource is, as far as it was told up to a position: without holders and waiters."""
    telling = told.at(position)
    kind = PREDEFINED.get(number, ResourceKind.UNKNOWN) if number < FIRST_RESOURCE else resource_kind(telling.flags)
    capacity: int | None = telling.arg if telling.arg != NO_CAPACITY and telling.at >= 0 else None
    greenlet = fd = generation = None
    target = ""
    if kind == ResourceKind.GREENLET:
        joined = telling.arg & 0xFFFFFFFF
        life = history.ages.greenlet(joined)
        greenlet, capacity = (key_of(history.index, joined) if joined else None), None
        target = ever(history, life).label if life else f"greenlet {joined}"
    elif kind == ResourceKind.FD:
        fd, generation, capacity = telling.arg & 0xFFFFFFFF, telling.arg >> FD_GENERATION_SHIFT, None
    elif kind in (ResourceKind.LOCK, ResourceKind.RLOCK) and capacity is None:
        capacity = 1
    return ResourceNow(
        key_of(history.index, number), number, history.index, kind, history.names.stack(telling.site), not inferred(telling.flags),
        capacity, (), (), told.signal_at <= position, greenlet, fd, generation, target, told.disposed_at <= position,
    )  # fmt: skip


def part_at(history: ProcessHistory, segment: Segment, p: int) -> Part:
    """Return one process just after record `p` of a segment."""
    return _Builder(history, segment, p).build()


def world_of(t_ns: int, parts: dict[int, Part], start_ns: int, ended: frozenset[int] = frozenset()) -> World:
    """Put the processes together."""
    world = World(t_ns, {}, {}, ended=ended)
    timers: list[TimerNow] = []
    listeners: list[ListenerNow] = []
    polling: dict[Key, int] = {}
    for part in parts.values():
        world.greenlets.update(part.greenlets)
        world.resources.update(part.resources)
        timers += part.timers
        listeners += part.listeners
        polling.update(part.polling)
    return World(
        t_ns,
        world.greenlets,
        world.resources,
        tuple(timers),
        tuple(listeners),
        not any(part.known for part in parts.values()),
        frozenset(index for index, part in parts.items() if part.whole),
        polling,
        {index: part.threads for index, part in parts.items()},
        ended,
        start_ns,
    )
