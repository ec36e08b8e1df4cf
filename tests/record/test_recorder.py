"""The recorder: lives, threads, forks and keyframes, on each core and runtime; and both cores tell the same story."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greentrace import events as e
from greentrace.events import How, Kind, State, Waker
from greentrace.ring import GENERATIONS

from .conftest import Run, Runner, usable
from .grammar import walk
from .reading import Record, Ring, expect

Recorded = Callable[[str], Run]


@pytest.fixture
def life(recorded: Recorded) -> Ring:
    return recorded("life.py").ring


def finished(ring: Ring, how: How) -> list[int]:
    return [r.greenlet for r in ring.of(Kind.FINISH) if r.flags & 3 == how]


# ---- lives


def test_control_passes_to_a_greenlet_and_back_until_it_returns(life: Ring) -> None:
    plain = expect(life).greenlet("plain").runs(after="main").then.parks_on("switch", where="plain").then.runs(after="main")
    plain.then.parks_on("switch").then.runs(after="main").then.finishes().then.is_collected()
    expect(life).greenlet("main").parks_on("switch", where="raw").then.runs(after="plain")


def test_an_exception_that_ends_a_greenlet_is_thrown_into_its_parent(life: Ring) -> None:
    [broken] = finished(life, How.EXCEPTION)
    [thrown] = life.of(Kind.THROW, other=broken)
    assert thrown.greenlet == life.number("main")
    assert thrown.left == State.FINISHED
    expect(life).greenlet(broken).runs(after="main").then.finishes(How.EXCEPTION).then.is_collected()


def test_who_catches_what_is_thrown_into_it_lives_on(life: Ring) -> None:
    thrown = expect(life).greenlet("thrown").parks_on("switch").then.is_thrown_into(by="main").then.parks_on("switch")
    thrown.then.runs(after="main").then.finishes()


def test_whoever_is_killed_finishes_killed(life: Ring, core: str) -> None:
    # How somebody ends that was thrown into is seen from C alone, unless its runtime keeps it.
    ends = {"exits": How.KILLED if core == "native" else How.UNKNOWN, "killed": How.KILLED}
    expect(life).greenlet("exits").parks_on("switch").then.is_thrown_into(by="main").then.finishes(ends["exits"]).then.is_collected()
    killed = expect(life).greenlet("killed").parks_on("sleep", deadline=True).then.is_woken_by("main")
    killed.then.is_thrown_into().then.finishes(ends["killed"])
    for how in (How.KILLED, How.UNKNOWN):
        assert sorted(finished(life, how)) == sorted(life.number(name) for name, end in ends.items() if end == how)


def test_each_worker_is_woken_by_its_spawner_and_by_its_own_timer(life: Ring) -> None:
    workers = life.numbers("worker")
    assert len(workers) == 3
    timers = set()
    for number in workers:
        worker = expect(life).greenlet(number).is_woken_by("main").then.starts().then.runs(after="hub")
        worker.then.parks_on("sleep", where="worker").then.is_woken_by("timer")
        assert worker.found is not None
        timers.add(worker.found.other)
        worker.then.runs(after="hub").then.finishes().then.is_collected()
    assert len(timers) == 3


def test_the_native_core_sees_every_birth_its_spawner_and_its_place(record_once: Callable[..., Run], runtime: str) -> None:
    ring = record_once("life.py", usable("native"), runtime).ring
    expect(ring).greenlet("plain").is_spawned(by="main", where="raw").then.starts().then.runs(after="main")
    for number in ring.numbers("worker"):
        expect(ring).greenlet(number).is_spawned(by="main", where="nursery").then.is_woken_by("main").then.starts()
    spawned = {r.greenlet for r in ring.of(Kind.SPAWN)}
    assert {r.greenlet for r in ring.of(Kind.START)} <= spawned


def test_a_greenlet_is_collected_once_and_never_named_again(life: Ring) -> None:
    for r in life.of(Kind.COLLECT):
        later = [x for x in life.of(*Kind) if x.at > r.at and x.kind != Kind.RESOURCE and x.greenlet == r.greenlet]
        assert not later, life.say(later[0])
    assert {*finished(life, How.KILLED), *finished(life, How.EXCEPTION)} <= {r.greenlet for r in life.of(Kind.COLLECT)}


# ---- every stream


@pytest.mark.parametrize("program", ["life.py", "waits.py", "timers.py", "io.py", "threads.py", "fork.py"])
def test_every_recorded_stream_keeps_the_grammar(recorded: Recorded, program: str) -> None:
    for ring in recorded(program).rings:
        walk(ring)


def test_each_keyframe_tells_exactly_what_the_events_before_it_have_told(recorded: Recorded) -> None:
    ring = recorded("busy.py").ring
    assert ring.records[-1].at > GENERATIONS * ring.per_generation, "the ring has been around"
    assert ring.follower.skipped
    assert ring.follower.skipped == ring.records[0].at
    assert ring.lost == 0
    begins = [r.at for r in ring.records if r.kind == Kind.KEYFRAME and r.flags & e.KEYFRAME_BEGIN]
    assert len(begins) >= GENERATIONS - 1
    walk(ring)


def test_what_is_still_so_at_the_end_stands_in_the_last_keyframe(recorded: Recorded) -> None:
    ring = recorded("busy.py").ring
    begin = max(r.at for r in ring.records if r.kind == Kind.KEYFRAME and r.flags & e.KEYFRAME_BEGIN)
    last = [r for r in ring.records if r.at > begin and r.key]
    states = {r.greenlet: r for r in last if r.kind == Kind.STATE}

    def parked(name: str) -> Record:
        number = ring.number(name)
        assert states[number].left == State.PARKED
        [park] = [r for r in last if r.kind == Kind.PARK and r.greenlet == number]
        return park

    assert parked("sleeper").arg > ring.records[-1].t_ns, "it has a deadline far away"
    assert ring.what(parked("waiter").other) == "event"
    parked("holder")
    [hold] = [r for r in last if r.kind == Kind.ACQUIRE and r.greenlet == ring.number("holder")]
    assert ring.what(hold.other) == "rlock"
    assert hold.arg == 0 or hold.arg < ring.records[0].t_ns


# ---- threads and processes


def test_each_thread_has_a_hub_and_greenlets_of_its_own(recorded: Recorded) -> None:
    ring = recorded("threads.py").ring
    threads = {r.thread: r.arg for r in ring.of(Kind.THREAD)}
    assert len(threads) == len(set(threads.values())) == 3
    hubs = {r.thread: r.greenlet for r in ring.of(Kind.HUB)}
    assert set(hubs) == set(threads)
    assert len(set(hubs.values())) == 3
    for thread, hub in hubs.items():
        assert {r.thread for r in ring.of(Kind.SWITCH, greenlet=hub)} == {thread}
        assert {r.greenlet for r in ring.of(Kind.POLL_BEGIN, Kind.POLL_END, thread=thread)} <= {hub}
    finished_in: dict[int, set[int]] = {}
    for number in ring.numbers("ticker"):
        ran_in = {r.thread for r in ring.of(Kind.SWITCH, greenlet=number)}
        assert len(ran_in) == 1, "a greenlet stays in its thread"
        finished_in.setdefault(ran_in.pop(), set()).add(number)
        assert len(ring.of(Kind.PARK, greenlet=number)) == len(ring.of(Kind.TIMER_FIRE, greenlet=number)) == 60
    assert {thread: len(numbers) for thread, numbers in finished_in.items()} == dict.fromkeys(threads, 3)


def test_a_forked_child_has_a_ring_of_its_own_and_the_parents_goes_on(recorded: Recorded) -> None:
    run = recorded("fork.py")
    code, pid = run.stdout.split()
    assert code == "7"
    parent, child = run.rings
    assert (child.meta["pid"], child.meta["ppid"]) == (int(pid), parent.meta["pid"])
    assert parent.meta["pid"] != child.meta["pid"]
    [forked] = parent.of(Kind.FORK)
    [born] = child.of(Kind.FORK)
    assert born.arg == parent.meta["pid"]
    assert forked.greenlet == born.greenlet == parent.number("main") == child.number("main")
    expect(parent).greenlet("in_parent").parks_on("sleep").then.is_woken_by("timer").then.finishes()
    expect(child).greenlet("in_child").acquires("semaphore").parks_on("sleep").then.is_woken_by("timer").then.releases(
        "semaphore"
    ).finishes()
    assert not parent.numbers("in_child")
    assert not child.numbers("in_parent")


def test_a_forked_child_still_knows_what_its_parent_held(recorded: Recorded) -> None:
    parent, child = recorded("fork.py").rings
    [held] = [r for r in parent.of(Kind.ACQUIRE, greenlet=parent.number("main")) if parent.what(r.other) == "semaphore"]
    kept = [r for r in child.records if r.key and r.kind == Kind.ACQUIRE and r.other == held.other]
    assert [r.greenlet for r in kept] == [held.greenlet]


# ---- both cores


SAID = (
    Kind.SWITCH, Kind.THROW, Kind.PARK, Kind.WAKE, Kind.FINISH, Kind.ACQUIRE, Kind.RELEASE, Kind.PUT, Kind.GET, Kind.SET, Kind.CLEAR,
    Kind.TIMER_ADD, Kind.TIMER_FIRE, Kind.TIMER_CANCEL, Kind.FD_ADD, Kind.FD_REMOVE, Kind.FD_READY,
)  # fmt: skip


def told(ring: Ring) -> dict[str, list[tuple[object, ...]]]:
    """Return what is told of each greenlet that runs a function of the program, without numbers and times."""
    names = ring.names()
    stories: dict[str, list[tuple[object, ...]]] = {}
    for r in ring.of(*SAID):
        where = ring.functions(r.site)[:1]
        if r.kind in (Kind.SWITCH, Kind.THROW):
            line: tuple[object, ...] = (r.kind.name, names.get(r.other), r.left.name, where)
            stories.setdefault(names.get(r.other, ""), []).append(("leaves", *line))
        elif r.kind == Kind.WAKE:
            line = ("WAKE", Waker(r.flags & 7).name, names.get(r.other) if r.flags & 7 == Waker.GREENLET else "")
        elif r.kind in (Kind.FINISH, Kind.TIMER_ADD, Kind.TIMER_FIRE, Kind.TIMER_CANCEL):
            line = (r.kind.name, r.flags)
        else:
            line = (r.kind.name, r.flags, ring.what(r.other), bool(r.arg) if r.kind == Kind.PARK else 0, where)
        stories.setdefault(names.get(r.greenlet, ""), []).append(line)
    return {name: story for name, story in stories.items() if name and name not in ("main", "hub")}


@pytest.mark.parametrize("program", ["waits.py", "timers.py"])
def test_both_cores_tell_the_same_story(record_once: Callable[..., Run], runtime: str, program: str) -> None:
    native, python = (told(record_once(program, usable(core), runtime).ring) for core in ("native", "python"))
    assert len(native) >= 5
    assert native == python


def test_what_the_cores_count_is_what_lives(bare: Runner) -> None:
    text = """
import gc, json, sys
from pathlib import Path
import greenlet
from greentrace import hub
from greentrace.record.recorder import load
from greentrace.record.session import Session
Session(Path(sys.argv[1]), 1 << 20).start()
counts = load()[1].counts
def turn():
    lock = hub.Semaphore(1)
    with lock:
        hub.sleep(0.0001)
before = None
for i in range(300):
    hub.spawn(turn).wait()
    gc.collect(0)
    if i == 20:
        before = counts()
after = counts()
print(json.dumps([before[name] == after[name] for name in ("greenlets", "resources", "timers", "listeners")]), after["events"] > 5000)
"""
    assert bare(text).said == (0, "[true, true, true, true] True\n", "")
