"""State: the world at one moment.

In:  a `ProcessHistory`, and a position in it.
Out: the part of a `World` that is this process's: greenlets, resources, timers, listeners, each made when somebody asks for it.
Never: a replay of what the program did. The rows of a `Snapshot` are the state; here they get their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from greentrace.events import FD_GENERATION_SHIFT, FIRST_RESOURCE, NO_CAPACITY, TIMER_CALLS, TIMER_THROWS, Mode, Op, ResourceKind, State
from greentrace.replay.index import Array
from greentrace.replay.lazy import Joined, Lazy, LazyRow
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
from greentrace.replay.present import Present
from greentrace.replay.process import ProcessHistory
from greentrace.replay.segment import Segment
from greentrace.replay.suspects import is_busy, suspects

_OPS = {int(op): op for op in Op}
_MODES = {int(mode): mode for mode in Mode}
_STATES = list(State)


def _between(ids: Array, number: int) -> tuple[int, int]:
    # A number of another type would have all the ids converted.
    one = ids.dtype.type(number)
    return int(ids.searchsorted(one)), int(ids.searchsorted(one, "right"))


class _Maker:
    """Makes the things of one process at one position."""

    def __init__(self, rows: Present) -> None:
        self.rows = rows
        self.history = rows.history
        self.process = rows.history.index

    def key(self, number: int) -> Key:
        return key_of(self.process, number)

    def greenlets(self, indices: Array) -> Iterator[GreenletNow]:
        """Yield the greenlets of some rows."""
        rows, names, position = self.rows, self.history.names, self.rows.position
        make, string = names.stack, names.string
        chosen = rows.greenlets[indices]
        due_of, due = rows.timeouts
        for (number, state, since_ns, at, site, _), life in zip(chosen.tolist(), self.history.ages.greenlets(chosen["id"]), strict=True):
            finished = life.finished_at <= position
            state = _STATES[state]
            started = life.started_at <= position or finished or state in (State.RUNNING, State.PARKED, State.UNKNOWN)
            low, high = _between(due_of, number)
            yield GreenletNow(
                self.key(number), number, self.process, self.history.feed.pid, life.thread, string(life.name), string(life.function),
                state, since_ns, make(site), self._waits(number), self._holds(number),
                self.key(life.spawner) if life.spawner else None, make(life.spawn_site), life.is_hub, started or bool(site),
                life.how if finished else None, int(due[low]) if high > low else None, life.is_main, at if at >= 0 else None,
                life.born_seen,
            )  # fmt: skip

    def _waits(self, number: int) -> tuple[Wait, ...]:
        low, high = _between(self.rows.waiting, number)
        return tuple(
            Wait(self.key(resource), _OPS.get(op, Op.WAIT), deadline_ns or None, not guessed, told)
            for _, resource, op, guessed, deadline_ns, told, _, _ in self.rows.waits[low:high].tolist()
        )

    def _holds(self, number: int) -> tuple[Hold, ...]:
        low, high = _between(self.rows.held_by, number)
        return tuple(
            Hold(self.key(pair & 0xFFFFFFFF), since_ns, self.history.names.stack(site), not guessed)
            for pair, since_ns, site, guessed, _ in self.rows.holds[low:high].tolist()
        )

    def resources(self, indices: Array) -> Iterator[ResourceNow]:
        """Yield some of the resources."""
        rows = self.rows
        for number in rows.resources[indices].tolist():
            now = resource_of(self.history, number, rows.lives.resource(number) or Told(), rows.position)
            ids, order = rows.held
            low, high = _between(ids, number)
            holders = tuple(
                Holder(self.key(pair >> 32), since_ns, self.history.names.stack(site), not guessed)
                for pair, since_ns, site, guessed, _ in rows.holds[order[low:high]].tolist()
            )
            ids, order = rows.waited_for
            low, high = _between(ids, number)
            waiters = tuple(dict.fromkeys(map(self.key, rows.waits["greenlet"][order[low:high]].tolist())))
            yield replace(now, holders=holders, waiters=waiters)

    def timers(self) -> list[TimerNow]:
        return [
            TimerNow(
                self.key(number), due_ns, self.key(greenlet) if greenlet else None, bool(flags & TIMER_THROWS),
                self.history.names.stack(site), bool(flags & TIMER_CALLS),
            )
            for number, greenlet, flags, due_ns, site in self.rows.timers.tolist()
        ]  # fmt: skip

    def listeners(self) -> list[ListenerNow]:
        found = []
        for number, resource, greenlet, mode in self.rows.listeners.tolist():
            now = resource_of(self.history, resource, self.rows.lives.resource(resource) or Told(), self.rows.position)
            whom = self.key(greenlet) if greenlet else None
            key = self.key(number & 0xFFFFFFFF)
            found.append(ListenerNow(key, now.fd, now.generation, now.key, _MODES.get(mode, Mode.READ), whom))
        return found


@dataclass(slots=True)
class Part:
    """One process of a World."""

    rows: Present
    greenlets: Lazy[GreenletNow]
    resources: Lazy[ResourceNow]
    timers: LazyRow[TimerNow]
    listeners: LazyRow[ListenerNow]


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
    rows = Present(history, segment, p)
    maker, index = _Maker(rows), history.index
    return Part(
        rows,
        Lazy(index, rows.greenlets["id"], maker.greenlets),
        Lazy(index, rows.resources, maker.resources),
        LazyRow(len(rows.timers), maker.timers),
        LazyRow(len(rows.listeners), maker.listeners),
    )


def world_of(t_ns: int, parts: Mapping[int, Part], start_ns: int, ended: frozenset[int] = frozenset()) -> World:
    """Put the processes together."""
    every = parts.values()
    return World(
        t_ns,
        Joined({index: part.greenlets for index, part in parts.items()}),
        Joined({index: part.resources for index, part in parts.items()}),
        LazyRow(sum(len(part.timers) for part in every), lambda: [timer for part in every for timer in part.timers]),
        LazyRow(sum(len(part.listeners) for part in every), lambda: [listener for part in every for listener in part.listeners]),
        not any(part.rows.known for part in every),
        frozenset(index for index, part in parts.items() if part.rows.whole),
        {key_of(index, number): timeout for index, part in parts.items() for number, timeout in part.rows.polls.tolist()},
        {index: threads_of(part.rows) for index, part in parts.items()},
        ended,
        start_ns,
        lambda: [key_of(index, number) for index, part in parts.items() for number in suspects(part.rows).tolist()],
        frozenset(index for index, part in parts.items() if is_busy(part.rows)),
    )


def threads_of(rows: Present) -> int:
    """Return how many threads a process has had by then."""
    return sum(first <= rows.position for first, _ in rows.history.ages.now.threads.values())
