"""Like Eventlet: the same names with the same arguments, and the same little programs with the same outcome on both.

What is meant to differ stands in the openings of the hub's files, and in no scenario.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from greentrace.hub import use_hub

from .scenarios import SCENARIOS, hub_face, keywords, run

PRIVATE = {"GreenThread.main", "GreenThread.__init__", "trampoline.mark_as_closed", "use_hub.mod"}
"""How a green thread is run and what an fd's own bookkeeping needs is nobody's business; `use_hub` takes a name here, not a module."""


@pytest.fixture(scope="module")
def eventlet() -> Any:
    """The logs of Eventlet, and its keywords."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.hub.scenarios"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_outcome_is_that_of_eventlet(name: str, eventlet: Any, capfd: pytest.CaptureFixture[str]) -> None:
    use_hub()
    assert run(name, hub_face()) == eventlet["logs"][name] != []


def test_whatever_eventlet_has_is_here_and_takes_the_same_arguments_by_name(eventlet: Any) -> None:
    theirs, ours = eventlet["keywords"], keywords(hub_face())
    assert len(theirs) > 80
    assert set(theirs) - set(ours) - PRIVATE == set()
    for name in set(theirs) - PRIVATE:
        expected = [word for word in theirs[name] if f"{name}.{word}" not in PRIVATE]
        assert [word for word in ours[name] if word in expected] == expected, name
