"""gevent: every primitive that a greenlet can wait on, on both cores; on every loop, and in pure Python, those that stand for all."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Callable

import pytest

from greentrace.events import Kind, Waker
from tests.primitives import gevent
from tests.primitives.harness import Recorded, Row, check, record
from tests.record.conftest import CORES, usable
from tests.record.grammar import walk

LOOPS = {
    "libev-cffi": {"GEVENT_LOOP": "libev-cffi"},
    "libuv-cffi": {"GEVENT_LOOP": "libuv-cffi"},
    "pure": {"GEVENT_PURE_PYTHON": "1"},
}
Recorder = Callable[[str, str], Recorded]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Return one process that went through its rows, on a core and on a loop ("" for gevent's own choice, or "patched"); recorded once."""
    known: dict[tuple[str, str], Recorded] = {}

    def go(core: str, loop: str) -> Recorded:
        if loop.endswith("cffi") and importlib.util.find_spec("cffi") is None:
            pytest.skip("cffi is not installed")
        if (core, loop) not in known:
            directory = tmp_path_factory.mktemp("primitives") / "rings"
            prelude = gevent.PATCHED_PRELUDE if loop == "patched" else gevent.PRELUDE
            rows = gevent.PATCHED if loop == "patched" else gevent.SMALL if loop else gevent.ROWS
            known[core, loop] = record(directory, core, prelude, rows, **LOOPS.get(loop, {}))
        return known[core, loop]

    return go


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("row", gevent.ROWS, ids=lambda row: row.name)
def test_a_wait_is_recorded_as_what_it_is(row: Row, core: str, recorded: Recorder) -> None:
    check(row, recorded(usable(core), ""), core)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("row", gevent.PATCHED, ids=lambda row: row.name)
def test_a_wait_in_the_patched_standard_library_is_recorded_as_what_it_is(row: Row, core: str, recorded: Recorder) -> None:
    check(row, recorded(usable(core), "patched"), core)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("row", gevent.SMALL, ids=lambda row: row.name)
def test_a_wait_on_another_loop_is_recorded_as_what_it_is(row: Row, loop: str, core: str, recorded: Recorder) -> None:
    check(row, recorded(usable(core), loop), core)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("loop", ["", *LOOPS])
def test_the_handler_of_a_signal_is_started_by_that_signal(loop: str, core: str, recorded: Recorder) -> None:
    done = recorded(usable(core), loop)
    ring = done.ring
    wakes = [r for r in ring.of(Kind.WAKE) if r.flags & 7 == Waker.SIGNAL]
    handlers = [r for r in wakes if ring.names().get(r.greenlet, "").endswith("handle")]
    # The twin sees no creation, and the hub switches to it at once.
    assert len(handlers) == (core == "native")
    assert {r.other for r in handlers} <= {signal.SIGUSR1}
    assert [r.other for r in wakes if r not in handlers] == [signal.SIGUSR2]
    ended = [r.other for r in ring.of(Kind.WAKE) if r.flags & 7 == Waker.PROCESS and r.other]
    assert ended, "a child has its pid"


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("loop", ["", "patched", *LOOPS])
def test_all_of_it_follows_the_grammar(loop: str, core: str, recorded: Recorder) -> None:
    walk(recorded(usable(core), loop).ring)
