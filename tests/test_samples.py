"""The samples: each is recorded on each runtime, and shows what it promises at its top, that and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import greentrace
from greentrace.demonstration import samples
from greentrace.events import How, Kind, Op, ResourceKind, State
from greentrace.replay import lints, spans
from greentrace.replay.model import Deadlock, GreenletEver, GreenletNow, World
from greentrace.replay.reader import Trace
from tests.conftest import GREENTRACE, SAMPLES

Load = Callable[..., Trace]


@pytest.fixture(params=["hub", "eventlet", "gevent"])
def load(request: pytest.FixtureRequest, record: Callable[..., Path]) -> Load:
    """Record a sample on each runtime; returns its trace, opened."""

    def run(sample: str, *arguments: str) -> Trace:
        return greentrace.open(record(str(SAMPLES / f"{sample}.py"), request.param, *arguments))

    return run


def named(trace: Trace, label: str) -> list[GreenletEver]:
    return [greenlet for greenlet in trace.greenlets if greenlet.label == label]


def one(world: World, label: str) -> GreenletNow:
    (found,) = [greenlet for greenlet in world.greenlets.values() if greenlet.label == label and greenlet.state != State.COLLECTED]
    return found


def waited_for(trace: Trace, label: str) -> set[tuple[ResourceKind, Op]]:
    """Return on what, and for what, greenlets of that label ever parked."""
    keys = {greenlet.key for greenlet in named(trace, label)}
    found = set()
    for h in trace.histories:
        for position in range(h.count):
            r = h.record(position)
            if r.kind == Kind.PARK and (h.index << 32 | r.greenlet) in keys:
                told = trace.at_position(h.index, position).resources.get(h.index << 32 | r.other)
                found.add((told.kind if told else ResourceKind.UNKNOWN, Op(r.flags & 0x3F)))
    return found


def the_deadlock(trace: Trace) -> Deadlock:
    """Return the only deadlock, which is also the only finding, and is told of with its first moment."""
    (found,) = trace.deadlocks()
    assert [finding.lint for finding in trace.findings()] == ["deadlock"]
    assert trace.parse_time("deadlock") == found.closed_ns
    return found


def assert_a_ring(world: World, found: Deadlock) -> None:
    """Each waits for the lock that the next one holds."""
    ring = found.greenlets
    for key, resource, holder in zip(ring, found.resources, (*ring[1:], *ring[:1]), strict=True):
        assert [wait.resource for wait in world.greenlets[key].waits] == [resource]
        assert [each.greenlet for each in world.resources[resource].holders] == [holder]


def test_every_sample_says_what_one_should_see_and_is_tested_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert samples()
    for name, path in samples().items():
        assert "\nWhat one should see: " in path.read_text(encoding="utf-8"), name
        assert f'load("{name}"' in text, name


def test_deadlock_two_locks_alice_and_bob_from_the_moment_the_second_asked(load: Load) -> None:
    trace = load("deadlock_two_locks")
    found = the_deadlock(trace)
    graph = trace.graph(found.closed_ns)
    alice, bob, main = (one(graph.world, name) for name in ("alice", "bob", "main"))
    assert set(found.greenlets) == {alice.key, bob.key}
    assert_a_ring(graph.world, found)
    assert found.closed_ns == max(alice.since_ns, bob.since_ns)
    assert not trace.graph(found.closed_ns - 1).deadlocks
    assert found.victims == ()
    assert main.key not in graph.doomed
    assert main.deadline_ns is not None
    assert one(trace.at(trace.end_ns), "main").state != State.PARKED, "it gave up"


def test_philosophers_five_in_a_ring_closed_by_the_last_who_reaches_out(load: Load) -> None:
    trace = load("philosophers")
    found = the_deadlock(trace)
    world = trace.at(found.closed_ns)
    assert {world.label(key) for key in found.greenlets} == {"dine"}
    assert len(found.greenlets) == len(set(found.resources)) == 5
    assert found.victims == ()
    assert_a_ring(world, found)
    assert found.closed_ns == max(world.greenlets[key].since_ns for key in found.greenlets)


def test_victims_left_and_right_twenty_behind_them_and_a_worker_who_is_well(load: Load) -> None:
    trace = load("victims")
    found = the_deadlock(trace)
    graph = trace.graph(trace.end_ns)
    assert {graph.world.label(key) for key in found.greenlets} == {"left", "right"}
    assert [graph.world.label(key) for key in found.victims] == ["victim"] * 20
    left = one(graph.world, "left")
    assert {wait.resource for key in found.victims for wait in graph.world.greenlets[key].waits} == {left.holds[0].resource}
    assert not {one(graph.world, "worker").key, one(graph.world, "main").key} & graph.doomed
    turns = [span for span in spans.spans(trace, one(graph.world, "worker").key) if span.state == State.RUNNING]
    assert len(turns) > 10
    assert turns[-1].t0_ns > found.closed_ns


def test_timeout_opens_a_cycle_for_200_ms_and_no_deadlock(load: Load) -> None:
    trace = load("timeout_opens")
    assert (trace.findings(), trace.deadlocks()) == ([], [])
    (carol,) = named(trace, "carol")
    wait = max(spans.spans(trace, carol.key), key=lambda span: span.ns if span.state == State.PARKED else 0)
    assert 0.15e9 < wait.ns < 1e9
    graph = trace.graph(wait.t0_ns + wait.ns // 2)
    c, d = one(graph.world, "carol"), one(graph.world, "dave")
    assert [w.resource for w in c.waits] == [h.resource for h in d.holds]
    assert [w.resource for w in d.waits] == [h.resource for h in c.holds]
    assert c.deadline_ns is not None
    assert d.deadline_ns is None
    assert (graph.doomed, graph.deadlocks) == (frozenset(), ())
    assert [named(trace, name)[0].how for name in ("carol", "dave")] == [How.RETURNED, How.RETURNED]


def test_lost_event_stuck_and_no_deadlock(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = load("lost_event")
    assert (trace.findings(), trace.deadlocks()) == ([], []), "a second is not long enough to say so"
    monkeypatch.setattr(lints, "STUCK_NS", 500_000_000)
    (finding,) = trace.findings()
    world = trace.at(trace.end_ns)
    waiting = one(world, "waiting")
    assert (finding.lint, finding.greenlets) == ("stuck", (waiting.key,))
    assert waiting.state == State.PARKED
    assert waiting.deadline_ns is None
    assert world.resources[finding.resources[0]].kind == ResourceKind.EVENT
    assert [greenlet.how for greenlet in named(trace, "working")] == [How.RETURNED] * 3


def test_hub_hog_compute_runs_for_300_ms_and_the_clocks_are_overdue(load: Load) -> None:
    trace = load("hub_hog")
    found = [finding for finding in trace.findings() if finding.greenlets == (named(trace, "compute")[0].key,)]
    assert [finding.lint for finding in found] == ["hub-blocked"]
    runs = [span for span in spans.spans(trace, found[0].greenlets[0]) if span.state == State.RUNNING]
    hog = max(runs, key=lambda span: span.ns)
    assert hog.ns >= 0.299e9
    t_ns = hog.t0_ns + 250_000_000
    clocks = [greenlet for greenlet in trace.at(t_ns).greenlets.values() if greenlet.label == "clock"]
    assert len(clocks) == 3
    for clock in clocks:
        overdue = clock.state == State.PARKED and clock.deadline_ns is not None and clock.deadline_ns < t_ns - 200_000_000
        assert overdue or clock.state == State.RUNNABLE, clock


def test_echo_server_nothing_wrong_and_all_finished_but_for_the_server(load: Load) -> None:
    trace = load("echo_server")
    assert trace.findings() == []
    assert [greenlet.how for greenlet in named(trace, "client") + named(trace, "answer")] == [How.RETURNED] * 20
    (server,) = named(trace, "serve")
    assert server.how == How.KILLED
    parked = [span for span in spans.spans(trace, server.key) if span.state == State.PARKED]
    at = trace.at(parked[0].t1_ns - 1)
    ears = [listener for listener in at.listeners if listener.greenlet == server.key]
    assert [at.resources[ear.resource].kind for ear in ears] == [ResourceKind.FD]
    assert ears[0].resource == parked[0].resource
    assert (ResourceKind.FD, Op.READ) in waited_for(trace, "answer")
    assert (ResourceKind.FD, Op.READ) in waited_for(trace, "client")
    wakers = {span.waker for greenlet in named(trace, "answer") for span in spans.spans(trace, greenlet.key) if span.waker}
    assert "a ready fd" in wakers


def test_wsgi_server_nothing_wrong_one_converse_a_connection_and_slow_ones_sleep(load: Load) -> None:
    trace = load("wsgi_server")
    assert trace.findings() == []
    assert [greenlet.how for greenlet in named(trace, "client") + named(trace, "converse")] == [How.RETURNED] * 10
    (server,) = named(trace, "serve")
    assert server.how == How.KILLED
    assert waited_for(trace, "serve") == {(ResourceKind.FD, Op.READ)}
    assert {(ResourceKind.FD, Op.READ), (ResourceKind.SLEEP, Op.SLEEP)} <= waited_for(trace, "converse")


def test_producer_consumer_each_parks_and_is_woken_by_the_other_and_all_end(load: Load) -> None:
    trace = load("producer_consumer")
    assert trace.findings() == []
    assert [greenlet.how for greenlet in named(trace, "produce") + named(trace, "consume")] == [How.RETURNED] * 5
    assert (ResourceKind.QUEUE, Op.PUT) in waited_for(trace, "produce")
    assert (ResourceKind.QUEUE, Op.GET) in waited_for(trace, "consume")
    for label, other in (("produce", "consume"), ("consume", "produce")):
        wakers = {span.waker for greenlet in named(trace, label) for span in spans.spans(trace, greenlet.key) if span.waker}
        assert other in wakers, label


def test_fork_child_two_processes_with_greenlets_of_their_own(load: Load) -> None:
    trace = load("fork_child")
    assert trace.findings() == []
    parent, child = trace.processes
    assert child.meta["ppid"] == parent.pid
    assert [greenlet.process for greenlet in named(trace, "in_child")] == [1] * 3
    # What the parent had at the fork may still be named in the child, but it goes on in the parent alone.
    assert [greenlet.process for greenlet in named(trace, "in_parent") if greenlet.how == How.RETURNED] == [0] * 4
    assert [greenlet.how for greenlet in named(trace, "in_child")] == [How.RETURNED] * 3
    forks = [(h.index, r.arg) for h in trace.histories for r in map(h.record, range(h.count)) if r.kind == Kind.FORK]
    assert (1, parent.pid) in forks


def test_fork_child_ends_with_exit_code_7_which_its_parent_collects(tmp_path: Path) -> None:
    command = [*GREENTRACE, "record", "-q", "-o", str(tmp_path / "t.gtrace"), str(SAMPLES / "fork_child.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["exit code of the child: 7", "the child counts 30", "the parent counts 3"]


def test_two_threads_two_hubs_and_never_a_switch_across(load: Load) -> None:
    trace = load("two_threads")
    assert trace.findings() == []
    hubs = [greenlet.thread for greenlet in trace.greenlets if greenlet.is_hub]
    assert len(hubs) == len(set(hubs)) == 2
    ticking = {thread: [greenlet for greenlet in named(trace, "tick") if greenlet.thread == thread] for thread in hubs}
    assert [len(greenlets) for greenlets in ticking.values()] == [3, 3]
    for greenlet in named(trace, "tick"):
        assert greenlet.how == How.RETURNED
        assert sum(span.state == State.RUNNING for span in spans.spans(trace, greenlet.key)) >= 10
    (h,) = trace.histories
    thread_of = {greenlet.id: greenlet.thread for greenlet in trace.greenlets}
    switches = [r for r in map(h.record, range(h.count)) if r.kind in (Kind.SWITCH, Kind.THROW)]
    assert switches
    assert all(thread_of[r.greenlet] == thread_of[r.other] == r.thread for r in switches)
