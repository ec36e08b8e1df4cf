"""Arrows: who woke whom, from lane to lane."""

from __future__ import annotations

from pathlib import Path

from greentrace.events import Op, Waker
from greentrace.tui.app import Replay
from tests.support.scribe import MS, Scribe

from .conftest import words


async def test_arrows_lead_from_the_waker_to_whom_it_wakes(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice, passed, bob = s.spawn("alice"), s.spawn("passed"), s.spawn("bob")
    lock = s.lock()
    s.switch(alice)
    s.park(lock, to=bob)
    s.tick(10 * MS)
    s.wake(alice, Waker.GREENLET, resource=lock)
    s.tick(10 * MS)
    s.park(lock, to=alice)
    s.tick(10 * MS)
    s.park(2, op=Op.SLEEP)
    s.tick(10 * MS)
    s.wake(alice, Waker.TIMER, other=1)
    s.tick(10 * MS)
    del passed
    app = Replay(s.open())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("/", *"alice", "enter")
        before = words(app.pane)
        await pilot.press("v")
        lanes = {name: next(line for line in words(app.pane) if name in line) for name in ("alice", "passed", "bob")}
        (column,) = [at for at, mark in enumerate(lanes["bob"]) if mark == "●"]
        assert (lanes["alice"][column], lanes["passed"][column]) == ("▲", "│")
        assert lanes["alice"].count("◆") == 1, "what a timer wakes"
        assert lanes["alice"].index("◆") > column
        await pilot.press("v")
        assert words(app.pane) == before
