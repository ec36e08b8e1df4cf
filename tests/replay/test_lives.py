"""Lives: all records of a kind at once give the same as one record after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from greentrace.events import FLAG_KEY, NAME_GIVEN, RELEASE_FOREIGN, RESOURCE_SIGNAL, How, Kind, ResourceKind, State
from greentrace.replay.index import Columns
from greentrace.replay.lives import FAR, PREDEFINED, Life, Lives, Telling, Told, life_of, thawed
from greentrace.replay.source import EVENT_DTYPE

KINDS = [
    Kind.SPAWN, Kind.START, Kind.FINISH, Kind.COLLECT, Kind.NAME, Kind.HUB, Kind.STATE, Kind.THREAD, Kind.SWITCH, Kind.WAKE, Kind.RESOURCE,
    Kind.RESOURCE, Kind.RELEASE, Kind.DISPOSE, Kind.FD_CLOSE, Kind.ACQUIRE,
]  # fmt: skip
SMALL = st.integers(0, 5)
RECORDS = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(KINDS), st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 9, 0x23, FLAG_KEY, FLAG_KEY | 1, FLAG_KEY | 9]),
        st.integers(0, 2), st.sampled_from([0, 1, 2, 3, 4, 2**32 - 1]), st.sampled_from([0, 1, 2, 3, 17, 2**32 - 1]), SMALL, SMALL,
    ),
    max_size=60,
)  # fmt: skip


@dataclass
class Slow:
    """The same, record by record, by the words of `events`."""

    greenlets: dict[int, Life]
    resources: dict[int, Told]

    def life(self, number: int, t_ns: int) -> Life:
        return self.greenlets.setdefault(number, Life(number, t_ns))

    def take(self, at: int, record: tuple[int, ...], told: bool) -> None:
        t_ns, kind, _, thread, greenlet, other, _, _ = record
        if kind == Kind.SWITCH:
            self.switch(t_ns, thread, greenlet, other)
        elif kind in (Kind.RESOURCE, Kind.RELEASE, Kind.DISPOSE, Kind.FD_CLOSE):
            self.resource(at, record, told)
        elif greenlet and told and kind not in (Kind.WAKE, Kind.ACQUIRE):
            self.greenlet(at, record)

    def switch(self, t_ns: int, thread: int, target: int, origin: int) -> None:
        if target:
            life = self.life(target, t_ns)
            if not life.thread_known:
                life.thread, life.thread_known = thread, True
        if origin and origin not in self.greenlets:
            self.life(origin, t_ns).thread = thread

    def greenlet(self, at: int, record: tuple[int, ...]) -> None:
        t_ns, kind, flags, thread, number, other, site, arg = record
        life = self.life(number, t_ns)
        life.gone |= kind == Kind.COLLECT
        if kind == Kind.SPAWN:
            life.spawner, life.spawn_site, life.born_seen = other or life.spawner, site, True
            life.born_ns = life.born_ns if flags & FLAG_KEY else t_ns
        elif kind == Kind.STATE:
            life.spawner = life.spawner or other
            life.born_seen |= flags & 7 == State.CREATED
            if flags & 7 in (State.RUNNING, State.RUNNABLE, State.PARKED) and site:
                life.started_at = min(life.started_at, at)
            if flags & 7 == State.FINISHED:
                life.finished_at = min(life.finished_at, at)
        elif kind == Kind.START:
            life.started_at = min(life.started_at, at)
        elif kind == Kind.FINISH:
            life.finished_at, life.died_ns, life.error = at, t_ns, arg
            life.how = How(flags & 0x3F) if flags & 0x3F <= max(How) else None
        elif kind == Kind.NAME:
            life.name, life.function = (arg, life.function) if flags & NAME_GIVEN else (life.name, arg)
        life.is_hub |= kind == Kind.HUB
        life.is_main |= kind == Kind.THREAD
        if kind in (Kind.SPAWN, Kind.STATE) and not life.thread_known:
            life.thread = thread

    def resource(self, at: int, record: tuple[int, ...], told: bool) -> None:
        t_ns, kind, flags, _, _, number, site, arg = record
        if (kind == Kind.RESOURCE and not told) or (kind == Kind.RELEASE and not flags & RELEASE_FOREIGN):
            return
        known = self.resources.setdefault(number, Told(created_ns=t_ns))
        if kind in (Kind.DISPOSE, Kind.FD_CLOSE):
            known.disposed_at = at
        elif kind == Kind.RELEASE:
            known.signal_at = min(known.signal_at, at)
        else:
            telling = Telling(at, flags & ~FLAG_KEY, arg, site)
            if not known.tellings or known.tellings[-1][1:] != telling[1:]:
                known.tellings.append(telling)
            if flags & RESOURCE_SIGNAL:
                known.signal_at = min(known.signal_at, at)


@given(records=RECORDS, cut=st.integers(1, 60), known=st.booleans())
@settings(deadline=None, max_examples=500)
def test_all_at_once_is_one_after_the_other(records: list[tuple[int, ...]], cut: int, known: bool) -> None:
    steps = np.cumsum([record[0] for record in records]).tolist()
    rows = [(1000 + t_ns, *record[1:]) for t_ns, record in zip(steps, records, strict=True)]
    # Records come in blocks; within one, who a switch names is known before anybody else.
    slow, lives = Slow({}, {}), Lives()
    for first in range(0, len(rows), cut):
        part = rows[first : first + cut]
        for turn in (True, False):
            for at, row in enumerate(part, first):
                if (row[1] == Kind.SWITCH) == turn:
                    slow.take(at, row, known or not row[2] & FLAG_KEY)
        columns = Columns.of(np.array(part, EVENT_DTYPE))
        lives.feed(first, columns, np.full(len(part), known))
        for row in part:
            if row[1] in KINDS[:8] and (known or not row[2] & FLAG_KEY) and (life := slow.greenlets.get(row[4])):
                life.seen_ns = min(life.seen_ns, row[0])
    assert [life_of(row) for row in lives.rows().tolist()] == [slow.greenlets[number] for number in sorted(slow.greenlets)]
    numbers = {row[5] for row in rows}
    assert {number: lives.resource(number) for number in numbers if lives.resource(number)} == slow.resources
    joins = {n: t.arg for n, told in slow.resources.items() for t in told.tellings if t.flags & 0x1F == ResourceKind.GREENLET}
    assert lives.joins() == joins
    kinds = {n: told.tellings[-1].flags & 0x1F for n, told in sorted(slow.resources.items()) if told.tellings}
    asked = sorted(numbers | {1 << 31})
    plain = [kinds.get(number, ResourceKind.UNKNOWN) if number not in PREDEFINED else PREDEFINED[number] for number in asked]
    assert lives.kinds(np.array(asked, np.uint32)).tolist() == [kind if kind < len(ResourceKind) else 0 for kind in plain]
    again = thawed(lives.frozen())
    assert again.rows().tolist() == lives.rows().tolist()
    assert {number: again.resource(number) for number in numbers if again.resource(number)} == slow.resources
    for position in range(-1, len(rows)):
        standing = {
            number for number, told in slow.resources.items()
            if told.disposed_at > position and told.tellings and told.tellings[0].at <= position and number not in joins
        }  # fmt: skip
        assert lives.standing(position).tolist() == sorted(standing)
    assert all(told.disposed_at <= FAR for told in slow.resources.values())
