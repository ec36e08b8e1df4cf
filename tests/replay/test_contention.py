"""How many waited for what and when, against the world at each moment."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greentrace.replay.contention import queues
from tests.replay.programs import numbers, play
from tests.support.scribe import Scribe


@given(choices=numbers, gaps=st.booleans(), parts=st.lists(st.integers(-10, 1010), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_the_queue_of_every_resource_is_that_of_the_world(choices: list[int], gaps: bool, parts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=997)
        play(s, choices, gaps)
        trace = s.open()
    moments = [trace.start_ns + (trace.end_ns - trace.start_ns) * part // 1000 for part in sorted(parts)]
    heard: list[float] = []
    found = queues(trace, moments, heard.append)
    assert heard == [index / len(moments) for index in range(len(moments))]
    worlds = [trace.at(t_ns) for t_ns in moments]
    for key in {key for world in worlds for key in world.resources}:
        there = [world.resources.get(key) for world in worlds]
        assert found.of(key).tolist() == [len(resource.waiters) if resource is not None else 0 for resource in there]
