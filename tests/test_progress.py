"""The bar: on a terminal, when the work is long, and nowhere else."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from greentrace import progress
from greentrace.replay import reader
from tests.conftest import SAMPLES


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("patience", "stream", "seen"), [(0.0, Terminal(), True), (60.0, Terminal(), False), (0.0, io.StringIO(), False)])
def test_a_bar_is_drawn_for_long_work_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, patience: float, stream: io.StringIO, seen: bool
) -> None:
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", patience)
    monkeypatch.setattr("sys.stderr", stream)
    with progress.Progress("reading it") as told:
        for done in (0.1, 0.5, 1.0):
            told(done)
    assert ("reading it" in stream.getvalue()) == seen
    assert ("100%" in stream.getvalue()) == seen


def test_opening_a_trace_tells_how_much_of_it_is_read(record: Callable[..., Path]) -> None:
    heard: list[float] = []
    reader.open(record(str(SAMPLES / "producer_consumer.py"), "hub"), heard.append)
    assert heard
    assert heard == sorted(heard)
    assert 0 <= heard[0] <= heard[-1] <= 1
