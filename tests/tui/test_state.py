"""The cursor: where one looks, and the way back."""

from __future__ import annotations

from greentrace.tui.state import NARROWEST_NS, Selection


def test_the_cursor_stays_inside_the_trace() -> None:
    selection = Selection(1000, 101_000)
    selection.step(-5)
    assert selection.place.t_ns == 1000
    selection.jump(1 << 60)
    assert selection.place.t_ns == 101_000


def test_a_step_is_one_cell() -> None:
    selection = Selection(0, 80_000)
    selection.cells = 80
    selection.step(3)
    assert selection.place.t_ns == 3000


def test_zooming_keeps_the_cursor_in_its_column() -> None:
    selection = Selection(0, 1_000_000)
    selection.jump(300_000)
    selection.zoom(0.1)
    place = selection.place
    assert place.width_ns == 100_000
    assert (place.t_ns - place.a_ns) / place.width_ns == 0.3


def test_nothing_is_narrower_than_a_terminal_has_cells_nor_wider_than_the_trace() -> None:
    selection = Selection(0, 1_000_000)
    for _ in range(50):
        selection.zoom(0.5)
    assert selection.place.width_ns == NARROWEST_NS
    for _ in range(50):
        selection.zoom(2)
    assert (selection.place.a_ns, selection.place.b_ns) == (0, 1_000_000)


def test_the_window_follows_a_jump_and_only_then() -> None:
    selection = Selection(0, 1_000_000)
    selection.zoom(0.1)
    window = selection.place.a_ns, selection.place.b_ns
    selection.jump(50_000)
    assert (selection.place.a_ns, selection.place.b_ns) == window
    selection.jump(700_000)
    assert selection.place.a_ns < 700_000 < selection.place.b_ns


def test_undo_goes_back_over_steps_of_one_sort_at_once_and_redo_returns() -> None:
    selection = Selection(0, 1_000_000)
    selection.jump(500_000, greenlet=3)
    selection.step(1)
    selection.step(1)
    there = selection.place
    assert selection.undo()
    assert (selection.place.t_ns, selection.place.greenlet) == (500_000, 3)
    assert selection.undo()
    assert selection.place.t_ns == 0
    assert not selection.undo()
    assert selection.redo()
    assert selection.redo()
    assert selection.place == there


def test_a_live_trace_is_followed_until_one_moves() -> None:
    selection = Selection(0, 1000, following=True)
    selection.grow(0, 5000)
    assert (selection.place.t_ns, selection.place.b_ns) == (5000, 5000)
    selection.step(-1)
    selection.grow(0, 9000)
    assert selection.place.t_ns < 5000
    selection.follow(True)
    selection.grow(0, 10_000)
    assert selection.place.t_ns == 10_000
