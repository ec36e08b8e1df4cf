"""Libraries on green threads: the same output and end as without the recorder, and a trace that answers a question."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import greentrace
from greentrace.events import Kind, Op, ResourceKind, State
from greentrace.replay.model import GreenletNow, ResourceNow, World
from greentrace.replay.reader import Trace

from .services import postgres_dsn, redis_port

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(params=["eventlet", "gevent"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    pytest.importorskip("redis", reason="redis-py is not installed")
    with redis_port(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    with postgres_dsn() as dsn:
        yield dsn


def run(command: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def recorded(directory: Path, program: str, *arguments: str) -> Trace:
    """Run a program bare and recorded, which must look the same; return the trace."""
    command = [str(PROGRAMS / program), *arguments]
    out = directory / "library.gtrace"
    bare = run([sys.executable, *command])
    assert (bare[0], bare[2]) == (0, "")
    assert run([sys.executable, "-m", "greentrace", "record", "-q", "-o", str(out), *command]) == bare
    return greentrace.open(out)


def at_the_mark(trace: Trace) -> World:
    """Return everything as it was when the program made its mark."""
    [t_ns] = [int(event["t_ns"]) for event in trace.events() if event["kind"] == Kind.MARK]
    return trace.at(t_ns)


def parked_in(world: World, function: str) -> list[GreenletNow]:
    """Return the greenlets that are parked somewhere below a function."""
    return [
        greenlet
        for greenlet in world.greenlets.values()
        if greenlet.state == State.PARKED and any(frame.function == function for frame in greenlet.stack)
    ]


def wanted_by(world: World, greenlet: GreenletNow) -> ResourceNow:
    [wait] = greenlet.waits
    return world.resources[wait.resource]


def assert_nothing_is_wrong(trace: Trace) -> None:
    assert not [finding.line for finding in trace.findings() if finding.level == "error" or finding.lint in ("displaced", "trace-loss")]


def test_the_visitors_of_a_flask_application_wait_at_one_door(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip("flask")
    pytest.importorskip("requests")
    with recorded(tmp_path, "flask_app.py", runtime) as trace:
        world = at_the_mark(trace)
        waiting = parked_in(world, "visit")
        assert len(waiting) == 3
        [door] = {wanted_by(world, greenlet).key: wanted_by(world, greenlet) for greenlet in waiting}.values()
        assert door.kind == ResourceKind.LOCK
        [holder] = door.holders
        assert world.greenlets[holder.greenlet].state == State.RUNNING
        assert any(frame.function == "visit" for frame in holder.site)
        assert sorted(door.waiters) == sorted(greenlet.key for greenlet in waiting)
        # Each visitor waits for its answer.
        asking = parked_in(world, "ask")
        assert [(wanted_by(world, g).kind, g.waits[0].op) for g in asking] == [(ResourceKind.FD, Op.READ)] * 4
        assert_nothing_is_wrong(trace)


def test_a_redis_client_in_blpop_waits_for_its_socket_while_others_work(runtime: str, tmp_path: Path, redis: int) -> None:
    with recorded(tmp_path, "redis_clients.py", runtime, str(redis)) as trace:
        [consumer] = parked_in(at_the_mark(trace), "consumer")
        assert consumer.waits[0].op == Op.READ
        assert wanted_by(at_the_mark(trace), consumer).kind == ResourceKind.FD
        # It woke because the job came, and only after all the counting.
        counted = [g.died_ns for g in trace.greenlets if g.function == "counter"]
        [life] = [g for g in trace.greenlets if g.key == consumer.key]
        assert len(counted) == 8
        assert life.died_ns is not None
        assert all(died is not None and died < life.died_ns for died in counted)
        assert_nothing_is_wrong(trace)


def test_who_waits_for_a_row_of_postgres_waits_for_its_socket(runtime: str, tmp_path: Path, postgres: str) -> None:
    with recorded(tmp_path, "postgres_clients.py", runtime, postgres) as trace:
        world = at_the_mark(trace)
        [second] = parked_in(world, "second")
        assert wanted_by(world, second).kind == ResourceKind.FD
        assert second.waits[0].op == Op.READ
        assert any(frame.function == "wait" for frame in second.stack), "psycopg2's wait callback"
        [first] = parked_in(world, "first")
        # An Event of the standard library is a Condition inside.
        assert wanted_by(world, first).kind in (ResourceKind.EVENT, ResourceKind.CONDITION)
        assert first.deadline_ns is None
        assert_nothing_is_wrong(trace)


def test_who_wants_a_pooled_connection_waits_with_a_deadline(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    with recorded(tmp_path, "queue_pool.py", runtime) as trace:
        world = at_the_mark(trace)
        waiting = parked_in(world, "query")
        # Whoever has the connection waits for the program's word, the others for its turn, and not longer than a minute.
        deadlines = [(greenlet.deadline_ns - world.t_ns) / 1e9 for greenlet in waiting if greenlet.deadline_ns is not None]
        assert (len(waiting), len(deadlines)) == (4, 3)
        assert all(30 < seconds <= 60 for seconds in deadlines)
        patient = [greenlet for greenlet in waiting if greenlet.deadline_ns is not None]
        assert {wanted_by(world, greenlet).kind for greenlet in patient} == {ResourceKind.CONDITION}
        assert_nothing_is_wrong(trace)
