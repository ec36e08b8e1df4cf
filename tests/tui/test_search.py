"""Search: what a text leads to, on the screen where it is asked for."""

from __future__ import annotations

from greentrace.events import Kind
from greentrace.replay.reader import Trace
from greentrace.tui.app import Replay
from tests.support.scribe import MS

from .conftest import words


async def test_search_and_go_to_take_words(app: Replay, trace: Trace) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("/", *"dave", "enter")
        assert app.scene.now is not None
        assert app.scene.now.label == "dave"
        await pilot.press(":", *"0.004", "enter")
        assert app.scene.place.t_ns == trace.start_ns + 4 * MS
        await pilot.press(":", *"tomorrow", "enter")
        assert app.scene.place.t_ns == trace.start_ns + 4 * MS
        assert len(app._notifications) == 1
        await pilot.press(":", "escape")
        await pilot.press("2")
        assert app.pane.id == "greenlets"


async def test_the_log_is_searched_for_kinds_of_events_and_for_greenlets(app: Replay, trace: Trace) -> None:
    fires = [number for number in range(trace.event_count) if trace.event(number)[1].kind == Kind.WAKE]
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("9", ":", *"#0", "enter", "/", *"wake", "enter")
        assert app.scene.place.event == fires[0]
        await pilot.press("n")
        assert app.scene.place.event == fires[1]
        await pilot.press("N")
        assert app.scene.place.event == fires[0]
        await pilot.press("/", *"dave", "enter")
        here = next(line for line in words(app.pane) if line.startswith("▶"))
        assert "dave" in here
        await pilot.press("/", *"nobody", "enter")
        assert len(app._notifications) == 1
