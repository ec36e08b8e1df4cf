"""Pictures: every screen, in three sizes, as it was when somebody last looked at it.

A picture that is meant to change is made anew with `pytest tests/tui/test_pictures.py --snapshot-update`, and looked at before it is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from greentrace.tui.app import Replay
from greentrace.tui.keys import SCREENS, ScreenKey
from tests.support.scribe import Scribe

from .conftest import bank

SIZES = [(80, 24), (120, 40), (200, 50)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_a_screen_looks_as_it_did(screen: ScreenKey, size: tuple[int, int], tmp_path: Path, snap_compare: Callable[..., bool]) -> None:
    s = Scribe(tmp_path / "bank.ring")
    bank(s)

    async def go_there(pilot: Pilot[None]) -> None:
        await pilot.press("end", "v", screen.key)

    assert snap_compare(Replay(s.open()), terminal_size=size, run_before=go_there)
