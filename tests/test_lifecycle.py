"""The grammar of a greenlet's life: each legal change, each illegal one, and where every life can lead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greentrace.events import State
from greentrace.lifecycle import LEFT, TABLE, IllegalStep, Step, step

UNKNOWN, CREATED, RUNNING, RUNNABLE, PARKED, FINISHED, COLLECTED = State

# The picture at the top of lifecycle.py, written down a second time: a state, then steps and what follows.
LIVES = """
UNKNOWN   SPAWNED CREATED  WOKEN RUNNABLE  ENTERED RUNNING  LEFT_RUNNABLE RUNNABLE  LEFT_PARKED PARKED  LEFT_FINISHED FINISHED
UNKNOWN   PARKED UNKNOWN  FINISHED FINISHED  COLLECTED COLLECTED
CREATED   WOKEN RUNNABLE  ENTERED RUNNING  FINISHED FINISHED  COLLECTED COLLECTED
RUNNABLE  WOKEN RUNNABLE  ENTERED RUNNING  PARKED PARKED  FINISHED FINISHED  COLLECTED COLLECTED
RUNNING   LEFT_PARKED PARKED  LEFT_RUNNABLE RUNNABLE  ENTERED RUNNING  PARKED RUNNING  WOKEN RUNNING
RUNNING   FINISHED FINISHED  COLLECTED COLLECTED
PARKED    WOKEN RUNNABLE  ENTERED RUNNING  PARKED PARKED  FINISHED FINISHED  COLLECTED COLLECTED
FINISHED  LEFT_FINISHED FINISHED  WOKEN FINISHED  COLLECTED COLLECTED
COLLECTED COLLECTED COLLECTED
"""


def _rows() -> dict[tuple[State, Step], State]:
    found = {}
    for line in LIVES.strip().splitlines():
        state, *words = line.split()
        for what, after in zip(words[::2], words[1::2], strict=True):
            found[State[state], Step[what]] = State[after]
    return found


LEGAL = _rows()
ILLEGAL = [(state, what) for state in State for what in Step if (state, what) not in LEGAL]


@pytest.mark.parametrize(("state", "what"), LEGAL, ids=lambda word: word.name)
def test_each_legal_change_leads_where_the_picture_says(state: State, what: Step) -> None:
    assert step(state, what) is LEGAL[state, what]


@pytest.mark.parametrize(("state", "what"), ILLEGAL, ids=lambda word: word.name)
def test_each_illegal_change_is_refused_by_name(state: State, what: Step) -> None:
    with pytest.raises(IllegalStep, match=f"{what.name} cannot follow {state.name}"):
        step(state, what)


def test_the_table_has_no_row_besides() -> None:
    assert set(TABLE) == set(LEGAL)


def test_an_ordinary_life_is_legal_from_birth_to_the_end() -> None:
    state = UNKNOWN
    life = [Step.SPAWNED, Step.WOKEN, Step.ENTERED, Step.PARKED, Step.LEFT_PARKED, Step.WOKEN, Step.ENTERED, Step.FINISHED]
    for what in [*life, Step.LEFT_FINISHED, Step.COLLECTED]:
        state = step(state, what)
    assert state is COLLECTED


def test_nobody_is_born_twice_or_comes_back_from_the_dead() -> None:
    born = [state for state, what in TABLE if what is Step.SPAWNED]
    assert born == [UNKNOWN]
    for (state, _), after in TABLE.items():
        if state is FINISHED:
            assert after in (FINISHED, COLLECTED)
        if state is COLLECTED:
            assert after is COLLECTED


def test_only_what_runs_can_be_left() -> None:
    for what in (Step.LEFT_RUNNABLE, Step.LEFT_PARKED):
        assert {state for state, w in TABLE if w is what} == {RUNNING, UNKNOWN}


def test_nothing_becomes_unknown_once_it_is_known() -> None:
    assert {state for (state, _), after in TABLE.items() if after is UNKNOWN} == {UNKNOWN}


def test_every_state_can_end_and_every_state_can_be_reached() -> None:
    for state in State:
        assert step(state, Step.COLLECTED) is COLLECTED
    assert set(TABLE.values()) == set(State)


def test_what_a_switch_says_of_its_origin_is_the_state_in_which_it_leaves_it() -> None:
    assert set(LEFT) == {RUNNABLE, PARKED, FINISHED}
    for state, what in LEFT.items():
        assert step(UNKNOWN, what) is state
        if state is not FINISHED:
            assert step(RUNNING, what) is state


@given(st.lists(st.sampled_from(Step), max_size=40))
def test_whatever_happens_a_life_stays_inside_the_grammar(steps: list[Step]) -> None:
    state = UNKNOWN
    over = False
    for what in steps:
        try:
            state = step(state, what)
        except IllegalStep:
            assert (state, what) not in LEGAL
            continue
        assert not over or state in (FINISHED, COLLECTED)
        over = over or state in (FINISHED, COLLECTED)
