"""Every primitive's wait is found when recording begins in the middle of it: the rows of tests/primitives, recorded late, on both cores.

What was there before is concluded from the look of things: a waker that shows itself nowhere (a plain `acquire`) leaves the thing open,
and is never somebody else. What comes afterwards is recorded as ever.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greentrace.events import FLAG_INFERRED, HELD, Kind, Op, ResourceKind, State
from tests.primitives import eventlet, eventlet_patched, gevent
from tests.primitives.harness import Recorded, Row, record_late
from tests.record.conftest import CORES, usable
from tests.record.grammar import walk

WORLDS: dict[str, tuple[str, tuple[Row, ...], dict[str, str]]] = {
    "gevent": (gevent.PRELUDE, gevent.ROWS, {}),
    "gevent-patched": (gevent.PATCHED_PRELUDE, gevent.PATCHED, {}),
    "gevent-pure": (gevent.PRELUDE, gevent.SMALL, {"GEVENT_PURE_PYTHON": "1"}),
    "gevent-libev-cffi": (gevent.PRELUDE, gevent.SMALL, {"GEVENT_LOOP": "libev-cffi"}),
    "gevent-libuv-cffi": (gevent.PRELUDE, gevent.SMALL, {"GEVENT_LOOP": "libuv-cffi"}),
    "eventlet": (eventlet.PRELUDE, eventlet.ROWS, {"EVENTLET_HUB": "epolls"}),
    "eventlet-asyncio": (eventlet.PRELUDE, (*eventlet.ROWS, *eventlet.ASYNCIO), {"EVENTLET_HUB": "asyncio"}),
    **{
        f"eventlet-{copy}": (f"{eventlet.PRELUDE}\n{eventlet_patched.COPIES[copy]}", rows, {"EVENTLET_HUB": "epolls"})
        for copy, rows in eventlet_patched.ROWS.items()
    },
}
"""Prelude, rows and environment of each world in which rows are gone through."""

NAMED_OTHERWISE = {"GreenPool.imap of what is not there yet": "greenlet:items"}
"""A greenlet that was found is named after the outermost function of the user's on its stack, not after what it was spawned with."""

Recorder = Callable[[str, str], dict[str, Recorded]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Return what one process that went through its rows has recorded of each, on a core and in a world; run once."""
    known: dict[tuple[str, str], dict[str, Recorded]] = {}

    def go(core: str, world: str) -> dict[str, Recorded]:
        if world.endswith("cffi"):
            pytest.importorskip("cffi")
        if (core, world) not in known:
            prelude, rows, variables = WORLDS[world]
            known[core, world] = record_late(tmp_path_factory.mktemp("late"), core, prelude, rows, **variables)
        return known[core, world]

    return go


UNSEEN = {("gevent-libuv-cffi", "process, waitpid")}
"""libuv tells of a child by watchers of its own, which do not say of which."""

PASSING = {ResourceKind.CALLBACK, ResourceKind.SIGNAL, ResourceKind.PROCESS, ResourceKind.THREAD}
CASES = [
    pytest.param(world, row, id=f"{world}-{row.name}")
    for world, (_, rows, _) in WORLDS.items()
    for row in rows
    if not row.nowhere and (world, row.name) not in UNSEEN
]
"""Who has no frame of Python shows no name by which it could be looked for."""


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(("world", "row"), CASES)
def test_a_wait_that_began_before_recording_is_found_as_what_it_is(row: Row, world: str, core: str, recorded: Recorder) -> None:
    with recorded(usable(core), world)[row.name] as late:
        assert_it_was_found(row, late)


def assert_it_was_found(row: Row, late: Recorded) -> None:
    found = late.found(row.name, row.who)
    assert not found.errors, "\n".join(found.errors)
    now = found.now
    assert now is not None
    assert now.state == State.PARKED, f"{now.state!r}\n{found.story}"
    assert found.kinds == tuple(sorted(row.kinds)), f"{[kind.name for kind in found.kinds]}\n{found.story}"
    assert found.ops == tuple(sorted(row.ops)), f"{[op.name for op in found.ops]}\n{found.story}"
    assert not any(wait.observed for wait in now.waits), found.story
    assert (now.deadline_ns is not None) == row.deadline, f"deadline {now.deadline_ns}\n{found.story}"
    held = tuple(sorted(ResourceKind[late.ring.what(hold.resource & 0xFFFFFFFF).upper()] for hold in now.holds))
    # What it took by `acquire` alone it does not show.
    assert held in (tuple(sorted(row.holds)), ()), f"it holds {held}\n{found.story}"
    assert found.wakers in (None, None if row.wakers is None else tuple(sorted(row.wakers))), found.story
    # Who woke it is told by hooks that were there by then, or is told of nobody.
    named = found.woken_by.removeprefix("greenlet:")
    assert named.isdigit() or found.woken_by in (NAMED_OTHERWISE.get(row.name, row.woken_by), "nobody", "callback", "unknown"), found.story
    if row.again is not None:
        assert found.next_kinds == (row.again,), found.story
    assert now.stack, "it has no site"
    assert row.who != "waiter" or any("block" in frame.file for frame in now.stack), [str(frame) for frame in now.stack]
    if row.kind in HELD and row.op == Op.ACQUIRE and found.woken_by.startswith("greenlet"):
        assert_it_was_told_that_it_acquired(late, now.id, found.story)
    # What stands only for one wait goes with it.
    numbers = {wait.resource & 0xFFFFFFFF for wait in now.waits}
    passing = {number for number in numbers if ResourceKind[late.ring.what(number).upper()] in PASSING}
    assert passing <= {r.other for r in late.ring.of(Kind.DISPOSE)}, found.story
    walk(late.ring)


def assert_it_was_told_that_it_acquired(late: Recorded, waiter: int, story: str) -> None:
    """No hook saw its `acquire` begin: that it came out of it is concluded, or it is said that from now on anybody may release it."""
    acquired = [r for r in late.ring.records if r.kind == Kind.ACQUIRE and r.greenlet == waiter and not r.key]
    opened = [r for r in late.ring.records if r.kind == Kind.RESOURCE and r.flags & 0x20 and not r.key]
    assert opened or (acquired and all(r.flags & FLAG_INFERRED for r in acquired[:1])), story
