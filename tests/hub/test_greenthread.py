"""Green threads: spawned, waited for, linked, cancelled and killed, in the order that eventlet promises."""

from __future__ import annotations

import functools
import gc
import weakref

import pytest
from greenlet import greenlet

from greentrace.hub import (
    Event,
    GreenletExit,
    GreenThread,
    cancel,
    getcurrent,
    kill,
    sleep,
    spawn,
    spawn_after,
    spawn_after_local,
    spawn_n,
)

from .support import FakeHub, Stalled, started, turns


def add(left: int, right: int = 1) -> int:
    return left + right


def fail() -> None:
    raise ZeroDivisionError("on purpose")


def test_wait_returns_what_the_function_returned_as_often_as_one_asks() -> None:
    thread = spawn(add, 1, right=2)
    assert thread.wait() == 3
    assert thread.wait() == 3


def test_a_spawned_function_does_not_run_before_the_spawner_waits() -> None:
    done: list[int] = []
    spawn(done.append, 1)
    assert done == []
    sleep(0)
    assert done == [1]


def test_green_threads_begin_in_the_order_in_which_they_were_spawned() -> None:
    order: list[int] = []
    for number in range(10):
        (spawn if number % 2 else spawn_n)(order.append, number)
    sleep(0)
    assert order == list(range(10))


def test_wait_raises_what_the_function_raised_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        spawn(fail).wait()
    assert capfd.readouterr().err == ""


def test_an_exception_for_which_nobody_waits_is_printed_once_and_still_raised_later(capfd: pytest.CaptureFixture[str]) -> None:
    thread = started(fail)
    assert capfd.readouterr().err.count("ZeroDivisionError: on purpose") == 1
    with pytest.raises(ZeroDivisionError):
        thread.wait()
    assert capfd.readouterr().err == ""


def test_an_exception_in_spawn_n_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    spawn_n(fail)
    turns()
    assert "ZeroDivisionError: on purpose" in capfd.readouterr().err


def test_sleep_lasts_as_long_as_it_says(hub: FakeHub) -> None:
    sleep(1.5)
    assert hub.elapsed == 1.5


def test_sleepers_wake_in_the_order_of_their_moments(hub: FakeHub) -> None:
    order: list[float] = []

    def nap(seconds: float) -> None:
        sleep(seconds)
        order.append(seconds)

    for thread in [spawn(nap, seconds) for seconds in (0.3, 0.1, 0.2)]:
        thread.wait()
    assert order == [0.1, 0.2, 0.3]


def test_sleep_zero_lets_everybody_have_one_turn() -> None:
    order: list[str] = []

    def twice(name: str) -> None:
        for _ in range(2):
            order.append(name)
            sleep(0)

    threads = [spawn(twice, name) for name in "abc"]
    for thread in threads:
        thread.wait()
    assert "".join(order) == "abcabc"


def test_a_green_thread_that_waits_for_nothing_does_not_keep_the_timers_from_firing(hub: FakeHub) -> None:
    def spin() -> None:
        while True:
            hub.fake_clock.now += 0.001
            sleep(0)

    spinner = spawn(spin)
    sleep(0.1)
    spinner.kill()
    assert hub.elapsed == pytest.approx(0.1, abs=0.005)


def test_links_are_called_with_the_green_thread_and_their_arguments_in_order() -> None:
    calls: list[tuple[int, str, dict[str, int]]] = []

    def note(thread: GreenThread, text: str, **more: int) -> None:
        calls.append((thread.wait(), text, more))

    thread = spawn(add, 1)
    thread.link(note, "first", x=1)
    thread.link(note, "second")
    thread.link(note, "third")
    assert thread.unlink(note, "second")
    assert not thread.unlink(note, "second")
    thread.wait()
    assert calls == [(2, "first", {"x": 1}), (2, "third", {})]
    thread.link(note, "late")
    assert calls[-1] == (2, "late", {})


def test_a_link_that_raises_is_printed_and_the_other_links_are_called(capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[GreenThread] = []
    thread = spawn(add, 1)
    thread.link(lambda _: fail())
    thread.link(calls.append)
    assert thread.wait() == 2
    turns()
    assert calls == [thread]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_kill_throws_at_once_into_whoever_waits_and_the_killer_goes_on() -> None:
    seen: list[str] = []

    def patient() -> None:
        try:
            sleep(100)
        except GreenletExit:
            seen.append("killed")
            raise

    thread = started(patient)
    thread.kill()
    assert seen == ["killed"]
    assert thread.dead
    with pytest.raises(GreenletExit):
        thread.wait()


def test_kill_can_throw_any_exception(capfd: pytest.CaptureFixture[str]) -> None:
    for throw_args in [(ValueError("reason"),), (ValueError, "reason"), (ValueError, ValueError("reason"), None)]:
        thread = started(sleep, 100)
        thread.kill(*throw_args)
        with pytest.raises(ValueError, match="reason"):
            thread.wait()
    assert capfd.readouterr().err.count("ValueError: reason") == 3


def test_a_green_thread_that_is_killed_before_it_began_never_begins_and_tells_whoever_waits() -> None:
    done: list[int] = []
    thread = spawn(done.append, 1)
    told: list[bool] = []
    thread.link(lambda each: told.append(each.dead or each.finished))
    thread.kill()
    turns()
    assert done == []
    assert told == [True]
    with pytest.raises(GreenletExit):
        thread.wait()
    other = spawn(done.append, 1)
    other.kill(ValueError("never mind"))
    with pytest.raises(ValueError, match="never mind"):
        other.wait()
    assert done == []


def test_to_kill_what_has_finished_changes_nothing() -> None:
    thread = spawn(add, 1)
    thread.wait()
    thread.kill()
    kill(thread, ValueError)
    assert thread.wait() == 2


def test_a_green_thread_can_kill_itself() -> None:
    def end() -> None:
        kill(getcurrent())

    with pytest.raises(GreenletExit):
        spawn(end).wait()


def test_a_green_thread_that_survives_its_kill_goes_on() -> None:
    def stubborn() -> str:
        try:
            sleep(100)
        except GreenletExit:
            sleep(1)
        return "alive"

    thread = started(stubborn)
    thread.kill()
    assert thread.wait() == "alive"


def test_cancel_stops_only_what_has_not_begun() -> None:
    begun = started(sleep, 1)
    begun.cancel()
    assert begun.wait() is None
    waiting = spawn(add, 1)
    cancel(waiting)
    with pytest.raises(GreenletExit):
        waiting.wait()


def test_spawn_after_begins_when_its_time_has_come_unless_it_is_cancelled(hub: FakeHub) -> None:
    moments: list[float] = []
    spawn_after(2, lambda: moments.append(hub.elapsed))
    spawn_after(1, moments.append, -1.0).cancel()
    spawn_after(1, moments.append, -1.0).kill()
    assert len(hub.timers) == 1
    sleep(3)
    assert moments == [2.0]


def test_spawn_after_local_begins_only_if_its_spawner_is_still_there() -> None:
    begun: list[str] = []

    def spawner(name: str, stays: float) -> None:
        spawn_after_local(1, begun.append, name)
        sleep(stays)

    spawn(spawner, "stayed", 2)
    spawn(spawner, "left", 0.5)
    sleep(3)
    assert begun == ["stayed"]


def test_whoever_waits_can_be_killed_and_the_one_waited_for_goes_on() -> None:
    slow = spawn(sleep, 1)
    waiting = started(slow.wait)
    waiting.kill()
    assert slow.wait() is None


def test_many_can_wait_for_one() -> None:
    slow = spawn(functools.partial(add, 1), 2)
    assert [spawn(slow.wait).wait() for _ in range(3)] == [3, 3, 3]


def test_who_waits_for_itself_waits_for_ever() -> None:
    thread = spawn(lambda: getcurrent().wait())  # type: ignore[attr-defined]
    with pytest.raises(Stalled):
        thread.wait()
    thread.kill()


def test_a_switch_from_a_stranger_does_not_end_a_wait(hub: FakeHub) -> None:
    event = Event()
    thread = started(event.wait)
    hub.call_soon(thread.switch)
    sleeper = started(sleep, 5)
    hub.call_soon(sleeper.switch)
    turns()
    assert not thread.dead
    event.send("sent")
    assert thread.wait() == "sent"
    sleeper.wait()
    assert hub.elapsed == 5


def test_a_plain_greenlet_can_wait_like_a_green_thread(hub: FakeHub) -> None:
    def plain(x: int) -> int:
        sleep(1)
        return x

    assert greenlet(plain).switch(5) == 5
    assert hub.elapsed == 1


def test_a_finished_green_thread_is_kept_by_nobody(hub: FakeHub) -> None:
    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)
    thread = spawn(lambda x: None, big)
    del big
    thread.wait()
    assert gone() is None, "its arguments are held after its end"
    ends = [weakref.ref(spawn(function)) for function in (lambda: None, lambda: sleep(1))]
    ends.append(weakref.ref(spawn_after(1, add, 1)))
    sleep(2)
    turns()
    gc.collect()
    assert [end() for end in ends] == [None, None, None]


def test_names_are_those_of_the_functions_unless_somebody_gives_one() -> None:
    thread = spawn(add, 1)
    assert thread.name == "add"
    thread.name = "adder"
    assert thread.name == "adder"
    assert spawn(functools.partial(add, 1)).name == "add"
    turns()
