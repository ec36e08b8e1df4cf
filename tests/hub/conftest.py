"""What the tests of the hub share: a hub on a fake clock for each test, which nobody leaves anything behind in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from greentrace.hub import Hub, instrument, use_hub

from .support import FakeHub


@pytest.fixture(autouse=True)
def hub() -> Iterator[FakeHub]:
    """Every test has a hub of its own, on a fake clock, and leaves no timer and no listener in it."""
    made = FakeHub()
    use_hub(made)
    yield made
    instrument.uninstall()
    assert len(made.timers) == 0, "a timer was left armed"
    assert len(made.listeners) == 0, "a listener was left behind"
    use_hub(FakeHub())


@pytest.fixture
def real_hub(hub: FakeHub) -> Iterator[Hub]:
    """A hub that sleeps in earnest."""
    made = use_hub()
    yield made
    assert len(made.timers) == 0, "a timer was left armed"
    assert len(made.listeners) == 0, "a listener was left behind"


@pytest.fixture(params=["epoll", "poll", "select"])
def polling(request: pytest.FixtureRequest) -> str:
    """Each way of polling."""
    name: str = request.param
    return name
