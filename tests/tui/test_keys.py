"""Keys: every one of them, on every screen, on a trace with a deadlock and on an empty one."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from greentrace.replay.reader import Trace
from greentrace.tui.app import Replay
from greentrace.tui.keys import SCREENS, SHELVES, Key
from tests.support.scribe import Scribe

from .conftest import bank

_LEAVING = ("quit", "show", "object")
PRESSED = [(key, name) for shelf in SHELVES for key in shelf.keys for name in key.keys.split(",") if not key.action.startswith(_LEAVING)]


def deadlocked(s: Scribe) -> None:
    bank(s)


def empty(s: Scribe) -> None:
    pass


@pytest.fixture(params=[deadlocked, empty], ids=lambda tell: tell.__name__)
def traced(request: pytest.FixtureRequest, tmp_path: Path) -> Trace:
    s = Scribe(tmp_path / "a.ring")
    request.param(s)
    return s.open()


async def pressed(pilot: Pilot[None], app: Replay, key: Key, name: str, folder: Path) -> None:
    """Press a key, answer what it asks, and see that the terminal is full of a frame, and that what is written is there."""
    files = len(list(folder.iterdir()))
    await pilot.press(name)
    if key.action.startswith("ask"):
        await pilot.press(*"alice", "enter")
        if "filter" in key.action:
            await pilot.press(name, *["backspace"] * 5, "enter")
            assert app.scene.filter_line == ""
    elif key.action == "guide":
        assert type(app.screen).__name__ == "Guide"
        await pilot.press("escape")
    elif key.action.startswith("export"):
        await app.workers.wait_for_complete()
        assert len(list(folder.iterdir())) == files + 1
    elif key.action.startswith("play"):
        app.player.stop()
    assert app.is_running
    width, height = app.pane.size
    assert [app.pane.render_line(y).cell_length for y in range(height)] == [width] * height


@pytest.mark.parametrize("screen", [screen.name for screen in SCREENS])
async def test_every_key_works_on_every_screen(traced: Trace, screen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "written"
    folder.mkdir()
    monkeypatch.chdir(folder)
    app = Replay(traced)
    async with app.run_test(size=(100, 30)) as pilot:
        for key, name in PRESSED:
            app.action_show(screen)
            await pressed(pilot, app, key, name, folder)


@pytest.mark.parametrize("screen", [screen.name for screen in SCREENS])
async def test_what_a_key_did_is_undone(trace: Trace, screen: str) -> None:
    """Every move of the cursor or the window can be gone back on, whatever screen it was made on."""
    moved = 0
    app = Replay(trace)
    async with app.run_test(size=(100, 30)) as pilot:
        for key, name in PRESSED:
            if key.action.startswith(("ask", "undo", "redo", "guide", "export", "play", "mark")):
                continue
            app.action_show(screen)
            before = app.scene.place
            await pilot.press(name)
            if app.scene.place != before:
                moved += 1
                await pilot.press("u")
                now = app.scene.place
                assert (now.t_ns, now.a_ns, now.b_ns) == (before.t_ns, before.a_ns, before.b_ns), key
        assert moved > 10
