"""Timeouts: they strike at their moment, in their green thread, and never after their block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from greentrace.hub import Event, Queue, Semaphore, Timeout, is_timeout, sleep, spawn, with_timeout

from .support import FakeHub


def test_a_timeout_ends_a_wait_at_its_moment_with_itself(hub: FakeHub) -> None:
    with pytest.raises(Timeout) as caught, Timeout(2) as timeout:
        sleep(10)
    assert (caught.value, hub.elapsed, timeout.expired) == (timeout, 2, True)


@pytest.mark.parametrize("exception", [ValueError, ValueError("late")])
def test_a_timeout_can_raise_another_exception(exception: object) -> None:
    with pytest.raises(ValueError), Timeout(1, exception):
        sleep(10)


def test_a_silent_timeout_leaves_its_block_and_nothing_else(hub: FakeHub) -> None:
    reached = []
    with Timeout(1, False) as timeout:
        sleep(10)
        reached.append("after the sleep")
    assert (reached, timeout.expired, hub.elapsed) == ([], True, 1)


def test_a_block_that_ends_in_time_is_not_struck_later(hub: FakeHub) -> None:
    with Timeout(2) as timeout:
        sleep(1)
    sleep(10)
    assert (hub.elapsed, timeout.expired, timeout.pending) == (11, False, False)


def test_no_seconds_never_come(hub: FakeHub) -> None:
    with Timeout(None) as timeout:
        sleep(1000)
    assert (hub.elapsed, timeout.expired, str(timeout)) == (1000, False, "")


def test_zero_seconds_strike_at_the_first_wait() -> None:
    def turn_for_ever() -> None:
        while True:
            sleep(0)

    with pytest.raises(Timeout), Timeout(0):
        turn_for_ever()


@pytest.mark.parametrize(("outer", "inner"), [(1, 2), (2, 1), (1, 1)])
def test_nested_timeouts_strike_each_for_itself(hub: FakeHub, outer: int, inner: int) -> None:
    struck = None
    first = Timeout(outer)
    second = Timeout(inner)
    try:
        sleep(10)
    except Timeout as error:
        struck = error
    finally:
        first.cancel()
        second.cancel()
    assert struck is (first if outer <= inner else second)
    assert hub.elapsed == min(outer, inner)


def test_a_silent_timeout_inside_does_not_swallow_the_one_around_it() -> None:
    with pytest.raises(Timeout) as caught, Timeout(1) as outer, Timeout(5, False):
        sleep(10)
    assert caught.value is outer


def test_an_inner_timeout_that_was_caught_leaves_the_outer_one_armed(hub: FakeHub) -> None:
    struck = []
    with Timeout(5, False) as outer:
        with Timeout(1, False) as inner:
            sleep(10)
        struck += [inner.expired, outer.expired]
        sleep(10)
    assert (struck, outer.expired, hub.elapsed) == ([True, False], True, 5)


def test_except_exception_does_not_eat_a_timeout() -> None:
    def careless() -> None:
        try:
            sleep(10)
        except Exception:
            pytest.fail("the timeout is not an Exception")

    with pytest.raises(Timeout), Timeout(1):
        careless()


def test_a_timeout_strikes_in_the_green_thread_that_made_it_and_nowhere_else() -> None:
    def limited() -> str:
        with Timeout(1, False):
            sleep(10)
        return "struck"

    def free() -> str:
        sleep(3)
        return "whole"

    threads = [spawn(limited), spawn(free)]
    assert [each.wait() for each in threads] == ["struck", "whole"]


def test_a_timeout_of_a_green_thread_that_has_ended_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    spawn(Timeout, 1).wait()
    sleep(5)
    assert capfd.readouterr().err == ""


def test_cancel_and_start_arm_it_anew_and_it_cannot_be_armed_twice(hub: FakeHub) -> None:
    timeout = Timeout(3)
    with pytest.raises(AssertionError):
        timeout.start()
    sleep(2)
    timeout.cancel()
    timeout.start()
    with pytest.raises(Timeout):
        sleep(10)
    assert hub.elapsed == 5
    timeout.cancel()


@pytest.mark.parametrize(
    ("make", "wait"),
    [(lambda: Semaphore(0), "acquire"), (Event, "wait"), (Queue, "get"), (lambda: Queue(0), "put")],
)
def test_it_ends_every_kind_of_wait_and_nobody_stays_in_line(make: Callable[[], Any], wait: str) -> None:
    resource = make()
    with Timeout(1, False) as timeout:
        getattr(resource, wait)(*(["item"] if wait == "put" else []))
    assert timeout.expired
    assert "waiting=0" in repr(resource) or "getting=0 putting=0" in repr(resource)


# ---- with_timeout, is_timeout, how they look


def test_with_timeout_returns_the_result_or_raises_or_returns_what_was_said() -> None:
    assert with_timeout(1, lambda left, right=0: left + right, 1, right=2) == 3
    with pytest.raises(Timeout):
        with_timeout(1, sleep, 5)
    assert with_timeout(1, sleep, 5, timeout_value="late") == "late"
    assert with_timeout(1, sleep, 5, timeout_value=None) is None


def test_with_timeout_does_not_take_an_outer_timeout_for_its_own() -> None:
    with pytest.raises(Timeout) as caught, Timeout(1) as outer:
        with_timeout(5, sleep, 10, timeout_value="late")
    assert caught.value is outer


def test_is_timeout_knows_ours_and_the_standard_librarys() -> None:
    assert is_timeout(TimeoutError())
    assert not is_timeout(ValueError())
    timeout = Timeout(1)
    timeout.cancel()
    assert is_timeout(timeout)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((1,), "1 second"), ((2.5,), "2.5 seconds"), ((3, False), "3 seconds (silent)"), ((1, ValueError), "1 second (")],
)
def test_it_says_how_long_it_was(arguments: tuple[object, ...], text: str) -> None:
    timeout = Timeout(*arguments)  # type: ignore[arg-type]
    timeout.cancel()
    assert str(timeout).startswith(text)
