"""Everybody as columns, against everybody as objects."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from greentrace.events import ResourceKind, State
from greentrace.replay.model import GreenletEver, Key, World, shown
from greentrace.replay.reader import Trace
from greentrace.replay.roster import ABSENT, Muster, Roster, Texts
from tests.replay.programs import many, play
from tests.support.scribe import Scribe

EVERY = np.ones(256, bool)


def words(texts: Texts) -> list[str]:
    return [texts.words[code] for code in texts.codes.tolist()]


def check_roster(trace: Trace, roster: Roster) -> None:
    every = [trace.greenlet(key) for key in roster.keys.tolist()]
    assert every == sorted(trace.greenlets, key=lambda g: g.key)
    assert words(roster.labels) == [g.label for g in every]
    assert words(roster.functions) == [g.function for g in every]
    assert words(roster.runs) == [g.function or g.label for g in every]
    assert len(set(roster.runs.words)) == len(roster.runs.words)
    assert words(roster.spawned_at) == [str(shown(g.spawned_at) or "") for g in every]
    assert roster.pids.tolist() == [g.pid for g in every]
    ranks = roster.labels.ranks
    assert [every[at].label for at in np.argsort(ranks, kind="stable").tolist()] == sorted(g.label for g in every)
    for a_ns in range(trace.start_ns, trace.end_ns + 1, max((trace.end_ns - trace.start_ns) // 5, 1)):
        b_ns = a_ns + (trace.end_ns - trace.start_ns) // 7
        ends = [trace.end_ns if g.died_ns is None else g.died_ns for g in every]
        lived = [(g.born_ns or g.seen_ns) <= b_ns and end >= min(a_ns, trace.end_ns) for g, end in zip(every, ends, strict=True)]
        assert roster.alive(a_ns, b_ns).tolist() == lived
    for g in every:
        assert roster.made_by(g.key).tolist() == [child.key for child in every if child.spawner == g.key]


def check_muster(world: World, muster: Muster) -> None:
    roster = muster.roster
    assert {key for key, is_there in zip(roster.keys.tolist(), muster.there.tolist(), strict=True) if is_there} == set(world.greenlets)
    waiting: set[Key] = set()
    for at, key in enumerate(roster.keys.tolist()):
        now = world.greenlets.get(key)
        if now is None:
            assert (muster.states[at], muster.kinds[at], muster.holds[at]) == (ABSENT, ABSENT, 0)
            continue
        assert (muster.states[at], muster.since_ns[at], muster.holds[at]) == (now.state, now.since_ns, len(now.holds))
        assert words(muster.places)[at] == (now.site.place if now.site is not None else "")
        if now.state == State.PARKED and now.waits:
            assert muster.kinds[at] == world.resources[now.waits[0].resource].kind
            waiting |= {key} if any("lock" in world.resources[wait.resource].label for wait in now.waits) else set()
        else:
            assert muster.kinds[at] == ABSENT
    assert set(roster.keys[muster.waiting_for(lambda label: "lock" in label)].tolist()) == waiting
    used = {int(row["key"]): (int(row["waiters"]), int(row["holders"])) for row in muster.resources(EVERY)}
    assert used == {r.key: (len(r.waiters), len(r.holders)) for r in world.resources.values()}
    counts = muster.resources(EVERY)["waiters"].tolist()
    assert counts == sorted(counts, reverse=True)
    joins = EVERY & False
    joins[ResourceKind.GREENLET] = True
    assert set(muster.resources(joins)["key"].tolist()) == {r.key for r in world.resources.values() if r.kind == ResourceKind.GREENLET}


def read_aloud(every: list[GreenletEver]) -> list[tuple[Key, int]]:
    """Return (who, how deep), everybody before whom they made."""
    keys = {g.key for g in every}
    out: list[tuple[Key, int]] = []

    def tell(g: GreenletEver, depth: int) -> None:
        out.append((g.key, depth))
        for child in every:
            if child.spawner == g.key and child.key != g.key:
                tell(child, depth + 1)

    for g in every:
        if g.spawner not in keys or g.spawner == g.key:
            tell(g, 0)
    return out


@pytest.mark.parametrize("gaps", [False, True])
@given(choices=many)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_the_columns_say_what_the_objects_say(gaps: bool, choices: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=997)
        play(s, choices, gaps=gaps)
        trace = s.open()
    roster = Roster(trace)
    check_roster(trace, roster)
    for part in range(5):
        t_ns = trace.start_ns + (trace.end_ns - trace.start_ns) * part // 4
        check_muster(trace.at(t_ns), Muster(roster, trace.at(t_ns)))
    some = np.flatnonzero(np.arange(len(roster)) % 3 != 1)
    for members in (np.arange(len(roster)), some):
        order, depth = roster.family(members)
        keys = roster.keys[members]
        expected = read_aloud([trace.greenlet(key) for key in keys.tolist()])
        assert list(zip(keys[order].tolist(), depth[order].tolist(), strict=True)) == expected


def test_who_made_each_other_in_a_circle_stands_at_the_top(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    first = s.spawn("first")
    second = s.spawn("second", spawner=first)
    third = s.spawn("third", spawner=second)
    roster = Roster(s.open())
    roster.lives["spawner"][roster.indices([first])] = second
    order, depth = roster.family(roster.indices([first, second, third]))
    assert sorted(order.tolist()) == [0, 1, 2]
    assert depth.tolist() == [0, 0, 0]
