"""Lives: what is so for the whole life of a greenlet, a resource or a thread.

In:  the records of one process, as they come. Only those of a birth, a name, a death are looked at, one by one.
Out: `Life` and `Told`: names, who made whom and where, what a resource is and from which position on.
Never: a state. That is what `index` and `state` are for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from greentrace.events import FLAG_INFERRED, FLAG_KEY, NAME_GIVEN, RELEASE_FOREIGN, RESOURCE_SIGNAL, How, Kind, ResourceKind, State
from greentrace.replay.index import Array, Columns

FAR = 1 << 62
"""A position after every other."""

_OF_A_GREENLET = (Kind.SPAWN, Kind.START, Kind.FINISH, Kind.COLLECT, Kind.NAME, Kind.HUB, Kind.STATE, Kind.THREAD)


@dataclass(slots=True)
class Life:
    """What is known of one greenlet. Names are ids of strings; positions count the records of its process."""

    id: int
    seen_ns: int
    name: int = 0
    function: int = 0
    is_hub: bool = False
    is_main: bool = False
    thread: int = 0
    thread_known: bool = False
    born_ns: int | None = None
    born_seen: bool = False
    spawner: int = 0
    spawn_site: int = 0
    started_at: int = FAR
    finished_at: int = FAR
    died_ns: int | None = None
    how: How | None = None
    error: int = 0


class Telling(NamedTuple):
    """One RESOURCE record."""

    at: int
    flags: int
    arg: int
    site: int


_NOT_TOLD = Telling(-1, ResourceKind.UNKNOWN, (1 << 64) - 1, 0)


@dataclass(slots=True)
class Told:
    """What is known of one resource. `signal_at`: from then on, whoever likes may release it."""

    tellings: list[Telling] = field(default_factory=list)
    created_ns: int = 0
    signal_at: int = FAR
    disposed_at: int = FAR

    def at(self, position: int) -> Telling:
        """Return what was last told of it at or before a position."""
        for telling in reversed(self.tellings):
            if telling.at <= position:
                return telling
        return _NOT_TOLD


def resource_kind(flags: int) -> ResourceKind:
    code = flags & 0x1F
    return ResourceKind(code) if code <= max(ResourceKind) else ResourceKind.UNKNOWN


class Lives:
    """All greenlets and resources of one process."""

    def __init__(self) -> None:
        self.greenlets: dict[int, Life] = {}
        self.resources: dict[int, Told] = {}
        self.joins: dict[int, int] = {}
        self.threads: dict[int, tuple[int, int]] = {}
        """Thread index -> (position of its first record, native id)."""

    def life(self, number: int, t_ns: int) -> Life:
        found = self.greenlets.get(number)
        if found is None:
            found = self.greenlets[number] = Life(number, t_ns)
        return found

    def feed(self, first: int, columns: Columns, applied: Array) -> None:
        """Take in records whose first stands at position `first`; those not `applied` repeat what is known."""
        self._switched(columns)
        self._threads(first, columns)
        mask = np.isin(columns.kind, _OF_A_GREENLET) & (applied | (columns.flags & FLAG_KEY == 0))
        for i in np.flatnonzero(mask).tolist():
            self._greenlet(first, columns, i)
        mask = (columns.kind == Kind.RESOURCE) & (applied | (columns.flags & FLAG_KEY == 0))
        mask |= (columns.kind == Kind.DISPOSE) | (columns.kind == Kind.FD_CLOSE)
        mask |= (columns.kind == Kind.RELEASE) & (columns.flags & RELEASE_FOREIGN != 0)
        for i in np.flatnonzero(mask).tolist():
            self._resource(first, columns, i)

    def _switched(self, columns: Columns) -> None:
        """A greenlet belongs to the thread that switched to it; whoever is first met in a switch has a life from there on."""
        switches = np.flatnonzero((columns.kind == Kind.SWITCH) | (columns.kind == Kind.THROW))
        ids, index = np.unique(columns.greenlet[switches], return_index=True)
        for number, i in zip(ids.tolist(), switches[index].tolist(), strict=True):
            known = self.greenlets.get(number)
            if number and (known is None or not known.thread_known):
                life = self.life(number, int(columns.t_ns[i]))
                life.thread, life.thread_known = int(columns.thread[i]), True
        ids, index = np.unique(columns.other[switches], return_index=True)
        for number, i in zip(ids.tolist(), switches[index].tolist(), strict=True):
            if number and number not in self.greenlets:
                life = self.life(number, int(columns.t_ns[i]))
                life.thread = int(columns.thread[i])

    def _threads(self, first: int, columns: Columns) -> None:
        for index in np.flatnonzero(np.bincount(columns.thread, minlength=1)).tolist():
            if index not in self.threads:
                self.threads[index] = (first + int(np.argmax(columns.thread == index)), 0)

    def _greenlet(self, first: int, columns: Columns, i: int) -> None:
        number, kind, flags, t_ns = int(columns.greenlet[i]), columns.kind[i], int(columns.flags[i]), int(columns.t_ns[i])
        if not number:
            return
        life = self.life(number, t_ns)
        life.seen_ns = min(life.seen_ns, t_ns)
        arg, key = int(columns.arg[i]), flags & FLAG_KEY
        if kind == Kind.SPAWN:
            life.spawner, life.spawn_site, life.born_seen = int(columns.other[i]), int(columns.site[i]), True
            if not key:
                life.born_ns = t_ns
            if not life.thread_known:
                life.thread = int(columns.thread[i])
        elif kind == Kind.STATE:
            life.spawner = life.spawner or int(columns.other[i])
            state = flags & 7
            life.born_seen |= state == State.CREATED
            if state in (State.RUNNING, State.RUNNABLE, State.PARKED) and int(columns.site[i]):
                life.started_at = min(life.started_at, first + i)
            if state == State.FINISHED:
                life.finished_at = min(life.finished_at, first + i)
            if not life.thread_known:
                life.thread = int(columns.thread[i])
        elif kind == Kind.START:
            life.started_at = min(life.started_at, first + i)
        elif kind == Kind.FINISH:
            life.finished_at, life.died_ns, life.error = first + i, t_ns, arg & 0xFFFFFFFF
            how = flags & 0x3F
            life.how = How(how) if how <= max(How) else None
        elif kind == Kind.NAME:
            if flags & NAME_GIVEN:
                life.name = arg & 0xFFFFFFFF
            else:
                life.function = arg & 0xFFFFFFFF
        elif kind == Kind.HUB:
            life.is_hub = True
        elif kind == Kind.THREAD:
            life.is_main = True
            thread = int(columns.thread[i])
            self.threads[thread] = (self.threads[thread][0], arg)

    def _resource(self, first: int, columns: Columns, i: int) -> None:
        number, kind, at = int(columns.other[i]), columns.kind[i], first + i
        told = self.resources.get(number)
        if told is None:
            told = self.resources[number] = Told(created_ns=int(columns.t_ns[i]))
        if kind == Kind.RELEASE:
            told.signal_at = min(told.signal_at, at)
        elif kind in (Kind.DISPOSE, Kind.FD_CLOSE):
            told.disposed_at = at
        else:
            flags = int(columns.flags[i]) & ~FLAG_KEY
            telling = Telling(at, flags, int(columns.arg[i]), int(columns.site[i]))
            if not told.tellings or told.tellings[-1][1:] != telling[1:]:
                told.tellings.append(telling)
            if flags & RESOURCE_SIGNAL:
                told.signal_at = min(told.signal_at, at)
            if resource_kind(flags) == ResourceKind.GREENLET:
                self.joins[number] = telling.arg & 0xFFFFFFFF


def inferred(flags: int) -> bool:
    return bool(flags & FLAG_INFERRED)
