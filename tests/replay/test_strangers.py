"""Files from strangers: whatever stands in them, there is an answer or a refusal, never a fault of ours."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import greentrace
from greentrace.events import Kind
from greentrace.export import cells
from greentrace.replay import process
from tests.conftest import SAMPLES
from tests.replay.strangers import ask_everything, made, seeds
from tests.support.scribe import Scribe


@pytest.fixture
def known(record: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What stands for a trace of the recorder, both ways; large files are made of small ones."""
    monkeypatch.setattr(process, "SEAL_FILE", 64)
    return seeds(record(SAMPLES / "philosophers.py"))


@pytest.mark.parametrize("way", [0, 1])
def test_what_stands_for_a_trace_makes_it_again(known: list[bytes], tmp_path: Path, way: int) -> None:
    path = made(known[way], tmp_path / "a.gtrace")
    with greentrace.open(path) as trace:
        assert trace.event_count > 50
        assert [finding.lint for finding in trace.findings()][:1] == ["deadlock"]
    ask_everything(path)


@pytest.mark.parametrize("rounds", [40, pytest.param(20_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("way", [0, 1])
def test_a_stranger_changes_bytes_and_mends_the_checksums(known: list[bytes], tmp_path: Path, way: int, rounds: int) -> None:
    rng = random.Random(way)
    for _ in range(rounds):
        data = bytearray(known[way])
        for _ in range(rng.choice((1, 2, 5, 30))):
            at, length = rng.randrange(1, len(data)), rng.choice((1, 2, 4, 8, 32))
            if rng.random() < 0.2:
                source = rng.randrange(1, len(data))
                data[at : at + length] = data[source : source + rng.choice((0, length))]
            else:
                data[at : at + length] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
        ask_everything(made(bytes(data), tmp_path / "a.gtrace"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=600))
def test_a_stranger_writes_what_he_likes(tmp_path: Path, data: bytes) -> None:
    ask_everything(made(data, tmp_path / "a.gtrace"))


def test_moments_beyond_every_clock_are_put_within_it_and_named(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice")
    s.switch(alice)
    s._write((1 << 64) - 1, Kind.MARK, 0, 0, 0, 0, 0, 0)
    trace = s.open()
    assert trace.end_ns == 1 << 62
    assert any("not in order of time" in line for line in trace.damage)
    edges = cells.edges(0, trace.end_ns, 200)
    assert edges.tolist() == [(1 << 62) * at // 200 for at in range(201)]
    assert np.all(np.diff(edges) > 0)
