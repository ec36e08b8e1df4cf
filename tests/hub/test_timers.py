"""Timers: the order in which they fire, and what is left of them when they are cancelled or spent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greentrace.hub.timers import Timer, Timers


def fire(timers: Timers, now: float) -> None:
    ready: deque[Callable[[], Any]] = deque()
    timers.collect(now, ready)
    for call in ready:
        call()


def test_timers_fire_in_the_order_of_their_moments_and_ties_in_the_order_of_arming() -> None:
    timers, fired = Timers(), []
    for due, name in [(3, "late"), (1, "a"), (2, "middle"), (1, "b"), (1, "c")]:
        Timer(timers, due, fired.append, (name,))
    fire(timers, 10)
    assert fired == ["a", "b", "c", "middle", "late"]


def test_a_timer_never_fires_before_its_moment() -> None:
    timers, fired = Timers(), []
    Timer(timers, 5.0, fired.append, ("now",))
    fire(timers, 4.999999)
    assert fired == []
    fire(timers, 5.0)
    assert fired == ["now"]


def test_a_cancelled_timer_does_not_fire_even_if_it_was_due_already() -> None:
    timers, fired = Timers(), []
    second = Timer(timers, 1, fired.append, ("second",))
    first = Timer(timers, 0, lambda: second.cancel(), ())
    fire(timers, 2)
    assert fired == []
    assert not first.pending
    assert not second.pending


def test_to_cancel_a_timer_twice_or_after_it_fired_does_nothing() -> None:
    timers = Timers()
    timer = Timer(timers, 1, lambda: None, ())
    timer.cancel()
    timer.cancel()
    assert len(timers) == 0
    fired = Timer(timers, 1, lambda: None, ())
    fire(timers, 1)
    fired.cancel()
    assert len(timers) == 0
    assert timers.next_due() is None


def test_a_hundred_thousand_cancelled_timers_do_not_stay_in_the_heap() -> None:
    timers = Timers()
    keep = Timer(timers, 10**6, lambda: None, ())
    for moment in range(100_000):
        Timer(timers, moment, lambda: None, ()).cancel()
    assert len(timers) == 1
    assert len(timers.heap) <= 130
    keep.cancel()


def test_a_spent_timer_holds_nothing_of_what_it_was_for() -> None:
    timers = Timers()
    timer = Timer(timers, 1, print, ("something",), greenlet=object())
    timer.cancel()
    assert (timer._function, timer._args, timer.greenlet) == (None, (), None)


class TimersAgainstAModel(RuleBasedStateMachine):
    """The heap with its husks does what a sorted list would."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.now = 0.0
        self.armed: list[tuple[float, int, Timer]] = []
        self.fired: list[int] = []
        self.expected: list[int] = []
        self.count = 0

    @rule(delay=st.integers(0, 20))
    def arm(self, delay: int) -> None:
        self.count += 1
        timer = Timer(self.timers, self.now + delay, self.fired.append, (self.count,))
        self.armed.append((self.now + delay, self.count, timer))

    @precondition(lambda self: self.armed)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.armed))
        self.armed.remove(entry)
        entry[2].cancel()

    @rule(count=st.integers(70, 150), delay=st.integers(1, 20))
    def arm_and_cancel_many(self, count: int, delay: int) -> None:
        for timer in [Timer(self.timers, self.now + delay, self.fired.append, (-1,)) for _ in range(count)]:
            timer.cancel()

    @rule(seconds=st.integers(0, 10))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        due = sorted(entry for entry in self.armed if entry[0] <= self.now)
        self.expected += [number for _, number, _ in due]
        self.armed = [entry for entry in self.armed if entry[0] > self.now]
        fire(self.timers, self.now)

    @invariant()
    def the_same_have_fired_and_the_same_are_armed(self) -> None:
        assert self.fired == self.expected
        assert len(self.timers) == len(self.armed)
        assert self.timers.next_due() == min((due for due, _, _ in self.armed), default=None)


TestTimersAgainstAModel = TimersAgainstAModel.TestCase
