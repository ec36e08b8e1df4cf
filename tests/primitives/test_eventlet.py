"""eventlet: every primitive that a greenlet can wait on, on both cores and every hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from greentrace.events import Kind, Waker
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


WORKER = """
name = None
def job():
    global name
    name = threading.get_native_id()
    return name
def waiter():
    for _ in range(3):
        print("worker", tpool.execute(job), flush=True)
from eventlet import tpool
threading = eventlet.patcher.original("threading")
spawn(waiter).wait()
"""


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("patch", ["", "eventlet.monkey_patch()"])
def test_the_waker_is_the_thread_that_did_the_job(core: str, patch: str, tmp_path: Path) -> None:
    done = record(tmp_path / "rings", usable(core), f"{eventlet.PRELUDE}\n{patch}\n{WORKER}", ())
    did = [int(line.split()[1]) for line in done.output.splitlines() if line.startswith("worker")]
    threads = {r.thread: r.arg for r in done.ring.of(Kind.THREAD)}
    woken = [threads[r.other] for r in done.ring.of(Kind.WAKE) if r.flags & 7 == Waker.THREAD]
    assert len(did) == 3, done.output
    assert woken == did


SHARED_LOOP = """
import asyncio
def waiter(sock):
    for _ in range(5): sock.recv(1)
async def sender(sock):
    for _ in range(5):
        await asyncio.sleep(0.01)
        sock.send(b"x")
from eventlet.green import socket
a, b = socket.socketpair()
loop = eventlet.hubs.get_hub().loop
who = spawn(waiter, a)
sleep(0)
task = loop.create_task(sender(b))
_greentrace.mark("begin")
who.wait()
_greentrace.mark("end")
"""


@pytest.mark.parametrize("core", CORES)
def test_the_asyncio_hub_polls_and_is_idle_no_longer_than_that(core: str, tmp_path: Path) -> None:
    done = record(
        tmp_path / "rings", usable(core), f"{eventlet.PRELUDE}\nimport greentrace as _greentrace\n{SHARED_LOOP}", (), EVENTLET_HUB="asyncio"
    )
    assert set(done.marks) == {"begin", "end"}, done.output
    mine = [r for r in done.ring.records[done.marks["begin"] : done.marks["end"]] if not r.key]
    hub = {r.greenlet for r in done.ring.of(Kind.HUB)}
    polls = [r for r in mine if r.kind in (Kind.POLL_BEGIN, Kind.POLL_END)]
    assert [r.kind for r in polls] == [Kind.POLL_BEGIN, Kind.POLL_END] * (len(polls) // 2)
    assert {r.greenlet for r in polls} == hub
    # A Task's sleep and a greenlet's socket end polls; both are told apart by how many fds were ready.
    # On a busy machine one poll ends by both.
    assert [r.arg - 1 for r in polls if r.kind == Kind.POLL_END].count(0) >= 2
    assert [r.arg - 1 for r in polls if r.kind == Kind.POLL_END].count(1) >= 2
    assert all(0 < r.arg <= 60_000_000_000 for r in polls if r.kind == Kind.POLL_BEGIN)
    polling = False
    for r in mine:
        polling = r.kind == Kind.POLL_BEGIN or (polling and r.kind != Kind.POLL_END)
        assert not (polling and r.kind in (Kind.SWITCH, Kind.THROW, Kind.WAKE)), "\n".join(map(done.ring.say, mine))


PUTTERS = """
def getter(q):
    q.get()
def putter(q, item):
    q.put(item)
def thief(q):
    q.get()
def turn(*functions):
    q = Queue()
    getters = [spawn(getter, q) for _ in range(3)]
    sleep(0)
    others = [spawn(function, q, *arguments) for function, *arguments in functions]
    for each in (*others, *getters): each.wait()
_greentrace.mark("three")
turn((putter, 1), (putter, 2), (putter, 3))
_greentrace.mark("four")
turn((putter, 1), (putter, 2), (thief,), (putter, 3), (putter, 4))
_greentrace.mark("full")
q = Queue(2)
q.put(0), q.put(0)
putters = [spawn(putter, q, number) for number in range(2)]
sleep(0)
for each in (*putters, spawn(getter, q), spawn(getter, q)): each.wait()
_greentrace.mark("end")
"""


@pytest.mark.parametrize("core", CORES)
def test_each_getter_is_woken_by_a_putter_of_its_own(core: str, tmp_path: Path) -> None:
    prelude = f"{eventlet.PRELUDE}\nimport greentrace as _greentrace\n{PUTTERS}"
    done = record(tmp_path / "rings", usable(core), prelude, ())
    assert "end" in done.marks, done.output
    ring, names = done.ring, done.ring.names()

    def wakes(begin: str, end: str, name: str) -> list[tuple[str, int]]:
        mine = ring.records[done.marks[begin] : done.marks[end]]
        parked: set[int] = set()
        found = []
        for r in mine:
            if r.kind == Kind.PARK and ring.what(r.other) == "queue" and names[r.greenlet].endswith(name):
                parked.add(r.greenlet)
            elif r.kind == Kind.WAKE and r.greenlet in parked:
                parked.remove(r.greenlet)
                found.append(r)
        assert all(r.flags & 7 == Waker.GREENLET for r in found), "\n".join(map(ring.say, mine))
        return [(names[r.other].rpartition(".")[2], r.other) for r in found]

    for begin, end, name, by in (
        ("three", "four", "getter", "putter"),
        ("four", "full", "getter", "putter"),
        ("full", "end", "putter", "getter"),
    ):
        woken = wakes(begin, end, name)
        assert {who for who, _ in woken} == {by}
        assert len({number for _, number in woken}) == len(woken) == (2 if begin == "full" else 3)
