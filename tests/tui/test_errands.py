"""What takes long is done while the windows go on, says how far it is, and can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from greentrace.replay import reader
from greentrace.replay.measures import measures
from greentrace.replay.reader import Trace
from greentrace.replay.source import Told
from greentrace.tui import sight
from greentrace.tui.app import Replay
from greentrace.tui.errands import Errands
from greentrace.tui.scene import Scene

from .conftest import screen, words

_PATIENCE_SECONDS = 30


def until(said: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not said():
        assert time.monotonic() < end
        time.sleep(0.005)


def counted(trace: Trace, told: Told) -> int:
    told(0.5)
    return trace.event_count


def test_an_answer_is_that_of_the_question(deadlock: Path) -> None:
    moved = threading.Event()
    errands = Errands(deadlock, moved.set)
    errands.begin()
    with reader.open(deadlock) as trace:
        count = trace.event_count
    try:
        assert errands.ask("count", 1, counted) is None
        until(lambda: errands.ask("count", 1, counted) is not None)
        assert moved.is_set()
        assert errands.ask("count", 1, counted) == count
        assert errands.progress("count") is None
        assert errands.fault == ""
    finally:
        errands.close()


def test_another_question_stops_the_work_on_the_one_before(deadlock: Path) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def endless(trace: Trace, told: Told) -> None:
        try:
            while True:
                begun.set()
                told(0.25)
                time.sleep(0.001)
        except BaseException:
            stopped.set()
            raise

    errands = Errands(deadlock, lambda: None)
    errands.begin()
    try:
        assert errands.ask("count", 1, endless) is None
        assert begun.wait(_PATIENCE_SECONDS)
        until(lambda: errands.progress("count") == 0.25)
        until(lambda: errands.ask("count", 2, counted) is not None)
        assert stopped.is_set()
        assert errands.fault == "", "to be stopped is no fault"
        begun.clear()
        assert errands.ask("count", 3, endless) is None
        assert begun.wait(_PATIENCE_SECONDS)
        assert errands.cancel()
        assert not errands.cancel()
        assert errands.was_stopped("count")
        assert errands.ask("count", 3, endless) is None
        assert errands.was_stopped("count"), "what was stopped stays so"
        errands.again("count")
        until(lambda: errands.ask("count", 3, counted) is not None)
    finally:
        errands.close()


def test_what_goes_wrong_is_told(deadlock: Path) -> None:
    errands = Errands(deadlock, lambda: None)
    errands.begin()
    try:
        errands.ask("count", 1, lambda trace, told: 1 // 0)
        until(lambda: errands.fault != "")
        assert errands.fault.startswith("ZeroDivisionError")
        until(lambda: errands.ask("other", 1, counted) is not None)
    finally:
        errands.close()


@pytest.fixture
def long(deadlock: Path, monkeypatch: pytest.MonkeyPatch) -> Trace:
    monkeypatch.setattr(sight, "LONG_EVENTS", 0)
    return reader.open(deadlock)


def test_the_scene_takes_in_what_was_found(long: Trace) -> None:
    scene = Scene(long)
    assert not scene.is_judged
    scene.errands.begin()
    try:
        until(lambda: scene.is_judged)
        with reader.open(long.path) as plain:
            assert scene.findings == plain.findings()
            until(lambda: scene.measures is not None)
            found, expected = scene.measures, measures(plain, scene.place.a_ns, scene.place.b_ns)
            assert found is not None
            assert [(row.name, row.greenlets, row.run.total_ns) for row in found.rows] == [
                (row.name, row.greenlets, row.run.total_ns) for row in expected.rows
            ]
    finally:
        scene.errands.close()


async def test_who_has_not_moved_is_taken_to_the_trouble_when_it_is_found(long: Trace) -> None:
    app = Replay(long)
    async with app.run_test(size=(120, 30)) as pilot:
        end = time.monotonic() + _PATIENCE_SECONDS
        # A frame that was under way when the answer came shows it before the cursor is taken there.
        while "Deadlock: alice" not in screen(pilot) or not app.scene._stands_by_verdict:
            assert time.monotonic() < end, screen(pilot)
            await pilot.pause(0.02)
        assert app.scene.place.t_ns == long.deadlocks()[0].closed_ns
        await pilot.press("8")
        while "running" not in "\n".join(words(app.pane)):
            assert time.monotonic() < end, words(app.pane)
            await pilot.pause(0.02)


async def test_who_stopped_it_can_begin_again(long: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    def slow(trace: Trace, a_ns: int, b_ns: int, by: str, told: Told) -> object:
        while not goes_on.is_set():
            told(0.42)
            time.sleep(0.001)
        return measures(trace, a_ns, b_ns, "function", told)

    monkeypatch.setattr(sight, "measures", slow)
    app = Replay(long)
    async with app.run_test(size=(120, 30)) as pilot:
        end = time.monotonic() + _PATIENCE_SECONDS
        await pilot.press("8")
        while "42 %" not in "\n".join(words(app.pane)) and "42%" not in "\n".join(words(app.pane)):
            assert time.monotonic() < end, words(app.pane)
            await pilot.pause(0.02)
        await pilot.press("escape")
        assert "Enter begins again" in words(app.pane)[0]
        goes_on.set()
        await pilot.press("enter")
        while "running" not in "\n".join(words(app.pane)):
            assert time.monotonic() < end, words(app.pane)
            await pilot.pause(0.02)


async def test_a_graph_that_takes_long_waits_until_the_cursor_rests(deadlock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "FEW", 0)
    monkeypatch.setattr(sight, "QUICK_SECONDS", 0.0)
    asked: list[int] = []
    trace = reader.open(deadlock)
    graph = trace.graph
    monkeypatch.setattr(trace, "graph", lambda t_ns: asked.append(t_ns) or graph(t_ns))
    app = Replay(trace)
    async with app.run_test(size=(120, 30)) as pilot:
        end = time.monotonic() + _PATIENCE_SECONDS
        while "held by" not in screen(pilot):
            assert time.monotonic() < end, screen(pilot)
            await pilot.pause(0.02)
        assert "✖" in "\n".join(words(app.pane)[2:])
        asked.clear()
        selection = app.scene.selection
        for _ in range(5):
            selection.step(-1)
            app._redraw()
            assert not any("✖" in line for line in words(app.pane)[2:]), "nobody is called doomed at a moment that is not known yet"
        assert asked == []
        t_ns = selection.place.t_ns
        while asked != [t_ns]:
            assert time.monotonic() < end, asked
            await pilot.pause(0.02)
