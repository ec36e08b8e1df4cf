"""Semaphores and locks: permits, the line, owners, timeouts, and the deadlock that says nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greentrace.hub import BoundedSemaphore, GreenThread, Lock, RLock, Semaphore, Timeout, kill, sleep, spawn, use_hub

from .support import FakeHub, Stalled, started, turns


def test_as_many_pass_as_there_are_permits() -> None:
    semaphore = Semaphore(2)
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with semaphore:
            inside.append(number)
            most.append(len(inside))
            sleep(1)
            inside.remove(number)

    for thread in [spawn(work, number) for number in range(6)]:
        thread.wait()
    assert max(most) == 2
    assert semaphore.counter == 2


@pytest.mark.parametrize("make", [Semaphore, BoundedSemaphore, Lock, RLock])
def test_the_order_of_service_is_the_order_of_arrival(make: Callable[[], Any]) -> None:
    lock = make()
    order: list[int] = []

    def work(number: int) -> None:
        with lock:
            order.append(number)
            sleep(0)

    for thread in [spawn(work, number) for number in range(20)]:
        thread.wait()
    assert order == list(range(20))


def test_whoever_comes_after_a_release_cannot_overtake_the_first_in_line() -> None:
    lock = Lock()
    order: list[str] = []
    lock.acquire()

    def patient() -> None:
        with lock:
            order.append("patient")

    thread = started(patient)
    lock.release()
    assert not lock.acquire(blocking=False)
    assert lock.locked()
    lock.acquire()
    order.append("greedy")
    thread.wait()
    assert order == ["patient", "greedy"]


def test_a_permit_that_was_handed_to_somebody_who_is_killed_goes_to_the_next() -> None:
    lock = Lock()
    lock.acquire()
    first, second = started(lock.acquire), started(lock.acquire)
    lock.release()
    kill(first)
    assert second.wait() is True
    lock.release()
    assert not lock.locked()


def test_whoever_is_killed_in_line_is_not_handed_anything() -> None:
    lock = Lock()
    lock.acquire()
    started(lock.acquire).kill()
    lock.release()
    assert lock.acquire(blocking=False)


def test_a_timeout_gives_up_and_leaves_the_line(hub: FakeHub) -> None:
    semaphore = Semaphore(0)
    assert semaphore.acquire(timeout=2) is False
    assert hub.elapsed == 2
    assert semaphore.balance == 0
    semaphore.release()
    assert semaphore.acquire(timeout=2) is True
    assert semaphore.acquire(timeout=0) is False


def test_a_release_at_the_very_moment_of_the_timeout_is_not_lost() -> None:
    semaphore = Semaphore(0)
    waiting = started(lambda: semaphore.acquire(timeout=1))
    sleep(1)
    semaphore.release()
    got = waiting.wait()
    assert semaphore.counter + got == 1


def test_a_timeout_object_ends_the_wait_and_leaves_the_line() -> None:
    lock = Lock()
    lock.acquire()
    with Timeout(1, False) as timeout:
        lock.acquire()
    assert timeout.expired
    lock.release()
    assert not lock.locked()


def test_acquire_says_what_makes_no_sense() -> None:
    semaphore = Semaphore(0)
    with pytest.raises(ValueError, match="-2"):
        semaphore.acquire(timeout=-2)
    with pytest.raises(ValueError, match="timeout"):
        semaphore.acquire(blocking=False, timeout=1)
    with pytest.raises(ValueError, match="-1"):
        Semaphore(-1)
    with pytest.raises(TypeError, match="'many'"):
        Semaphore("many")  # type: ignore[arg-type]


def test_balance_counts_permits_above_and_waiters_below_zero() -> None:
    semaphore = Semaphore(1)
    assert (semaphore.balance, semaphore.locked(), semaphore.bounded()) == (1, False, False)
    semaphore.acquire()
    threads = [started(semaphore.acquire) for _ in range(3)]
    assert (semaphore.balance, semaphore.locked()) == (-3, True)
    for thread in threads:
        semaphore.release()
        thread.wait()
    assert semaphore.balance == 0


def test_a_bounded_semaphore_minds_being_released_too_often() -> None:
    semaphore = BoundedSemaphore(1)
    with pytest.raises(ValueError, match="too many"):
        semaphore.release()
    with semaphore:
        pass


def test_a_lock_cannot_be_released_when_it_is_free_but_by_anybody_when_it_is_not() -> None:
    lock = Lock()
    with pytest.raises(RuntimeError, match="unlocked"):
        lock.release()
    lock.acquire()
    spawn(lock.release).wait()
    assert not lock.locked()


def test_the_owner_of_an_rlock_may_take_it_again_and_nobody_else() -> None:
    lock = RLock()
    with lock, lock:
        assert spawn(lock.acquire, False).wait() is False
        with pytest.raises(RuntimeError, match="un-acquired"):
            spawn(lock.release).wait()
    assert spawn(lock.acquire, False).wait() is True


def test_two_locks_in_opposite_order_deadlock_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    one, two = Lock(), Lock()

    def take(first: Lock, second: Lock) -> None:
        with first:
            sleep(1)
            with second:
                pass

    threads = [spawn(take, one, two), spawn(take, two, one)]
    with pytest.raises(Stalled):
        threads[0].wait()
    assert capfd.readouterr().err == ""
    for thread in threads:
        thread.kill()
    assert not one.locked()
    assert not two.locked()


def test_a_release_by_another_os_thread_wakes_the_waiter(hub: FakeHub) -> None:
    use_hub()
    semaphore = Semaphore(0)
    thread = threading.Timer(0.01, semaphore.release)
    thread.start()
    assert semaphore.acquire()
    thread.join()


class SemaphoreAgainstAModel(RuleBasedStateMachine):
    """Whatever happens to those in line: permits are neither lost nor made, and the order is that of arrival."""

    def __init__(self) -> None:
        super().__init__()
        use_hub(FakeHub())
        self.semaphore = Semaphore(2)
        self.permits = 2
        self.arrived: list[int] = []
        self.served: list[int] = []
        self.threads: dict[int, GreenThread] = {}
        self.count = 0

    def work(self, number: int, timeout: float | None) -> None:
        if self.semaphore.acquire(timeout=timeout):
            self.served.append(number)
        else:
            self.arrived.remove(number)

    @rule(timeout=st.sampled_from([None, 1, 3]))
    def come(self, timeout: float | None) -> None:
        self.count += 1
        self.arrived.append(self.count)
        self.threads[self.count] = started(self.work, self.count, timeout)

    @rule()
    def release(self) -> None:
        self.permits += 1
        self.semaphore.release()

    @precondition(lambda self: self.threads)
    @rule(data=st.data(), how=st.sampled_from([None, ValueError]))
    def kill_somebody(self, data: st.DataObject, how: type[Exception] | None) -> None:
        number = data.draw(st.sampled_from(sorted(self.threads)))
        thread = self.threads[number]
        if not thread.dead:
            self.arrived.remove(number)
            thread.link(lambda _: None)
            with contextlib.suppress(ValueError):
                thread.kill(*([how] if how else []))

    @rule(seconds=st.sampled_from([0, 1, 2]))
    def pass_time(self, seconds: float) -> None:
        sleep(seconds)

    @invariant()
    def nobody_waits_while_there_is_a_permit_and_order_holds(self) -> None:
        turns(2)
        waiting = [number for number, thread in self.threads.items() if not thread.dead]
        assert self.semaphore.counter == self.permits - len(self.served)
        assert self.semaphore.balance == self.semaphore.counter - len(waiting)
        assert not (waiting and self.semaphore.counter)
        assert self.served == sorted(self.served)

    def teardown(self) -> None:
        for thread in self.threads.values():
            thread.kill()


TestSemaphoreAgainstAModel = SemaphoreAgainstAModel.TestCase
