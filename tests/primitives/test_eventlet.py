"""eventlet: every primitive that a greenlet can wait on, on both cores and every hub."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.primitives import eventlet, eventlet_patched
from tests.primitives.harness import Recorded, Row, check, record
from tests.record.conftest import CORES, usable

HUBS = ["epolls", "poll", "selects", "asyncio"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Recorded]:
    """Return one process that went through all rows, on a core and a hub; recorded once."""
    known: dict[tuple[str, str], Recorded] = {}

    def go(core: str, hub: str) -> Recorded:
        if (core, hub) not in known:
            directory = tmp_path_factory.mktemp("primitives") / "rings"
            rows = (*eventlet.ROWS, *(eventlet.ASYNCIO if hub == "asyncio" else ()))
            known[core, hub] = record(directory, core, eventlet.PRELUDE, rows, EVENTLET_HUB=hub)
        return known[core, hub]

    return go


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("hub", HUBS)
@pytest.mark.parametrize("row", eventlet.ROWS, ids=lambda row: row.name)
def test_a_wait_is_recorded_as_what_it_is(row: Row, hub: str, core: str, recorded: Callable[[str, str], Recorded]) -> None:
    check(row, recorded(usable(core), hub), core)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("row", eventlet.ASYNCIO, ids=lambda row: row.name)
def test_greenlets_and_tasks_share_a_loop(row: Row, core: str, recorded: Callable[[str, str], Recorded]) -> None:
    check(row, recorded(usable(core), "asyncio"), core)


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Recorded]:
    """Return one process that went through the rows of one copy of `threading` and `queue`; recorded once."""
    known: dict[tuple[str, str, str], Recorded] = {}

    def go(core: str, copy: str, hub: str) -> Recorded:
        if (core, copy, hub) not in known:
            directory = tmp_path_factory.mktemp("patched") / "rings"
            prelude = f"{eventlet.PRELUDE}\n{eventlet_patched.COPIES[copy]}"
            known[core, copy, hub] = record(directory, core, prelude, eventlet_patched.ROWS[copy], EVENTLET_HUB=hub)
        return known[core, copy, hub]

    return go


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(
    ("copy", "row"), [pytest.param(copy, row, id=f"{row.name}-{copy}") for copy, rows in eventlet_patched.ROWS.items() for row in rows]
)
def test_a_wait_in_a_patched_module_is_recorded_as_what_it_is(
    row: Row, copy: str, core: str, patched: Callable[[str, str, str], Recorded]
) -> None:
    check(row, patched(usable(core), copy, "epolls"), core)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("row", eventlet_patched.ROWS["monkey_patch"], ids=lambda row: row.name)
def test_a_patched_module_on_the_asyncio_hub_is_recorded_alike(row: Row, core: str, patched: Callable[[str, str, str], Recorded]) -> None:
    check(row, patched(usable(core), "monkey_patch", "asyncio"), core)
