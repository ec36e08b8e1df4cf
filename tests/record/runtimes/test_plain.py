"""Plain greenlets: bare switches and throws, SQLAlchemy's bridge between greenlets and asyncio, and greenlets of dead threads."""

from __future__ import annotations

import importlib.util

import pytest

from greentrace.events import How, Kind, Op, State

from ..conftest import Runner
from ..grammar import walk
from ..reading import expect

BARE = """
from greenlet import getcurrent, greenlet
def pingpong(first):
    second = main.switch(first + 1)
    main.switch(second + 1)
def thrown():
    try:
        main.switch("ready")
    except KeyError:
        return "caught"
def quick():
    return 1
main = getcurrent()
ping = greenlet(pingpong)
print(ping.switch(1), ping.switch(10))
poor = greenlet(thrown)
print(poor.switch(), poor.throw(KeyError))
print(greenlet(quick).switch())
del ping
"""

BRIDGE = """
import asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
async def main():
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        found = await connection.execute(text("select 6 * 7"))
        print(found.scalar())
    await engine.dispose()
asyncio.run(main())
"""

AWAITED = """
import asyncio
from sqlalchemy.util import await_only, greenlet_spawn
async def answer():
    await asyncio.sleep(0)
    return 42
def synchronous():
    return await_only(answer()) + await_only(answer())
async def main():
    print(await greenlet_spawn(synchronous))
asyncio.run(main())
"""

ABANDONED = """
import gc, threading
from greenlet import getcurrent, greenlet
kept = []
def stranded():
    try:
        getcurrent().parent.switch()
    finally:
        print("unwound")
def thread():
    kept.append(greenlet(stranded))
    kept[0].switch()
runner = threading.Thread(target=thread)
runner.start()
runner.join()
kept.clear()
gc.collect()
def after():
    pass
greenlet(after).switch()
print("on")
"""


def test_a_switch_and_a_throw_go_where_they_go(run: Runner) -> None:
    done = run(BARE).ok
    assert done.stdout == "2 11\nready caught\n1\n"
    walk(done.ring)
    life = expect(done.ring).greenlet("pingpong").parks_on("switch", op=Op.SWITCH, deadline=False, where="pingpong")
    life.then.runs(after="main").then.parks_on("switch", where="pingpong").then.is_thrown_into(by="main")
    expect(done.ring).greenlet("thrown").parks_on("switch").then.is_thrown_into(by="main")


def test_who_never_parks_has_a_name_in_the_native_recorder(run: Runner, core: str) -> None:
    ring = run(BARE).ok.ring
    assert len(ring.numbers("quick")) == (core == "native"), "the twin sees no creation, and a plain greenlet forgets its function"


@pytest.mark.skipif(importlib.util.find_spec("sqlalchemy") is None, reason="sqlalchemy is not installed")
def test_sqlalchemys_bridge_says_the_same_and_its_greenlet_waits_for_the_loop(run: Runner) -> None:
    done = run(AWAITED).ok
    assert done.stdout == "84\n"
    walk(done.ring)
    life = expect(done.ring).greenlet("synchronous").parks_on("switch", op=Op.SWITCH).then.runs(after="main")
    assert "synchronous" in done.ring.functions(done.ring.of(Kind.PARK, greenlet=life.number)[0].site)
    life.then.parks_on("switch", op=Op.SWITCH).then.runs(after="main").then.finishes()


@pytest.mark.skipif(importlib.util.find_spec("aiosqlite") is None, reason="aiosqlite is not installed")
def test_an_asynchronous_engine_works_as_without_us(run: Runner) -> None:
    done = run(BRIDGE).ok
    assert done.stdout == "42\n"
    walk(done.ring)
    assert any(r.left == State.PARKED for r in done.ring.of(Kind.SWITCH))


def test_a_greenlet_whose_thread_has_died_is_not_said_to_run(run: Runner) -> None:
    done = run(ABANDONED).ok
    assert done.stdout.splitlines()[-1] == "on"
    walk(done.ring)
    # The twin sees it first in the thread that ran it, and not at all if that was not yet traced.
    for number in done.ring.numbers("stranded"):
        left = [r.left for r in done.ring.of(Kind.SWITCH, Kind.THROW) if number in (r.greenlet, r.other)]
        assert left[-1] in (State.PARKED, State.FINISHED)
        assert all(How(r.flags & 3) != How.RETURNED for r in done.ring.of(Kind.FINISH, greenlet=number))
