"""The thread pool and the look-up of names: others run meanwhile, and answers come to whoever asked."""

from __future__ import annotations

import os
import socket as standard
import threading
from typing import Any

import pytest

from greentrace.hub import Hub, Timeout, get_hub, resolve, sleep, socket, spawn, threads, tpool

pytestmark = pytest.mark.usefixtures("real_hub")


def test_the_function_runs_in_another_os_thread_and_its_result_comes_back() -> None:
    here = threading.get_ident()
    there, result = tpool.execute(lambda left, right=0: (threading.get_ident(), left + right), 1, right=2)
    assert there != here
    assert result == 3


def test_green_threads_run_while_a_job_blocks() -> None:
    gate, order = threading.Event(), []

    def open_gate() -> None:
        order.append("green")
        gate.set()

    spawn(open_gate)
    assert tpool.execute(gate.wait, 30)
    assert order == ["green"]


@pytest.mark.parametrize("error", [ZeroDivisionError("on purpose"), SystemExit(3), Timeout(None)])
def test_what_the_function_raises_is_raised_where_it_was_asked_for(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        tpool.execute(fail)
    assert caught.value is error


def test_whoever_is_killed_meanwhile_does_not_stop_the_job_and_nobody_gets_its_result() -> None:
    gate, finished = threading.Event(), threading.Event()

    def job() -> str:
        gate.wait(30)
        finished.set()
        return "late"

    asking = spawn(tpool.execute, job)
    sleep(0)
    asking.kill()
    gate.set()
    assert tpool.execute(finished.wait, 30)
    sleep(0)
    assert asking.dead


def test_a_timeout_ends_the_wait_for_a_job() -> None:
    gate = threading.Event()
    with Timeout(0.01, False) as timeout:
        tpool.execute(gate.wait, 30)
    gate.set()
    assert timeout.expired


def test_more_jobs_than_threads_all_end_and_never_more_threads_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SIZE", 3)
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    idents = [spawn(tpool.execute, lambda n: (n, threading.get_ident()), number) for number in range(40)]
    answers = [each.wait() for each in idents]
    assert [number for number, _ in answers] == list(range(40))
    assert len({ident for _, ident in answers}) <= 3


def test_jobs_that_execute_jobs_do_not_wait_for_each_others_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SIZE", 1)
    monkeypatch.setattr(threads, "_pool", threads._Pool())

    def outer() -> tuple[int, int]:
        return threading.get_ident(), tpool.execute(threading.get_ident)

    here, inner = tpool.execute(outer)
    assert here == inner


def test_without_threads_a_job_runs_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SIZE", 0)
    assert tpool.execute(threading.get_ident) == threading.get_ident()


def test_each_os_thread_has_its_answers_in_its_own_hub() -> None:
    found: dict[int, list[Any]] = {}

    def ask(number: int) -> None:
        found[number] = [tpool.execute(lambda: number) for _ in range(20)]
        assert isinstance(get_hub(), Hub)

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for each in askers:
        each.start()
    for each in askers:
        tpool.execute(each.join, 30)
    assert found == {number: [number] * 20 for number in range(4)}


def test_a_job_in_the_child_of_a_fork_has_a_thread_of_its_own() -> None:
    assert tpool.execute(lambda: 1) == 1
    pid = os.fork()
    if not pid:
        os._exit(0 if tpool.execute(lambda: 7) == 7 else 1)
    assert os.waitstatus_to_exitcode(tpool.execute(os.waitpid, pid, 0)[1]) == 0


# ---- names


def lookups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have every look-up of the system note in which OS thread it is made."""
    seen: list[int] = []

    def noting(name: str) -> Any:
        original = getattr(standard, name)

        def look_up(*args: Any) -> Any:
            seen.append(threading.get_ident())
            return original(*args)

        return look_up

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"):
        monkeypatch.setattr(resolve._standard, name, noting(name))
    return seen


def test_a_name_is_looked_up_in_another_thread_and_a_number_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = lookups(monkeypatch)
    assert socket.getaddrinfo("127.0.0.1", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4] == ("127.0.0.1", 80)
    assert socket.gethostbyname("127.0.0.1") == "127.0.0.1"
    assert set(seen) == {threading.get_ident()}
    seen.clear()
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    assert ("127.0.0.1", 80) in [entry[4] for entry in socket.getaddrinfo("localhost", 80)]
    assert socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV) == ("127.0.0.1", "80")
    assert len(seen) == 3
    assert threading.get_ident() not in seen


def test_a_look_up_that_fails_raises_as_the_standard_librarys_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> None:
        raise standard.gaierror(standard.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(resolve._standard, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        socket.create_connection(("nobody.invalid", 80))
