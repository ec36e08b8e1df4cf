"""Deadlocks are proven: programs that are deadlocked and programs that only look so, on every runtime, told apart without a mistake.

What is true of a program stands at its top (`corpus`). It is recorded from its beginning, or from when it stands (`late`), and then
every verdict says that it was inferred. The default run records every program on every runtime once, in one of
the ways in which a program may end and be read; together the ways come round. `pytest -m soak` does all of them.
"""

from __future__ import annotations

import signal
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from greentrace.events import Kind, State
from greentrace.replay import waits
from greentrace.replay.packing import KIND_OF
from greentrace.replay.reader import Trace
from greentrace.replay.spans import codes_at
from tests.deadlocks.corpus import CORES, RUNTIMES, TRUTHS, WRAPS, Names, Run, Truth, Variant, existing, record
from tests.record.conftest import usable

EVERY = [
    Variant(*row) for row in product(CORES, ("exit", "kill"), ("after", "live", "paced"), (False, True)) if row[2] != "paced" or row[3]
]
LATE = [Variant(core, ending, "after", False, True) for core in CORES for ending in ("exit", "kill")]
WRAPPED = {
    ("two_locks", "gevent"): {"native-kill-live-wrapped", "native-kill-paced-wrapped", "native-kill-after-wrapped"},
    ("philosophers", "eventlet"): {"native-kill-after-wrapped"},
    ("victims", "hub"): {"native-exit-after-wrapped", "native-kill-paced-wrapped"},
    ("patched_condition", "eventlet"): {"native-kill-after-wrapped"},
    ("rlocks", "hub"): {"python-kill-after-wrapped"},
    ("holder_outside", "eventlet"): {"native-kill-after-wrapped"},
    ("timeout_opens", "gevent"): {"native-kill-live-wrapped", "native-exit-paced-wrapped", "native-kill-after-wrapped"},
    ("signal_semaphore", "hub"): {"native-kill-after-wrapped"},
    ("handed_over", "gevent"): {"native-exit-after-wrapped"},
}
"""What the default run records until its ring was filled twenty times."""
_LOOKS = 40


def cases() -> list[object]:
    """Every program on every runtime in every way; all that is not chosen is soak.

    Chosen is one way for each, which come round, and a few that fill the ring again and again, which takes its time.
    """
    found: list[object] = []
    for number, (name, runtime) in enumerate(existing()):
        ways = [variant for variant in EVERY if variant.ending in TRUTHS[name].endings(runtime)]
        short, long = ([variant for variant in ways if variant.wrapped == wrapped] for wrapped in (False, True))
        late = [variant for variant in LATE if variant.ending in TRUTHS[name].endings(runtime)]
        chosen = {short[number % len(short)], late[number % len(late)]}
        if (name, runtime) in WRAPPED:
            chosen |= {variant for variant in long if str(variant) in WRAPPED[name, runtime]}
        for variant in (*ways, *late):
            marks = [] if variant in chosen else [pytest.mark.soak]
            found.append(pytest.param(name, runtime, variant, id=f"{name}-{runtime}-{variant}", marks=marks))
    return found


@pytest.mark.parametrize(("name", "runtime", "variant"), cases())
def test_what_a_program_says_of_itself_is_what_its_trace_proves(name: str, runtime: str, variant: Variant, tmp_path: Path) -> None:
    usable(variant.core)
    truth = TRUTHS[name]
    run = record(name, runtime, variant, tmp_path)
    assert_it_spoke_the_truth(truth, runtime, variant, run)
    with run.trace as trace:
        assert_verdict(truth, runtime, variant, trace)
        assert_lanes_draw_what_is_waited_for(trace)
        if not truth.dissolves:
            assert_nobody_who_was_doomed_ever_ran_again(trace, {"main"} if runtime == truth.loop_exit else set())
        if not variant.wrapped or variant.reading == "paced":
            assert trace.lost == 0


def assert_it_spoke_the_truth(truth: Truth, runtime: str, variant: Variant, run: Run) -> None:
    """The program itself shows that it is what it says: whoever is deadlocked never ran on, and what only looked so came to its end."""
    assert run.stderr == ""
    if runtime == truth.loop_exit:
        assert (run.returncode, run.stdout) == (0, "here\nLoopExit\n")
    elif variant.ending == "kill":
        assert (run.returncode, run.stdout) == (-signal.SIGKILL, "here\n")
    else:
        assert (run.returncode, run.stdout) == (0, "done\n")
    if variant.wrapped:
        assert run.wraps > WRAPS


def labels(trace: Trace, keys: object) -> Names:
    world = trace.at(trace.end_ns)
    return Counter(world.label(key) for key in keys)  # type: ignore[attr-defined]


def assert_verdict(truth: Truth, runtime: str, variant: Variant, trace: Trace) -> None:
    found = trace.deadlocks()
    over = truth.dissolves and variant.ending == "exit"
    named = sorted(sorted(labels(trace, deadlock.greenlets).items()) for deadlock in found)
    doomed = labels(trace, trace.graph(trace.end_ns).doomed)
    if truth.is_unknown(runtime, variant.core, variant.late) or over:
        assert named == []
        assert doomed == Counter()
        return
    assert named == truth.sorted
    victims = Counter() if runtime == truth.loop_exit else truth.victims
    assert labels(trace, {key for deadlock in found for key in deadlock.victims}) == victims
    assert doomed == sum(truth.deadlocks, Counter()) + victims + truth.doomed
    errors = [finding.lint for finding in trace.findings() if finding.level == "error"]
    assert errors.count("deadlock") == len(truth.deadlocks)
    if not truth.deadlocks and not truth.doomed:
        assert errors == []
    for deadlock in found:
        if variant.late:
            assert "inferred" in deadlock.assumption
        elif deadlock.closed_event is not None:
            _, record = trace.event(deadlock.closed_event)
            assert record.t_ns == deadlock.closed_ns
            assert waits.graph(trace.at(deadlock.closed_ns)).doomed >= set(deadlock.greenlets)
            assert not waits.graph(trace.at(deadlock.closed_ns - 1)).doomed >= set(deadlock.greenlets)
        else:
            assert variant.wrapped, "everything was recorded, also what closed it"


def assert_lanes_draw_what_is_waited_for(trace: Trace) -> None:
    """The last change of each lane is a wait for a thing of the kind that the world names at that moment."""
    world = trace.at(trace.end_ns)
    parked = {key: now.waits[0].resource for key, now in world.greenlets.items() if now.state == State.PARKED and len(now.waits) == 1}
    keys = list(parked)
    codes = codes_at(trace, keys, np.array([trace.end_ns]), np.ones((len(keys), 1), bool))
    drawn = dict(zip(keys, KIND_OF[codes[:, 0]].tolist(), strict=True))
    assert drawn == {key: world.resources[resource].kind for key, resource in parked.items()}


def assert_nobody_who_was_doomed_ever_ran_again(trace: Trace, but: set[str]) -> None:
    """The verdict of many moments, held against what happened afterwards; `but` of those that the runtime itself throws out."""
    (h,) = trace.histories
    switches = [p for p in range(max(0, h.count - 30_000), h.count) if h.record(p).kind in (Kind.SWITCH, Kind.THROW)]
    parkings = [p for p in switches if h.record(p).flags & 7 == State.PARKED]
    looks = set(parkings[:: max(1, len(parkings) // _LOOKS)])
    entered: set[int] = set()
    for p in reversed(switches):
        if p in looks:
            doomed = waits.graph(trace.at_position(0, p)).doomed
            again = labels(trace, entered & doomed)
            assert again.keys() <= but, f"doomed at event {p}, but ran again: {again}"
        entered.add(h.record(p).greenlet)


def test_a_program_that_is_left_out_somewhere_says_why() -> None:
    for truth in TRUTHS.values():
        assert truth.not_on.keys() < set(RUNTIMES), truth.name
        assert all({*words.split()} <= {*RUNTIMES, *CORES, "late"} for words in truth.unknown_on), truth.name
        assert all(len(why) > 20 for why in (*truth.not_on.values(), *truth.unknown_on.values())), truth.name


def test_there_are_as_many_programs_that_only_look_deadlocked_as_programs_that_are() -> None:
    are = sum(bool(truth.deadlocks or truth.doomed) for truth in TRUTHS.values())
    assert min(are, len(TRUTHS) - are) >= 20
