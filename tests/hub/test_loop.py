"""The loop: callbacks, turns, exceptions in the hub, a hub for each thread, and calls from other threads."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time

import pytest
from greenlet import GreenletExit, getcurrent

from greentrace.hub import Event, Hub, call_soon_threadsafe, get_hub, sleep, socketpair, spawn, use_hub
from greentrace.hub.threads import execute

from .support import FakeHub, Stalled, started, turns


def test_callbacks_are_called_in_the_hub_first_come_first_served(hub: FakeHub) -> None:
    seen: list[object] = []
    hub.call_soon(seen.append, 1)
    hub.call_soon(seen.append, 2)
    hub.call_soon(lambda: seen.append(getcurrent()))
    sleep(0)
    assert seen == [1, 2, hub.greenlet]


def test_an_exception_of_a_callback_is_printed_and_the_loop_goes_on(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    hub.call_soon(lambda: 1 // 0)
    hub.call_later(1, lambda: [].pop())
    sleep(2)
    printed = capfd.readouterr().err
    assert "ZeroDivisionError" in printed
    assert "IndexError" in printed


def test_a_callback_that_calls_itself_again_does_not_keep_the_others_from_their_turn(hub: FakeHub) -> None:
    count = [0]

    def again() -> None:
        count[0] += 1
        if count[0] < 1000:
            hub.call_soon(again)

    again()
    sleep(0)
    assert count[0] < 5


def test_a_green_thread_that_leaves_the_line_of_the_runnable_disturbs_nobody(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    """It was woken already when something is thrown into it, in the same turn: the hub must not miss it."""
    event = Event()
    waiting = spawn(event.wait)
    sleep(0)
    hub.call_soon(waiting.throw, GreenletExit)
    event.send()
    sleep(1)
    assert waiting.dead
    assert capfd.readouterr().err == ""


def test_a_function_that_the_hub_calls_must_not_wait(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    event = Event()
    for wait in (lambda: sleep(1), event.wait, hub.switch):
        hub.call_soon(wait)
    hub.call_soon(sleep, 0)
    turns()
    assert capfd.readouterr().err.count("RuntimeError: A function that the hub calls must not wait") == 3


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_goes_to_the_main_greenlet_and_the_hub_lives_on(hub: FakeHub, kind: type[BaseException]) -> None:
    def end() -> None:
        raise kind("enough")

    spawn(end)
    with pytest.raises(kind, match="enough"):
        sleep(1)
    hub_before = hub.greenlet
    sleep(1)
    assert hub.greenlet is hub_before
    assert not hub_before.dead


def test_a_hub_that_was_killed_is_replaced_by_the_next_wait_and_nobody_is_lost(hub: FakeHub) -> None:
    thread = started(sleep, 1)
    hub.greenlet.throw(GreenletExit)
    assert hub.greenlet.dead
    thread.wait()
    assert hub.elapsed == 1


def test_with_nothing_to_do_the_hub_sleeps_for_ever_instead_of_turning(hub: FakeHub) -> None:
    with pytest.raises(Stalled):
        Event().wait()
    assert hub.fake_poller.waits == 1


def test_the_hub_turns_once_for_each_moment_and_no_more(hub: FakeHub) -> None:
    left, right = socketpair()
    reader = started(left.recv, 1)
    before = hub.fake_poller.waits
    for _ in range(10):
        sleep(1)
    # One poll to sleep, and one more to look again once somebody is runnable.
    assert hub.fake_poller.waits - before <= 20
    right.send(b"x")
    reader.wait()
    left.close()
    right.close()


def test_a_system_that_refuses_to_poll_is_reported_once_and_timers_go_on(
    real_hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(seconds: float | None) -> list[tuple[int, int]]:
        raise OSError(errno.EINVAL, "no more polling today")

    with monkeypatch.context() as patch:
        patch.setattr(real_hub.poller, "wait", refuse)
        for _ in range(3):
            sleep(0.02)
    left, right = socketpair()
    right.send(b"x")
    assert left.recv(1) == b"x"
    left.close()
    right.close()
    assert capfd.readouterr().err.count("OSError: [Errno 22] no more polling today") == 1


def test_schedule_call_has_eventlets_names_and_arguments(hub: FakeHub) -> None:
    seen: list[tuple[str, float]] = []

    def note(name: str, *, suffix: str = "") -> None:
        seen.append((name + suffix, hub.elapsed))

    hub.schedule_call_global(1, note, "global", suffix="!")
    hub.schedule_call_global(1, note, "cancelled").cancel()

    def asks() -> None:
        hub.schedule_call_local(2, note, "local of the dead")

    spawn(asks).wait()
    hub.schedule_call_local(2, note, "local", suffix="?")
    sleep(3)
    assert seen == [("global!", 1.0), ("local?", 2.0)]


def test_every_thread_has_a_hub_of_its_own() -> None:
    hubs = [get_hub()]

    def other() -> None:
        hubs.append(get_hub())
        sleep(0.001)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert hubs[0] is not hubs[1]
    assert hubs[0] is get_hub()


def test_a_thread_that_ends_gives_the_fds_of_its_hub_back() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for _ in range(5):
        thread = threading.Thread(target=lambda: sleep(0.001))
        thread.start()
        thread.join()
    assert count() == before


def test_another_thread_can_call_into_a_hub_that_sleeps_for_ever(real_hub: Hub) -> None:
    event = Event()
    thread = threading.Thread(target=call_soon_threadsafe, args=(real_hub, event.send, "from outside"))
    spawn(thread.start)
    assert event.wait() == "from outside"
    thread.join()


def test_no_call_of_many_threads_is_lost(real_hub: Hub) -> None:
    done = Event()
    count = [0]

    def one_more() -> None:
        count[0] += 1
        if count[0] == 4 * 500:
            done.send()

    def send() -> None:
        for _ in range(500):
            real_hub.call_soon_threadsafe(one_more)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    done.wait()
    assert count[0] == 2000
    for thread in threads:
        thread.join()


def test_a_signal_handler_wakes_whoever_waits_while_the_hub_polls(real_hub: Hub) -> None:
    event = Event()
    before = signal.signal(signal.SIGALRM, lambda *_: event.send("signal"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert event.wait() == "signal"
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_exception_of_a_signal_handler_reaches_the_main_greenlet(real_hub: Hub) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            Event().wait()
    finally:
        signal.signal(signal.SIGALRM, before)
    sleep(0.001)


def test_a_hub_can_be_chosen_again_at_once_or_after_another(real_hub: Hub) -> None:
    assert use_hub(real_hub) is real_hub
    sleep(0.001)
    other = use_hub()
    assert get_hub() is other
    use_hub(real_hub)
    left, right = socketpair()
    right.send(b"x")
    assert left.recv(1) == b"x"
    sleep(0.001)
    left.close()
    right.close()


def test_the_way_of_polling_can_be_chosen(polling: str) -> None:
    hub = use_hub(polling)
    assert type(hub.poller._selector).__name__.lower() == f"{polling}selector"
    left, right = socketpair()
    reader = started(left.recv, 10)
    right.sendall(b"hello")
    assert reader.wait() == b"hello"
    start = time.monotonic()
    sleep(0.01)
    assert time.monotonic() - start >= 0.01
    left.close()
    right.close()


def test_parent_and_child_of_a_fork_both_go_on_and_poll_apart(real_hub: Hub, polling: str) -> None:
    hub = use_hub(polling)
    left, right = socketpair()
    waiting = started(left.recv, 10)
    other = threading.Thread(target=lambda: sleep(0.05))
    other.start()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            inner, outer = socketpair()
            echo = started(inner.recv, 10)
            outer.send(b"child")
            sleep(0.001)
            # What the parent waited for is waited for here too; the thread pool starts anew.
            if echo.wait() == b"child" and not waiting.dead and execute(abs, -3) == 3:
                status = 7
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    right.send(b"parent")
    assert waiting.wait() == b"parent"
    assert len(hub.listeners) == 0
    other.join()
    left.close()
    right.close()
