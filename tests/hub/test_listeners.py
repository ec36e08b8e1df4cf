"""Listeners: who waits for which fd, and what becomes of him when the number no longer means what it meant."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from greentrace.hub import Hub, IOClosed, Timeout, get_hub, hub_prevent_multiple_readers, sleep, socket, socketpair, spawn, trampoline
from greentrace.hub.trampoline import notify_close, notify_opened

from .support import FakeHub, started


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe: fds that are nobody's sockets."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_trampoline_comes_back_when_the_fd_is_ready(real_hub: Hub, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    trampoline(writer, write=True)
    waiting = started(trampoline, reader, read=True)
    assert not waiting.dead
    os.write(writer, b"x")
    waiting.wait()


def test_trampoline_takes_whatever_has_a_fileno(real_hub: Hub) -> None:
    left, right = socketpair()
    right.send(b"x")
    trampoline(left, read=True)
    left.close()
    right.close()


def test_trampoline_raises_what_was_said_when_the_time_is_over(hub: FakeHub, pipe: tuple[int, int]) -> None:
    with pytest.raises(Timeout):
        trampoline(pipe[0], read=True, timeout=2)
    assert hub.elapsed == 2
    with pytest.raises(TimeoutError):
        trampoline(pipe[0], read=True, timeout=1, timeout_exc=TimeoutError)


def test_trampoline_wants_to_know_for_what(pipe: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        trampoline(pipe[0])


def test_a_closed_fd_cannot_be_waited_for(real_hub: Hub) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError):
        trampoline(reader, read=True)


def test_a_second_reader_of_one_fd_gets_an_error_and_the_first_goes_on_waiting(real_hub: Hub, pipe: tuple[int, int]) -> None:
    first = started(trampoline, pipe[0], read=True)
    with pytest.raises(RuntimeError, match="Second simultaneous read"):
        trampoline(pipe[0], read=True)
    os.write(pipe[1], b"x")
    first.wait()


def test_several_readers_are_served_in_turn_when_one_asks_for_it(real_hub: Hub, pipe: tuple[int, int]) -> None:
    hub_prevent_multiple_readers(False)
    order: list[int] = []

    def read(number: int) -> None:
        trampoline(pipe[0], read=True)
        order.append(os.read(pipe[0], 1)[0])

    threads = [started(read, number) for number in range(3)]
    os.write(pipe[1], bytes([1, 2, 3]))
    for each in threads:
        each.wait()
    assert order == [1, 2, 3]


def test_a_reader_and_a_writer_of_one_fd_wait_side_by_side(real_hub: Hub) -> None:
    left, right = socketpair()
    reading = started(left.recv, 10)
    writing = started(left.sendall, b"y" * 3_000_000)
    got = 0
    while got < 3_000_000:
        got += len(right.recv(1 << 16))
    writing.wait()
    assert not reading.dead
    right.send(b"answer")
    assert reading.wait() == b"answer"
    left.close()
    right.close()


@pytest.mark.parametrize("tell", [notify_close, notify_opened])
def test_whoever_waits_for_a_number_that_changes_its_meaning_gets_an_error(real_hub: Hub, pipe: tuple[int, int], tell: object) -> None:
    waiting = started(trampoline, pipe[0], read=True)
    tell(pipe[0])  # type: ignore[operator]
    with pytest.raises(IOClosed):
        waiting.wait()


def test_a_number_that_was_closed_in_silence_and_is_a_new_socket_now_throws_into_the_stale_waiter(real_hub: Hub) -> None:
    reader, writer = os.pipe()
    waiting = started(trampoline, reader, read=True)
    os.close(reader)
    made = socket.socket()
    assert made.fileno() == reader
    with pytest.raises(IOClosed):
        waiting.wait()
    made.close()
    os.close(writer)


def test_a_socket_whose_number_another_thread_closed_and_opened_again_is_watched_anew(real_hub: Hub) -> None:
    """The hub still knows the old socket's registration, which the system has dropped: it must not be trusted."""
    left, right = socketpair()
    right.send(b"x")
    trampoline_reads = started(left.recv, 10)
    assert trampoline_reads.wait() == b"x"
    reading = started(left.recv, 10)
    right.send(b"y")
    assert reading.wait() == b"y"
    number = left.fileno()
    made: list[tuple[socket.socket, socket.socket]] = []

    def exchange() -> None:
        left.close()
        made.append(socketpair())

    thread = threading.Thread(target=exchange)
    thread.start()
    thread.join()
    (new, other) = made[0] if made[0][0].fileno() == number else made[0][::-1]
    assert new.fileno() == number
    reading = started(new.recv, 10)
    other.send(b"z")
    with Timeout(10):
        assert reading.wait() == b"z"
    for each in (right, new, other):
        each.close()


def test_whoever_is_killed_or_timed_out_leaves_no_listener(real_hub: Hub, pipe: tuple[int, int]) -> None:
    waiting = started(trampoline, pipe[0], read=True)
    waiting.kill()
    with Timeout(0.001, False):
        trampoline(pipe[0], read=True)
    assert len(get_hub().listeners) == 0
    assert len(get_hub().poller) == 0


def test_a_socket_that_becomes_ready_with_nobody_there_wakes_the_hub_once_and_no_more(hub: FakeHub) -> None:
    left, right = socketpair()
    reading = started(left.recv, 10)
    right.send(b"x")
    assert reading.wait() == b"x"
    right.send(b"nobody reads this")
    before = hub.fake_poller.waits
    sleep(5)
    assert hub.fake_poller.waits - before <= 3
    left.close()
    right.close()


def test_a_daemon_that_closes_every_fd_goes_on_with_a_poller_of_its_own(real_hub: Hub, pipe: tuple[int, int]) -> None:
    poller = real_hub.poller
    waiting = started(trampoline, pipe[0], read=True)
    for fd in (poller._alarm.fd, poller._selector.fileno()):  # type: ignore[attr-defined]
        os.close(fd)
    spawn(os.write, pipe[1], b"x")
    with Timeout(10):
        waiting.wait()
