"""Imagined programs for hypothesis: a list of numbers is turned into a legal stream of events, by always taking what is possible."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from hypothesis import strategies as st

from greentrace.events import How, Op, ResourceKind, State, Waker
from tests.support.scribe import MS, Scribe

numbers = st.lists(st.integers(0, 1 << 16), min_size=5, max_size=120)


def _many(seed: int) -> list[int]:
    chance = random.Random(seed)
    return [chance.randrange(1 << 16) for _ in range(chance.randrange(5, 200))]


many = st.integers(0, 1 << 32).map(_many)
"""Longer ones, in which what is rare happens; they do not get simpler than they are."""


def play(s: Scribe, choices: list[int], gaps: bool = False) -> None:
    """Let the program do one thing per number."""
    source = iter(choices)
    while True:
        try:
            _act(s, source, gaps)
        except StopIteration:
            return


def _pick(source: Iterator[int], options: list[int]) -> int:
    return options[next(source) % len(options)]


def _act(s: Scribe, source: Iterator[int], gaps: bool) -> None:
    choice = next(source) % 24
    me = s.current
    others = [b.id for b in s.beings.values() if b.id != me]
    enterable = [n for n in others if s.beings[n].state in (State.CREATED, State.RUNNABLE, State.PARKED)]
    things = list(s.things)
    held = [t.id for t in s.things.values() if t.kind != ResourceKind.GREENLET]
    do: dict[int, Callable[[], object]] = {
        0: lambda: s.spawn(f"g{len(s.beings)}"),
        1: lambda: s.spawn(),
        2: lambda: s.resource(ResourceKind.QUEUE),
        3: lambda: s.lock(),
        4: lambda: s.semaphore(next(source) % 3),
        5: lambda: s.join_of(_pick(source, list(s.beings))),
        6: lambda: s.tick(next(source)),
        12: lambda: s.timer(s.now + MS, _pick(source, [0, *s.beings])),
        17: lambda: s.keyframe(),
    }
    if held:
        do[7] = do[8] = lambda: s.acquire(_pick(source, held))
        do[9] = do[10] = lambda: s.release(_pick(source, held))
    if enterable:
        do[11] = lambda: s.switch(_pick(source, enterable), site=s.at(next(source) % 50))
        if me != s.hub:
            do[13] = lambda: s.finish(_pick(source, enterable), How(next(source) % 3))
        if things and me != s.hub:
            do[14] = do[15] = do[16] = lambda: s.park(
                *{_pick(source, things) for _ in range(1 + next(source) % 2)},
                to=_pick(source, enterable), op=Op.ACQUIRE if next(source) % 4 else Op.GET,
                deadline_ns=0 if next(source) % 3 else s.now + MS,
            )  # fmt: skip
    wakeable = [b.id for b in s.beings.values() if b.state in (State.CREATED, State.PARKED, State.RUNNABLE, State.FINISHED, State.RUNNING)]
    do[18] = lambda: s.wake(_pick(source, wakeable), Waker(next(source) % 6))
    runnable = [b.id for b in s.beings.values() if b.state == State.RUNNABLE and b.started]
    if runnable and things:
        do[19] = lambda: s.repark(_pick(source, runnable), _pick(source, things))
    finished = [b.id for b in s.beings.values() if b.state == State.FINISHED]
    if finished:
        do[20] = lambda: s.collect(_pick(source, finished))
    if s.timers:
        do[21] = lambda: s.cancel(_pick(source, list(s.timers)))
    if s.ears:
        do[22] = lambda: s.unlisten(_pick(source, list(s.ears)))
    if gaps and next(source) % 3 == 0:
        do[23] = lambda: _gap(s, source, enterable)
    else:
        do[23] = lambda: s.listen(s.fd(next(source) % 9), greenlet=_pick(source, [0, *s.beings]))
    if choice in do:
        do[choice]()


def _gap(s: Scribe, source: Iterator[int], enterable: list[int]) -> None:
    s.gap()
    if enterable:
        s.switch(_pick(source, enterable))
    s.keyframe(partial=next(source) % 3 == 0)
