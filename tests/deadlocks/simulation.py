"""Simulation: imagined programs, every way in which they may go on, and the events that a recorder would write of them.

In:  for each greenlet a list of acts. Out: `State`s; `moves` from one to the next; `Told`, which writes what happens through a Scribe.
Never: a look at greentrace's own idea of who is doomed. Here everything is tried.

    acts    take r | take r with a time limit | give r | join g | join g with a time limit | pass

A resource is a lock, an rlock or a counting semaphore; one that begins at nought is a signal. Whoever gives back what it does not
hold makes a signal of a lock or a semaphore; an rlock refuses. `handoff`: what is given back belongs to the first in line at once (the
built-in hub); otherwise whoever was woken has to try again, and may come too late (eventlet, gevent).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from greentrace.events import Op, Waker
from tests.support.scribe import MS, Scribe

LOCK, RLOCK, SEMAPHORE = "lock", "rlock", "semaphore"


class Act(NamedTuple):
    what: str
    whom: int = 0
    limited: bool = False


class Program(NamedTuple):
    """`resources` are (kind, places); `acts` has a row for each greenlet."""

    resources: tuple[tuple[str, int], ...]
    acts: tuple[tuple[Act, ...], ...]
    handoff: bool


@dataclass(frozen=True)
class State:
    """Of each greenlet its next act and `ready`, `granted`, `parked` or `dead`; of each resource free places, holders, line, signal."""

    at: tuple[int, ...]
    how: tuple[str, ...]
    free: tuple[int, ...]
    held: tuple[tuple[int, ...], ...]
    line: tuple[tuple[int, ...], ...]
    signal: tuple[bool, ...]


def start(program: Program) -> State:
    count, many = len(program.acts), len(program.resources)
    places = tuple(places for _, places in program.resources)
    return State((0,) * count, ("ready",) * count, places, ((),) * many, ((),) * many, tuple(not number for number in places))


def _put(row: tuple, index: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*row[:index], value, *row[index + 1 :])


def act_of(program: Program, state: State, g: int) -> Act | None:
    return program.acts[g][state.at[g]] if state.at[g] < len(program.acts[g]) else None


def moves(program: Program, state: State) -> Iterator[tuple[str, int]]:
    """Yield what can happen next: a greenlet does its next act, or its time limit is over."""
    for g, how in enumerate(state.how):
        if how in ("ready", "granted"):
            yield "run", g
        elif how == "parked":
            act = act_of(program, state, g)
            if act is not None and act.limited:
                yield "expire", g


def _set(state: State, g: int, how: str, on: int = 0) -> State:
    return replace(state, how=_put(state.how, g, how), at=_put(state.at, g, state.at[g] + on))


def after(program: Program, state: State, move: str, g: int, told: Told | None = None) -> State | None:
    """Return the state after a move; None if the greenlet would break the assumption: give back for the first time what others hold."""
    act = act_of(program, state, g)
    if move == "expire":
        assert act is not None
        if act.what == "take":
            state = replace(state, line=_put(state.line, act.whom, tuple(w for w in state.line[act.whom] if w != g)))
        if told:
            told.expired(g)
        return _set(state, g, "ready", 1)
    if told:
        told.runs(g)
    if act is None:
        for other in range(len(state.how)):
            joined = act_of(program, state, other)
            if state.how[other] == "parked" and joined is not None and joined.what == "join" and joined.whom == g:
                state = _set(state, other, "ready", 1)
                if told:
                    told.wakes(other)
        if told:
            told.ends(g)
        return _set(state, g, "dead")
    if act.what == "take":
        return _take(program, state, g, act, told)
    if act.what == "give":
        return _give(program, state, g, act.whom, told)
    if act.what == "join" and state.how[act.whom] != "dead":
        if told:
            told.parks(g, act)
        return _set(state, g, "parked")
    if told:
        told.passes(g)
    return _set(state, g, "ready", 1)


def _take(program: Program, state: State, g: int, act: Act, told: Told | None) -> State:
    r = act.whom
    granted = state.how[g] == "granted" and program.handoff
    again = program.resources[r][0] == RLOCK and g in state.held[r]
    if granted or again or state.free[r]:
        if not granted and not again:
            state = replace(state, free=_put(state.free, r, state.free[r] - 1))
        if told:
            told.takes(g, r)
            told.passes(g)
        return _set(replace(state, held=_put(state.held, r, (*state.held[r], g))), g, "ready", 1)
    if told:
        told.parks(g, act)
    return _set(replace(state, line=_put(state.line, r, (*state.line[r], g))), g, "parked")


def _give(program: Program, state: State, g: int, r: int, told: Told | None) -> State | None:
    kind = program.resources[r][0]
    mine = g in state.held[r]
    refused = not mine and (kind == RLOCK or (kind == LOCK and state.free[r]))
    if refused:
        if told:
            told.passes(g)
        return _set(state, g, "ready", 1)
    if not mine and not state.signal[r] and told is None:
        return None
    held = list(state.held[r])
    if held:
        held.remove(g if mine else held[0])
    if told:
        told.gives(g, r)
    state = replace(state, held=_put(state.held, r, tuple(held)), signal=_put(state.signal, r, state.signal[r] or not mine))
    if not (kind == RLOCK and held):
        line = state.line[r]
        if line:
            state = _set(replace(state, line=_put(state.line, r, line[1:])), line[0], "granted")
            if told:
                told.wakes(line[0])
        if not line or not program.handoff:
            state = replace(state, free=_put(state.free, r, state.free[r] + 1))
    if told:
        told.passes(g)
    return _set(state, g, "ready", 1)


def never_again(program: Program, state: State) -> set[int]:
    """Return who is parked and does not run in any continuation of this very program: all schedules are tried."""
    parked = {g for g, how in enumerate(state.how) if how == "parked"}
    seen, work = {state}, [state]
    while work and parked:
        now = work.pop()
        for move in moves(program, now):
            then = after(program, now, *move)
            if then is not None and then not in seen:
                parked -= {g for g, how in enumerate(then.how) if how != "parked"}
                seen.add(then)
                work.append(then)
    return parked


def never_in_any_program(program: Program, state: State) -> set[int]:
    """Return who is parked and does not run in any continuation of any program that stands as this one does.

    What the recorder saw does not tell what a greenlet will do: whoever is awake may give back whatever it holds, in any order, or end;
    a signal may come from anywhere. Nobody takes anything more, or parks: that could help nobody.
    """
    Frozen = tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]
    held = list(state.held)
    for g, how in enumerate(state.how):
        act = act_of(program, state, g)
        if how == "granted" and program.handoff and act is not None:
            held[act.whom] = (*held[act.whom], g)
    first: Frozen = (tuple("awake" if how in ("ready", "granted") else how for how in state.how), tuple(held))
    parked = {g for g, how in enumerate(state.how) if how == "parked"}
    seen, work = {first}, [first]

    def reach(hows: tuple[str, ...], holds: tuple[tuple[int, ...], ...]) -> None:
        if (hows, holds) not in seen:
            seen.add((hows, holds))
            parked.difference_update(g for g, how in enumerate(hows) if how != "parked")
            work.append((hows, holds))

    while work and parked:
        hows, holds = work.pop()
        waits = {g: act for g, how in enumerate(hows) if how == "parked" and (act := act_of(program, state, g)) is not None}
        for g, how in enumerate(hows):
            if how == "parked":
                act = waits[g]
                if act.limited or (act.what == "take" and (state.signal[act.whom] or state.free[act.whom])):
                    reach(_put(hows, g, "awake"), holds)
            elif how == "awake":
                ended = _put(hows, g, "dead")
                for other, act in waits.items():
                    if act.what == "join" and act.whom == g:
                        ended = _put(ended, other, "awake")
                reach(ended, holds)
                for r, holders in enumerate(holds):
                    if g not in holders:
                        continue
                    left = list(holders)
                    left.remove(g)
                    still = program.resources[r][0] == RLOCK and left
                    reach(hows, _put(holds, r, tuple(left)))
                    for other, act in {} if still else waits.items():  # type: ignore[attr-defined]
                        if act.what == "take" and act.whom == r:
                            reach(_put(hows, other, "awake"), _put(holds, r, (*left, other)))
    return parked


class Told:
    """What a recorder would write of the moves."""

    def __init__(self, program: Program, scribe: Scribe) -> None:
        self.program, self.s = program, scribe
        make = {LOCK: lambda places: scribe.lock(), RLOCK: lambda places: scribe.rlock(), SEMAPHORE: scribe.semaphore}
        # A server that listens: the hub can always turn.
        scribe.listen(scribe.fd(3))
        self.things = [make[kind](places) for kind, places in program.resources]
        self.beings = [scribe.spawn(f"g{number}") for number in range(len(program.acts))]
        self.joins = [scribe.join_of(being) for being in self.beings]
        scribe.switch(scribe.hub)

    def runs(self, g: int) -> None:
        self.s.switch(self.beings[g])

    def passes(self, g: int) -> None:
        self.s.switch(self.s.hub)

    def parks(self, g: int, act: Act) -> None:
        resource = self.things[act.whom] if act.what == "take" else self.joins[act.whom]
        op = Op.ACQUIRE if act.what == "take" else Op.JOIN
        self.s.park(resource, op=op, deadline_ns=self.s.now + 1000 * MS if act.limited else 0)

    def takes(self, g: int, r: int) -> None:
        self.s.acquire(self.things[r])

    def gives(self, g: int, r: int) -> None:
        self.s.release(self.things[r])

    def wakes(self, g: int) -> None:
        self.s.wake(self.beings[g])

    def expired(self, g: int) -> None:
        self.s.wake(self.beings[g], Waker.TIMER)

    def ends(self, g: int) -> None:
        self.s.finish()
