"""A greenlet is doomed if and only if it never runs again: the verdict held against a search of all continuations."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from greentrace.replay import waits
from tests.deadlocks import simulation
from tests.deadlocks.simulation import LOCK, RLOCK, SEMAPHORE, Act, Program, State, Told
from tests.support.scribe import Scribe

_KINDS = [(LOCK, 1), (LOCK, 1), (RLOCK, 1), (SEMAPHORE, 1), (SEMAPHORE, 2), (SEMAPHORE, 0)]


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Up to four greenlets over up to three resources: mostly they take, which is what leads into trouble."""
    resources = draw(st.lists(st.sampled_from(_KINDS), min_size=1, max_size=3))
    count = draw(st.integers(2, 4))
    whom = st.integers(0, len(resources) - 1)
    act = st.one_of(
        st.builds(Act, st.just("take"), whom),
        st.builds(Act, st.just("take"), whom),
        st.builds(Act, st.just("take"), whom, st.sampled_from([False, False, True])),
        st.builds(Act, st.just("give"), whom),
        st.builds(Act, st.just("join"), st.integers(0, count - 1), st.sampled_from([False, False, False, True])),
        st.just(Act("pass")),
    )
    acts = draw(st.lists(st.lists(act, min_size=1, max_size=5).map(tuple), min_size=count, max_size=count))
    return Program(tuple(resources), tuple(acts), draw(st.booleans()))


def played(program: Program, choices: list[int], path: Path) -> tuple[list[tuple[int, State]], Told]:
    """Let the program make one move a number; return its states, each with the position of the last event before it."""
    told = Told(program, Scribe(path))
    state = simulation.start(program)
    states = [(len(told.s.records) - 1, state)]
    for choice in choices:
        possible = list(simulation.moves(program, state))
        if not possible:
            break
        then = simulation.after(program, state, *possible[choice % len(possible)], told)
        assert then is not None
        state = then
        states.append((len(told.s.records) - 1, state))
    return states, told


def check(program: Program, choices: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        states, told = played(program, choices, Path(folder) / "a.ring")
        with told.s.open() as trace:
            any_doomed = False
            for position, state in states:
                doomed = waits.graph(trace.at_position(0, position)).doomed
                said = {g for g, being in enumerate(told.beings) if being in doomed}
                assert said == simulation.never_in_any_program(program, state)
                assert said <= simulation.never_again(program, state)
                assert len(said) == len(doomed)
                any_doomed |= bool(said)
            event("somebody is doomed" if any_doomed else "nobody is doomed")


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
moves_made = st.lists(st.integers(0, 11), min_size=4, max_size=30)


@given(program=programs(), choices=moves_made)
@settings(deadline=None, max_examples=250, suppress_health_check=SLOW)
def test_whoever_is_doomed_runs_in_no_continuation_and_whoever_is_not_runs_in_one(program: Program, choices: list[int]) -> None:
    check(program, choices)


@pytest.mark.soak
@given(program=programs(), choices=moves_made)
@settings(deadline=None, max_examples=20_000, suppress_health_check=SLOW)
def test_the_same_of_very_many_programs(program: Program, choices: list[int]) -> None:
    check(program, choices)


def test_the_search_itself_finds_the_classic_deadlock_and_only_once_it_is_closed(tmp_path: Path) -> None:
    program = Program(
        ((LOCK, 1), (LOCK, 1)),
        ((Act("take", 0), Act("take", 1)), (Act("take", 1), Act("take", 0))),
        handoff=True,
    )
    states, _ = played(program, [0, 1, 0, 0], tmp_path / "a.ring")
    # The program itself is lost one move earlier; but that the second will ask for the first lock is not to be seen yet.
    assert [simulation.never_again(program, state) for _, state in states] == [set(), set(), set(), {0}, {0, 1}]
    assert [simulation.never_in_any_program(program, state) for _, state in states] == [set(), set(), set(), set(), {0, 1}]
