"""Event: one result for everybody who waits, and a wait that ends in another way leaves the line."""

from __future__ import annotations

import pytest

from greentrace.hub import Event, sleep, spawn

from .support import FakeHub, started, turns


def test_everybody_who_waits_gets_the_result_and_so_does_whoever_comes_later() -> None:
    event = Event()
    waiting = [started(event.wait) for _ in range(3)]
    event.send("result")
    assert [thread.wait() for thread in waiting] == ["result"] * 3
    assert event.wait() == "result"


def test_send_does_not_switch_and_wakes_in_the_order_of_arrival() -> None:
    event = Event()
    order: list[int] = []

    def wait(number: int) -> None:
        event.wait()
        order.append(number)

    for number in range(5):
        started(wait, number)
    event.send()
    assert order == []
    turns()
    assert order == list(range(5))


@pytest.mark.parametrize("exc", [ValueError("bad"), (ValueError, "bad"), (ValueError("bad"),), (ValueError, ValueError("bad"), None)])
def test_an_exception_is_raised_in_everybody_who_waits(exc: object) -> None:
    event = Event()
    waiting = started(event.wait)
    event.send(exc=exc)
    for wait in (waiting.wait, event.wait):
        with pytest.raises(ValueError, match="bad"):
            wait()
    assert event.has_exception()
    assert not event.has_result()


def test_send_exception_takes_the_arguments_of_a_raise() -> None:
    event = Event()
    event.send_exception(KeyError, "missing")
    with pytest.raises(KeyError, match="missing"):
        event.wait()


def test_a_wait_with_a_timeout_returns_none_in_the_end(hub: FakeHub) -> None:
    event = Event()
    assert event.wait(timeout=2) is None
    assert hub.elapsed == 2
    spawn(lambda: (sleep(1), event.send("in time")))
    assert event.wait(timeout=2) == "in time"
    assert hub.elapsed == 3


def test_it_is_sent_once_unless_it_is_reset() -> None:
    event = Event()
    with pytest.raises(AssertionError, match="not sent"):
        event.reset()
    event.send(1)
    with pytest.raises(AssertionError, match="sent already"):
        event.send(2)
    event.reset()
    assert not event.ready()
    event.send(3)
    assert event.wait() == 3


def test_a_reset_on_the_way_does_not_take_the_result_from_whoever_was_woken() -> None:
    event = Event()
    waiting = started(event.wait)
    event.send("first")
    event.reset()
    assert waiting.wait() == "first"


def test_poll_never_waits() -> None:
    event = Event()
    assert (event.poll(), event.poll("no"), event.poll_result("no"), event.poll_exception("no")) == (None, "no", "no", "no")
    event.send("yes")
    assert (event.poll(), event.poll_result(), event.poll_exception("no")) == ("yes", "yes", "no")
    failed = Event()
    failed.send(exc=ValueError())
    assert failed.poll_result("no") == "no"
    for poll in (failed.poll, failed.poll_exception):
        with pytest.raises(ValueError):
            poll()


def test_whoever_is_killed_leaves_the_line() -> None:
    event = Event()
    started(event.wait).kill()
    assert "waiting=0" in repr(event)
    event.send()
