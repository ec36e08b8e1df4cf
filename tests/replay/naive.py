"""A second replay, as slow and as plain as can be: one record at a time through `lifecycle.step`.

It knows no keyframes except the first one after a gap, and is what the vectorised index is measured against.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from greentrace import events as e
from greentrace.events import Kind, State
from greentrace.lifecycle import LEFT, Step, step


@dataclass
class Naive:
    states: dict[int, State] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)
    sites: dict[int, int] = field(default_factory=dict)
    waits: dict[int, dict[tuple[int, int], int]] = field(default_factory=dict)
    holds: list[tuple[int, int, int, int]] = field(default_factory=list)
    timers: dict[int, tuple[int, int]] = field(default_factory=dict)
    ears: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    polls: set[int] = field(default_factory=set)
    known: bool = False
    telling: bool = False
    whole: bool = False

    def _step(self, number: int, what: Step, t: int) -> None:
        if number:
            self._set(number, step(self.states.get(number, State.UNKNOWN), what), t)

    def _set(self, number: int, state: State, t: int) -> None:
        if self.states.get(number, State.UNKNOWN) != state or number not in self.states:
            self.states[number], self.since[number] = state, t
        if state in (State.FINISHED, State.COLLECTED):
            self.waits.pop(number, None)

    def _forget(self) -> None:
        """Nothing is known any more, but that who is gone is gone."""
        gone = (State.UNKNOWN, State.COLLECTED)
        self.__init__({n: gone[state == State.COLLECTED] for n, state in self.states.items()})  # type: ignore[misc]

    def feed(self, record: tuple[int, ...]) -> None:
        t, kind, flags, _, greenlet, other, site, arg = record
        if kind == Kind.GAP:
            self._forget()
            return
        if kind == Kind.KEYFRAME:
            if flags & e.KEYFRAME_BEGIN and not self.whole:
                self._forget()
                self.known = self.telling = True
            elif flags & e.KEYFRAME_END and self.telling:
                self.telling, self.whole = False, not flags & e.KEYFRAME_PARTIAL
                if self.whole:
                    for number in [n for n, state in self.states.items() if n not in self.since and state != State.COLLECTED]:
                        del self.states[number]
            return
        if not self.known or (flags & e.FLAG_KEY and not self.telling):
            return
        if kind in (Kind.SWITCH, Kind.THROW):
            left = State(flags & 7)
            if other:
                if left == State.UNKNOWN:
                    self._set(other, left, t)
                else:
                    self._step(other, LEFT[left], t)
                self.sites[other] = site or self.sites.get(other, 0)
                if left == State.RUNNABLE:
                    self.waits.pop(other, None)
            self._step(greenlet, Step.ENTERED, t)
            self.waits.pop(greenlet, None)
        elif kind == Kind.STATE:
            self.states[greenlet], self.since[greenlet] = State(flags & 7), arg or t
            self.sites[greenlet] = site
        elif kind == Kind.SPAWN and not flags & e.FLAG_KEY:
            self._step(greenlet, Step.SPAWNED, t)
        elif kind == Kind.FINISH:
            self._step(greenlet, Step.FINISHED, t)
        elif kind == Kind.COLLECT:
            self._step(greenlet, Step.COLLECTED, t)
        elif kind == Kind.WAKE:
            self._step(greenlet, Step.WOKEN, t)
        elif kind == Kind.PARK:
            if not flags & e.FLAG_KEY:
                self._step(greenlet, Step.PARKED, t)
            self.waits.setdefault(greenlet, {})[other, flags & 0x3F] = arg
        elif kind == Kind.ACQUIRE:
            self.holds.append((greenlet, other, arg if flags & e.FLAG_KEY else t, site))
        elif kind == Kind.RELEASE:
            mine = next((i for i, hold in enumerate(self.holds) if hold[:2] == (arg, other)), None)
            if mine is not None:
                del self.holds[mine]
        elif kind == Kind.TIMER_ADD:
            self.timers[other] = (greenlet, arg)
        elif kind in (Kind.TIMER_CANCEL, Kind.TIMER_FIRE):
            self.timers.pop(other, None)
        elif kind == Kind.FD_ADD:
            self.ears[arg] = (other, flags & 3, greenlet)
        elif kind == Kind.FD_REMOVE:
            self.ears.pop(arg, None)
        elif kind == Kind.POLL_BEGIN:
            self.polls.add(greenlet)
        elif kind == Kind.POLL_END:
            self.polls.discard(greenlet)
