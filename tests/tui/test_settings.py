"""What one chooses once is found again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greentrace.replay.reader import Trace
from greentrace.tui.app import Replay
from greentrace.tui.settings import Settings


async def test_what_was_chosen_is_there_the_next_time(trace: Trace, settings: Path) -> None:
    app = Replay(trace)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2", "r", "r", "8", "g")
    assert json.loads(settings.read_text()) == {"sort": "name", "shape": "list", "counted_by": "resource"}
    again = Replay(trace)
    async with again.run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        assert (again.scene.sort, again.scene.counted_by) == ("name", "resource")
        labels = [row.label for row in again.scene.rows]
        assert labels == sorted(labels)


async def test_who_chooses_nothing_leaves_no_file(app: Replay, settings: Path) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2", "down")
    assert not settings.exists()


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("", "gravest"),
        ("[1, 2]", "gravest"),
        ('{"sort": "colour", "shape": ["tree"], "wings": 2}', "gravest"),
        ('{"sort": "since", "counted_by": 7}', "since"),
        ("[" * 100_000, "gravest"),
    ],
)
def test_a_file_that_makes_no_sense_leaves_things_as_they_were(settings: Path, text: str, sort: str) -> None:
    settings.parent.mkdir(parents=True)
    settings.write_text(text)
    assert Settings.load() == Settings(sort=sort)


def test_where_nothing_can_be_written_nothing_is_said(settings: Path, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("this is a file")
    Settings(sort="name").save()
    assert Settings.load() == Settings()
