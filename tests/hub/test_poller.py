"""The poller: which fds are ready, whatever way the system is asked, and numbers that are closed and used again."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from greentrace.hub.poller import Poller, make_selector


@pytest.fixture
def poller(polling: str) -> Iterator[Poller]:
    made = Poller(polling)
    yield made
    made.close()


def test_an_fd_is_ready_for_what_was_asked_and_nothing_else(poller: Poller) -> None:
    left, right = socket.socketpair()
    with left, right:
        poller.listen(left.fileno(), EVENT_READ)
        assert poller.wait(0) == []
        right.send(b"x")
        assert poller.wait(0) == [(left.fileno(), EVENT_READ)]
        poller.listen(left.fileno(), EVENT_READ | EVENT_WRITE)
        assert poller.wait(0) == [(left.fileno(), EVENT_READ | EVENT_WRITE)]
        poller.forget(left.fileno())
        assert poller.wait(0) == []
        assert len(poller) == 0


def test_to_forget_an_unknown_or_closed_fd_is_no_error(poller: Poller) -> None:
    left, right = socket.socketpair()
    fd = left.fileno()
    poller.listen(fd, EVENT_READ)
    left.close()
    right.close()
    poller.forget(fd)
    poller.forget(fd)
    assert poller.wait(0) == []


def test_a_number_that_was_closed_behind_its_back_and_is_used_again_is_watched_anew(poller: Poller) -> None:
    read, write = os.pipe()
    poller.listen(read, EVENT_READ)
    os.close(read)
    os.close(write)
    again, write = os.pipe()
    assert again == read
    poller.listen(again, EVENT_READ)
    os.write(write, b"x")
    assert poller.wait(0) == [(again, EVENT_READ)]
    poller.forget(again)
    os.close(again)
    os.close(write)


def test_another_mode_for_such_a_number_works_too(poller: Poller) -> None:
    left, right = socket.socketpair()
    fd = left.fileno()
    poller.listen(fd, EVENT_READ)
    left.close()
    again = socket.socket(fileno=os.dup(right.fileno()))
    assert again.fileno() == fd
    poller.listen(fd, EVENT_WRITE)
    assert poller.wait(0) == [(fd, EVENT_WRITE)]
    poller.forget(fd)
    again.close()
    right.close()


@pytest.mark.parametrize("name", ["poll", "select"])
def test_a_closed_fd_does_not_stop_the_polling_of_the_others(name: str) -> None:
    poller = Poller(name)
    closed, write = os.pipe()
    poller.listen(closed, EVENT_READ)
    os.close(closed)
    assert poller.wait(0) == [(closed, EVENT_READ)]
    poller.forget(closed)
    os.close(write)
    poller.close()


def test_the_alarm_of_another_thread_ends_the_wait_and_only_one(poller: Poller) -> None:
    thread = threading.Thread(target=poller.alarm)
    thread.start()
    assert poller.wait(None) == []
    thread.join()
    left, right = socket.socketpair()
    poller.listen(left.fileno(), EVENT_WRITE)
    assert poller.wait(None) == [(left.fileno(), EVENT_WRITE)]
    poller.forget(left.fileno())
    left.close()
    right.close()


def test_to_close_it_twice_closes_nobody_elses_fd(polling: str) -> None:
    poller = Poller(polling)
    poller.close()
    read, write = os.pipe()
    poller.close()
    poller.alarm()
    os.close(read)
    os.close(write)


def test_select_says_which_fds_it_cannot_watch() -> None:
    poller = Poller("select")
    with pytest.raises(ValueError, match="Choose epoll or poll"):
        poller.listen(1024, EVENT_READ)
    poller.close()


def test_the_environment_chooses_when_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENTRACE_HUB", "poll")
    assert type(make_selector()).__name__ == "PollSelector"
    assert type(make_selector("select")).__name__ == "SelectSelector"
    monkeypatch.setenv("GREENTRACE_HUB", "")
    assert type(make_selector()).__name__ == "EpollSelector"


def test_an_unknown_way_of_polling_is_named_together_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENTRACE_HUB", "kqueues")
    with pytest.raises(ValueError, match="'kqueues'.*epoll, poll, select.*GREENTRACE_HUB"):
        make_selector()


def test_whoever_is_about_to_ring_the_alarm_of_a_poller_that_closes_rings_no_other_file() -> None:
    poller = Poller()
    known = poller._alarm
    assert known is not None
    poller.close()
    # Its number is not given to anybody else before the last one lets go.
    assert "eventfd" in os.readlink(f"/proc/self/fd/{known.fd}")
    os.eventfd_write(known.fd, 1)
    fd = known.fd
    del known
    assert not os.path.exists(f"/proc/self/fd/{fd}")
    poller.alarm()
    assert poller.is_closed
