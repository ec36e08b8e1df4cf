"""Lifecycle: the grammar of a greenlet's life.

                 woken           entered
     CREATED ----------> RUNNABLE -----> RUNNING ----------> FINISHED -----> COLLECTED
        |                   ^   |         |  ^                              (from anywhere)
        |   entered         |   | parked  |  | entered
        `-------------------+---|---------|--'   (a direct switch needs no waker)
                      woken |   v         v left
                            +--- PARKED <-+

In:  a state and what an event says of the greenlet (a `Step`).
Out: the state that follows, or `IllegalStep`: the recorder's tests and the replay both walk through `step`.
Never: an assignment of a state anywhere else.
"""

from __future__ import annotations

from enum import IntEnum

from greentrace.events import State

ENDED = (State.FINISHED, State.COLLECTED)
"""Whoever is in one of these does nothing any more."""


class Step(IntEnum):
    """What an event can say of one greenlet."""

    SPAWNED = 0
    WOKEN = 1
    ENTERED = 2
    LEFT_RUNNABLE = 3
    LEFT_PARKED = 4
    LEFT_FINISHED = 5
    PARKED = 6
    FINISHED = 7
    COLLECTED = 8


class IllegalStep(Exception):
    """An event that cannot follow the state that its greenlet is in: a lost event, or a lie."""


_U, _C, _R, _Q, _P, _F, _X = State

TABLE: dict[tuple[State, Step], State] = {
    # A greenlet met in the middle of its life is UNKNOWN until something is said of it.
    (_U, Step.SPAWNED): _C,
    (_U, Step.WOKEN): _Q,
    (_U, Step.ENTERED): _R,
    (_U, Step.LEFT_RUNNABLE): _Q,
    (_U, Step.LEFT_PARKED): _P,
    (_U, Step.LEFT_FINISHED): _F,
    (_U, Step.PARKED): _U,
    (_U, Step.FINISHED): _F,
    (_U, Step.COLLECTED): _X,
    (_C, Step.WOKEN): _Q,
    (_C, Step.ENTERED): _R,
    (_C, Step.FINISHED): _F,
    (_C, Step.COLLECTED): _X,
    (_Q, Step.WOKEN): _Q,
    (_Q, Step.ENTERED): _R,
    # Woken, but somebody else was faster: it waits again without having run.
    (_Q, Step.PARKED): _P,
    (_Q, Step.FINISHED): _F,
    (_Q, Step.COLLECTED): _X,
    (_P, Step.WOKEN): _Q,
    (_P, Step.ENTERED): _R,
    # One more alternative of the same wait, told by a keyframe.
    (_P, Step.PARKED): _P,
    (_P, Step.FINISHED): _F,
    (_P, Step.COLLECTED): _X,
    # PARK is told before the switch that parks; WAKE may come before it too, and the switch then says RUNNABLE.
    (_R, Step.PARKED): _R,
    (_R, Step.WOKEN): _R,
    # A switch to oneself is legal in greenlet.
    (_R, Step.ENTERED): _R,
    (_R, Step.LEFT_RUNNABLE): _Q,
    (_R, Step.LEFT_PARKED): _P,
    (_R, Step.FINISHED): _F,
    (_R, Step.COLLECTED): _X,
    (_F, Step.LEFT_FINISHED): _F,
    # A finished greenlet may be named by a wake-up that was already under way.
    (_F, Step.WOKEN): _F,
    (_F, Step.COLLECTED): _X,
    (_X, Step.COLLECTED): _X,
}
"""Every legal change. What is not here is illegal."""

LEFT: dict[State, Step] = {_Q: Step.LEFT_RUNNABLE, _P: Step.LEFT_PARKED, _F: Step.LEFT_FINISHED}
"""The step of a SWITCH's origin, by the state that the record gives it."""


def step(state: State, what: Step) -> State:
    """Return the state that follows `state`.

    Raises `IllegalStep` when the table has no such row.
    """
    try:
        return TABLE[state, what]
    except KeyError:
        raise IllegalStep(f"{what.name} cannot follow {state.name}") from None
