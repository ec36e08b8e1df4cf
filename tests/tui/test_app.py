"""The app, with real keys and a real mouse, read from its strips."""

from __future__ import annotations

from pathlib import Path

import pytest

from greentrace.events import TIMER_THROWS, Kind, Mode, Op
from greentrace.replay.reader import Trace
from greentrace.tui.app import Replay
from greentrace.tui.guide import text as guide_text
from greentrace.tui.keys import SCREENS, SHELVES
from greentrace.tui.pane import Pane
from greentrace.tui.statistics import Statistics
from tests.support.scribe import MS, Scribe

from .conftest import bank, screen, words

SIZES = [(80, 24), (200, 50)]


@pytest.mark.parametrize("size", SIZES)
async def test_the_first_screen_says_who_is_deadlocked_and_stands_where_it_closed(app: Replay, trace: Trace, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        seen = screen(pilot)
        assert "✖ Deadlock: alice in work and bob in work wait for" in seen
        lanes = words(app.pane)
        assert "whole trace" in lanes[0]
        assert "✖" in lanes[0], "the finding stands in the whole trace too"
        assert "▸✖ #3 alice" in lanes[2]
        assert "✖ #4 bob" in lanes[3]
        assert app.scene.place.t_ns == trace.deadlocks()[0].closed_ns
        assert "held by bob" in seen
        assert "lock" in words(app.query_one("#foot", Pane))[0]


@pytest.mark.parametrize("size", SIZES)
async def test_every_screen_opens_with_its_key_and_fits_the_terminal(app: Replay, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        for key, name, _, _ in SCREENS:
            await pilot.press(key)
            assert app.pane.id == name
            assert app.pane.size.height >= 8
            for y in range(app.pane.size.height):
                assert app.pane.render_line(y).cell_length == size[0]
            assert any(line.strip() for line in words(app.pane))


async def test_enter_leads_to_the_holder_and_u_leads_back(app: Replay) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        alice = app.scene.place.greenlet
        await pilot.press("enter")
        assert app.scene.now is not None
        assert app.scene.now.label == "bob"
        await pilot.press("enter")
        assert app.scene.place.greenlet == alice
        await pilot.press("u", "u")
        assert app.scene.place.greenlet == alice
        await pilot.press("U")
        assert app.scene.now.label == "bob"


async def test_the_state_of_everything_is_that_of_the_cursor(app: Replay, trace: Trace) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        assert "waits to acquire lock" in screen(pilot)
        before = [line for line in words(app.pane) if "carol" in line]
        await pilot.press("end")
        after = [line for line in words(app.pane) if "carol" in line]
        assert "created" in before[0]
        assert "▲" in after[0]
        assert "parked" in after[0]


async def test_the_waits_show_the_ring_and_the_victims(app: Replay) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("end", "4")
        seen = "\n".join(words(app.pane))
        assert "✖ DEADLOCK of 2" in seen
        assert seen.index("#3 alice") < seen.index("held by #4 bob") < seen.index("held by #3 alice")
        assert "1 victim behind them" in seen
        assert "#5 carol" in seen


async def test_o_leads_to_what_it_waits_for_and_enter_to_who_holds_it(app: Replay) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("end", "o")
        assert app.pane.id == "resources"
        seen = words(app.pane)
        chosen = next(line for line in seen if line.startswith("▸"))
        assert "bob" in chosen, "alice waits for the lock that bob holds"
        assert any("1. alice waits" in line for line in seen)
        await pilot.press("enter")
        assert app.scene.now is not None
        assert (app.scene.now.label, app.pane.id) == ("bob", "timeline")
        await pilot.press("o")
        assert any("carol waits" in line for line in words(app.pane)), "bob and carol wait for the same"


async def test_a_resource_shows_how_many_waited_for_it_in_the_course_of_the_window(app: Replay, trace: Trace) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("end", "o")
        (line,) = [line for line in words(app.pane) if line.startswith("  waiting ▕")]
        bars = line[line.index("▕") + 1 : line.index("▏")]
        waiters = [len(r.waiters) for r in trace.at(trace.end_ns).resources.values() if r.label.startswith("lock")]
        assert len(bars) == 48
        assert set(bars[:5]) == {" "}, "nobody waited in the beginning"
        assert bars[-1] == "█", "nobody has gone"
        assert f"at most {max(waiters)}" in line or f"at most {min(waiters)}" in line


async def test_fds_timers_and_statistics_are_those_of_the_moment_and_the_window(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice")
    fd = s.fd(17, 3)
    s.switch(alice)
    s.listen(fd, Mode.READ, alice)
    s.timer(s.now + 5 * MS, alice, TIMER_THROWS)
    s.park(fd, op=Op.READ)
    s.tick(2 * MS)
    s.put(Kind.FD_READY, Mode.READ, alice, fd)
    s.switch(alice)
    s.tick(3 * MS)
    s.park(fd, op=Op.READ)
    app = Replay(s.open())
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("end", "5")
        (row,) = [line for line in words(app.pane) if line.startswith("▸")]
        assert row.split()[1:5] == ["17", "3", "read", "alice"]
        assert " 1 " in row, "it was ready once"
        await pilot.press("enter")
        assert app.scene.now is not None
        assert app.scene.now.label == "alice"
        await pilot.press("6")
        assert "throws a Timeout" in words(app.pane)[1]
        await pilot.press("8")
        (row,) = [line for line in words(app.pane) if "alice" in line]
        assert "3.00 ms" in row
        assert any(line.startswith(" fd ") and "2.00 ms" in line for line in words(app.pane))
        await pilot.press("g")
        (row,) = [line for line in words(app.pane) if "fd 17" in line]
        assert "2.00 ms" in row
        await pilot.press("g", "down")
        (row,) = [line for line in words(app.pane) if line.startswith("▸")]
        assert "app.py" in row
        assert "2.00 ms" in row


async def test_a_finding_leads_to_its_evidence(app: Replay, trace: Trace) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("0", "h", "h", "h", "7", "enter")
        assert app.pane.id == "timeline"
        assert app.scene.place.event == trace.deadlocks()[0].closed_event
        assert app.scene.place.finding == 0


async def test_the_log_walks_event_by_event(app: Replay, trace: Trace) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("c", "9")
        number = trace.deadlocks()[0].closed_event
        assert number is not None
        here = next(line for line in words(app.pane) if line.startswith("▶"))
        assert f"#{number}" in here
        assert "bob switched to hub" in here
        await pilot.press("down")
        assert app.scene.place.event == number + 1
        await pilot.press("<", "<")
        assert app.scene.place.event == number - 1


async def test_a_filter_shows_only_some_and_says_so(app: Replay) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("end", "F", *"waits:lock", "enter")
        assert [g.label for g in app.scene.lanes] == ["alice", "bob", "carol"]
        assert "only waits:lock" in words(app.query_one("#head", Pane))[0]
        await pilot.press("F", *" colour:red", "enter")
        assert app.scene.filter_line == "waits:lock", "a line that is not understood changes nothing"
        await pilot.press("2")
        assert len([line for line in words(app.pane)[1:] if line]) == 3
        await pilot.press("F", "ctrl+u", "enter")
        assert len(app.scene.lanes) == 6


async def test_a_click_chooses_a_greenlet_and_a_moment(app: Replay, trace: Trace) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        row = next(y for y, line in enumerate(words(app.pane)) if "bob" in line)
        await pilot.click("#timeline", offset=(99, row))
        assert app.scene.now is not None
        assert app.scene.now.label == "bob"
        assert app.scene.place.t_ns > trace.end_ns - (trace.end_ns - trace.start_ns) // 50
        column = words(app.query_one("#head", Pane))[2].index("waits")
        await pilot.click("#head", offset=(column, 2))
        assert app.pane.id == "waits"


async def test_the_list_sorts_and_shows_the_finished_on_demand(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    bank(s)
    erin = s.spawn("erin")
    s.switch(erin)
    s.finish()
    app = Replay(s.open())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("end", "2")
        assert "erin" not in screen(pilot)
        await pilot.press("x")
        assert "finished" in next(line for line in words(app.pane) if "erin" in line)
        await pilot.press("r", "r")
        names = [line.split()[-8:] for line in words(app.pane)[1:8]]
        assert names
        labels = [g.label for g in app.scene.rows]
        assert labels == sorted(labels)


async def test_a_live_trace_is_followed_frozen_and_followed_again(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    who = bank(s)
    app = Replay(s.open(), live=True)
    async with app.run_test(size=(100, 30)) as pilot:
        assert "LIVE" in words(app.query_one("#head", Pane))[0]
        s.run(who["dave"])
        s.tick(500 * MS)
        s.park(2)
        app._tick()
        assert app.scene.place.t_ns == s.now
        await pilot.press("f")
        s.tick(500 * MS)
        s.poll()
        app._tick()
        assert app.scene.place.t_ns == s.now - 500 * MS - s.step_ns
        assert "standing still" in words(app.query_one("#head", Pane))[0]
        await pilot.press("end")
        assert app.scene.place.t_ns == s.now


async def test_time_goes_by_forwards_and_backwards_and_stops_at_the_end(app: Replay, trace: Trace) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(":", *"0", "enter", "space")
        assert app.player.playing
        begun = app.scene.place.t_ns
        assert app.player.pass_by(1.0)
        assert app.scene.place.t_ns - begun >= (trace.end_ns - trace.start_ns) // 10
        await pilot.press("backspace", "}")
        before = app.scene.place.t_ns
        app.player.pass_by(0.1)
        assert app.scene.place.t_ns < before
        app.player.pass_by(1000.0)
        assert app.scene.place.t_ns == trace.start_ns
        assert not app.player.playing
        await pilot.press("backspace", "P")
        app.player.pass_by(0.1)
        first = app.scene.place.event
        app.player.pass_by(0.1)
        assert first is not None
        assert app.scene.place.event == first + 1


async def test_marks_are_measured_from_and_come_back_to(app: Replay, trace: Trace) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press(":", *"0.002", "enter", "m", ":", *"0.005", "enter")
        assert "+3.00 ms from ◆" in words(app.query_one("#head", Pane))[0]
        assert "◆" in words(app.pane)[1]
        await pilot.press("apostrophe")
        assert app.scene.place.t_ns == trace.start_ns + 2 * MS
        await pilot.press("m", "apostrophe")
        assert not app.scene.selection.marks


async def test_what_is_shown_is_written_where_one_stands_and_nothing_is_written_over(
    app: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("E", "E", "e", "4", "E", "e")
        await app.workers.wait_for_complete()
        seen = words(app.pane)
    names = sorted(path.name for path in tmp_path.glob("bank-*") if path.suffix != ".ring")
    assert names == [
        "bank-timeline-0.003036-2.svg",
        "bank-timeline-0.003036.svg",
        "bank-timeline-0.003036.txt",
        "bank-waits-0.003036.svg",
        "bank-waits-0.003036.txt",
    ]
    assert "DEADLOCKED" in (tmp_path / "bank-waits-0.003036.svg").read_text(), "that is the graph, not its cells"
    assert (tmp_path / "bank-timeline-0.003036.svg").read_text().startswith("<svg")
    written = (tmp_path / "bank-waits-0.003036.txt").read_text()
    assert all(line in written for line in seen if line)


async def test_a_stack_is_copied(app: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("y")
        (text,) = copied
        first, *rest = text.splitlines()
        assert first.startswith("#3 alice: parked, waits to acquire lock created at app.py:12")
        assert rest[0] == "  at app.py:30 (work)"
        assert rest[-1] == "  created at app.py:1 (spawning)"


async def test_the_list_has_three_shapes(app: Replay) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("0", *["H"] * 40, "2", "g")
        assert not any("▲" in line for line in words(app.pane)), "nobody is doomed yet at the beginning"
        await pilot.press("end")
        (row,) = [line.strip("▸ ").split() for line in words(app.pane) if "alice" in line]
        assert row[:6] == ["▲", "alice", "1", "-", "-", "1"]
        await pilot.press("enter")
        only = app.scene.filter_line
        assert only.startswith("func:")
        assert app.scene.shape == "list"
        await pilot.press("F", *["backspace"] * len(only), "enter", "g", "g")
        assert app.scene.shape == "tree"
        tree = [line for line in words(app.pane) if "#" in line]
        assert "main" in tree[0] or "hub" in tree[0]
        children = [line for line in tree if "└ alice" in line or "└ dave" in line]
        assert len(children) == 2, "who was made by main stands below it"
        await pilot.press("g")
        assert app.scene.shape == "list"


async def test_a_row_of_the_statistics_leads_to_those_whom_it_counts(app: Replay) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("end", "8", "down", "enter")
        assert app.pane.id == "greenlets"
        assert app.scene.filter_line.startswith("func:")
        shown = [row.label for row in app.scene.rows]
        assert len(shown) == 1
        await pilot.press("8", "g", "home", "end")
        row = next(at for at, row in enumerate(app.query_one(Statistics).rows()) if row.resource is not None and "app.py:12" in row.name)
        await pilot.press(*["down"] * (row - app.query_one(Statistics)._index), "enter")
        assert app.pane.id == "resources"
        assert any(line.startswith("▸") and "app.py:12" in line for line in words(app.pane))


async def test_the_guide_names_every_key_and_every_look(app: Replay) -> None:
    page = guide_text().plain
    for shelf in SHELVES:
        for key in shelf.keys:
            assert key.sentence in page
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("?")
        assert type(app.screen).__name__ == "Guide"
        await pilot.press("escape")
        assert type(app.screen).__name__ != "Guide"


def test_every_key_is_bound_once_and_does_something() -> None:
    rows = [key for shelf in SHELVES for key in shelf.keys]
    bound = [name for key in rows for name in key.keys.split(",")]
    assert len(bound) == len(set(bound))
    for key in rows:
        action = key.action.partition("(")[0]
        assert hasattr(Replay, f"action_{action}"), key


async def test_names_from_a_stranger_cannot_steer_the_terminal(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring", meta={"argv": ["\x1b]0;owned\x07.py"]})
    s.spawn("\x1b[2Jevil\r\nname\u202e")
    app = Replay(s.open())
    async with app.run_test(size=(100, 30)) as pilot:
        for key, _, _, _ in SCREENS:
            await pilot.press(key)
            seen = screen(pilot)
            assert not any(ord(character) < 32 and character != "\n" for character in seen)
            assert "\u202e" not in seen
        await pilot.press("2")
        assert "evil" in screen(pilot)


async def test_an_empty_trace_says_so(tmp_path: Path) -> None:
    from greentrace.ring import create

    create(tmp_path / "a.ring", 1 << 20, 1, {"pid": 4242})
    from greentrace.replay import reader

    app = Replay(reader.open(tmp_path / "a.ring"), live=True)
    async with app.run_test(size=(80, 24)) as pilot:
        for key, _, _, _ in SCREENS:
            await pilot.press(key)
        await pilot.press("1", "b", "B", "enter", "c", "n", ",", ".", "[", "]", "up", "down", "w", "s", "a", "d", "0", "end", "x", "r", "u")
        assert "Nothing is recorded yet" in screen(pilot)
