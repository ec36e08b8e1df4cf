"""What the tests of the windows share: a small program with a deadlock, and an app over it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.strip import Strip

from greentrace.events import Op, Waker
from greentrace.replay.reader import Trace
from greentrace.tui.app import Replay
from greentrace.tui.pane import Pane
from tests.support.scribe import MS, Scribe


def bank(s: Scribe) -> dict[str, int]:
    """Alice and bob deadlock, carol waits behind them, dave sleeps and runs for ever."""
    savings, current = s.lock(11), s.lock(12)
    who = {name: s.spawn(name) for name in ("alice", "bob", "carol", "dave")}
    for name, first, second in (("alice", savings, current), ("bob", current, savings)):
        s.switch(who[name]) if name == "alice" else s.run(who[name])
        s.acquire(first)
        s.park(2, op=Op.SLEEP, deadline_ns=s.now + MS)
        s.tick(MS)
        s.wake(who[name], Waker.TIMER, other=1)
        del second
    for name, second in (("alice", current), ("bob", savings), ("carol", savings)):
        s.run(who[name])
        s.park(second, line=30)
        s.tick(MS)
    for _ in range(5):
        s.run(who["dave"])
        s.tick(MS // 2)
        s.park(2, op=Op.SLEEP, line=50, function="rest", deadline_ns=s.now + MS)
        s.tick(MS)
        s.wake(who["dave"], Waker.TIMER, other=1)
    return who | {"savings": savings, "current": current}


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings of a test are: nobody's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "greentrace" / "tui.json"


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    s = Scribe(tmp_path / "bank.ring")
    bank(s)
    return s.open()


@pytest.fixture
def app(trace: Trace) -> Replay:
    return Replay(trace)


def words(pane: Pane) -> list[str]:
    """Return what stands in a pane, line by line."""
    strips: list[Strip] = [pane.render_line(y) for y in range(pane.size.height)]
    return [strip.text.rstrip() for strip in strips]


def screen(pilot: Pilot[int]) -> str:
    """Return all that is seen."""
    app = pilot.app
    assert isinstance(app, Replay)
    panes = [app.query_one("#head", Pane), app.pane, app.query_one("#below", Pane), app.query_one("#foot", Pane)]
    return "\n".join(itertools.chain.from_iterable(words(pane) for pane in panes if pane.size.height))
