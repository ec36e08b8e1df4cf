"""Conditions: a change is waited for with the lock given back, and notified in the order of arrival."""

from __future__ import annotations

import pytest

from greentrace.hub import Condition, Lock, RLock, Semaphore, Timeout, sleep

from .support import FakeHub, started, turns


def in_line(condition: Condition, order: list[object], name: object) -> None:
    with condition:
        order.append((name, condition.wait()))


def test_notify_wakes_as_many_as_one_says_in_the_order_of_arrival() -> None:
    condition, order = Condition(), []
    threads = [started(in_line, condition, order, number) for number in range(4)]
    for count, seen in [(1, [0]), (2, [0, 1, 2])]:
        with condition:
            condition.notify(count)
        turns()
        assert [name for name, _ in order] == seen
    with condition:
        condition.notify_all()
    for each in threads:
        each.wait()
    assert order == [(number, True) for number in range(4)]


def test_who_was_notified_goes_on_only_when_the_lock_is_his() -> None:
    condition, order = Condition(), []
    waiting = started(in_line, condition, order, "waiter")
    with condition:
        condition.notify()
        turns()
        assert order == []
    waiting.wait()
    assert order == [("waiter", True)]


@pytest.mark.parametrize("make", [Lock, RLock])
def test_whoever_has_not_the_lock_can_neither_wait_nor_notify(make: type[Lock]) -> None:
    condition = Condition(make())
    for function in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError):
            function()


def test_a_lock_taken_several_times_is_given_back_whole_and_taken_as_often() -> None:
    condition = Condition()
    with condition, condition:
        helper = started(lambda: condition.__enter__().notify() or condition.release())
        assert condition.wait()
        assert condition._lock.is_mine()
        assert condition._lock._depth == 2
    helper.wait()
    assert not condition._lock.locked()


def test_a_timeout_returns_false_with_the_lock_in_hand(hub: FakeHub) -> None:
    condition = Condition()
    with condition:
        assert condition.wait(2) is False
        assert condition._lock.is_mine()
    assert hub.elapsed == 2


def test_a_notification_for_somebody_who_is_killed_goes_to_the_next() -> None:
    condition, order = Condition(), []
    first, second = (started(in_line, condition, order, name) for name in "ab")
    with condition:
        condition.notify()
    first.kill()
    second.wait()
    assert order == [("b", True)]


def test_wait_for_returns_what_the_predicate_says_and_in_time(hub: FakeHub) -> None:
    condition, store = Condition(), []

    def produce() -> None:
        for number in range(3):
            sleep(1)
            with condition:
                store.append(number)
                condition.notify_all()

    maker = started(produce)
    with condition:
        assert condition.wait_for(lambda: len(store) >= 3 and store, timeout=10) == [0, 1, 2]
        assert hub.elapsed == 3
        assert condition.wait_for(lambda: False, timeout=2) is False
    assert hub.elapsed == 5
    maker.wait()


def test_a_timeout_object_ends_the_wait_and_the_lock_is_taken_again_before() -> None:
    condition, mine = Condition(), []

    def use() -> None:
        with condition:
            try:
                condition.wait()
            finally:
                mine.append(condition._lock.is_mine())

    with pytest.raises(Timeout), Timeout(1):
        use()
    assert mine == [True]
    assert not condition._lock.locked()


def test_a_bounded_buffer_made_of_a_condition_loses_nothing() -> None:
    condition, buffer, got, done = Condition(), [], [], Semaphore(0)

    def consume() -> None:
        for _ in range(10):
            with condition:
                condition.wait_for(lambda: buffer)
                got.append(buffer.pop(0))
                condition.notify_all()
        done.release()

    def produce(first: int) -> None:
        for number in range(first, first + 10):
            with condition:
                condition.wait_for(lambda: len(buffer) < 2)
                buffer.append(number)
                condition.notify_all()

    for each in [started(consume), started(consume), started(produce, 0), started(produce, 100)]:
        each.wait()
    assert sorted(got) == [*range(10), *range(100, 110)]
