"""Pools: so many at once and no more, slots first come first served, results in the order of the tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greentrace.hub import Event, GreenletExit, GreenPile, GreenPool, Queue, Semaphore, Timeout, getcurrent, sleep, spawn, use_hub

from .support import FakeHub, started, turns


def double(number: int) -> int:
    sleep(0)
    return number * 2


def fail(*_: Any) -> None:
    raise ZeroDivisionError("on purpose")


def test_a_task_has_its_result_like_any_green_thread() -> None:
    assert GreenPool(1).spawn(double, 21).wait() == 42
    with pytest.raises(ZeroDivisionError):
        GreenPool(1).spawn(fail).wait()


def test_never_more_run_than_there_are_slots() -> None:
    pool, inside, most = GreenPool(3), 0, 0

    def task() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        sleep(1)
        inside -= 1

    for _ in range(10):
        pool.spawn_n(task)
    pool.waitall()
    assert (most, inside, pool.free(), pool.running()) == (3, 0, 3, 0)


def test_running_free_and_waiting_count_who_is_where() -> None:
    pool, gate = GreenPool(2), Event()
    assert (pool.running(), pool.free(), pool.waiting()) == (0, 2, 0)
    for _ in range(2):
        pool.spawn(gate.wait)
    third = started(pool.spawn, gate.wait)
    assert (pool.running(), pool.free(), pool.waiting()) == (2, 0, 1)
    gate.send()
    third.wait()
    pool.waitall()
    assert (pool.running(), pool.free(), pool.waiting()) == (0, 2, 0)


def test_slots_go_to_those_who_wait_in_the_order_of_arrival() -> None:
    pool, order = GreenPool(1), []
    spawners = [started(pool.spawn, order.append, number) for number in range(6)]
    for each in spawners:
        each.wait()
    pool.waitall()
    assert order == list(range(6))


def test_a_task_that_raises_gives_its_slot_back_and_is_printed_once(capfd: pytest.CaptureFixture[str]) -> None:
    pool = GreenPool(1)
    for _ in range(3):
        pool.spawn_n(fail)
    pool.waitall()
    turns()
    assert pool.free() == 1
    assert capfd.readouterr().err.count("ZeroDivisionError: on purpose") == 3


@pytest.mark.parametrize("begun", [False, True])
def test_a_task_that_is_killed_gives_its_slot_back(begun: bool) -> None:
    pool = GreenPool(1)
    victim = pool.spawn(sleep, 100)
    if begun:
        turns()
    victim.kill()
    assert (pool.free(), pool.running()) == (1, 0)
    assert pool.spawn(double, 1).wait() == 2


def test_whoever_is_killed_while_waiting_for_a_slot_takes_none() -> None:
    pool, gate = GreenPool(1), Event()
    pool.spawn(gate.wait)
    waiting = started(pool.spawn, double, 1)
    waiting.kill()
    gate.send()
    pool.waitall()
    assert (pool.free(), pool.waiting()) == (1, 0)


def test_a_timeout_ends_the_wait_for_a_slot(hub: FakeHub) -> None:
    pool, gate = GreenPool(1), Event()
    pool.spawn(gate.wait)
    with Timeout(2, False) as timeout:
        pool.spawn(double, 1)
    assert (timeout.expired, hub.elapsed, pool.waiting()) == (True, 2, 0)
    gate.send()
    pool.waitall()
    assert pool.free() == 1


def test_a_task_of_a_full_pool_that_spawns_into_it_does_the_work_itself() -> None:
    pool, where = GreenPool(1), []

    def outer() -> Any:
        inner = pool.spawn(lambda: where.append(getcurrent()) or "inner")
        return getcurrent(), inner.wait()

    current, result = pool.spawn(outer).wait()
    assert result == "inner"
    assert where == [current]


def test_a_bigger_pool_lets_those_in_who_wait_and_a_smaller_one_waits_for_those_inside() -> None:
    pool, gate = GreenPool(1), Event()
    spawners = [started(pool.spawn, gate.wait) for _ in range(4)]
    assert (pool.running(), pool.waiting()) == (1, 3)
    pool.resize(3)
    turns()
    assert (pool.running(), pool.waiting()) == (3, 1)
    pool.resize(1)
    assert (pool.running(), pool.free()) == (3, -2)
    gate.send()
    for each in spawners:
        each.wait()
    pool.waitall()
    assert (pool.size, pool.free(), pool.running()) == (1, 1, 0)


def test_waitall_returns_at_once_when_nobody_runs_and_refuses_to_wait_for_itself() -> None:
    pool = GreenPool(2)
    pool.waitall()
    with pytest.raises(AssertionError):
        pool.spawn(pool.waitall).wait()


def test_many_can_wait_for_all() -> None:
    pool, gate = GreenPool(2), Event()
    pool.spawn(gate.wait)
    waiting = [started(pool.waitall) for _ in range(3)]
    gate.send()
    for each in waiting:
        each.wait()
    assert pool.running() == 0


@pytest.mark.parametrize(("size", "error"), [(-1, ValueError), ("many", TypeError), (None, TypeError)])
def test_a_size_that_is_none_is_refused(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        GreenPool(size)


# ---- maps and piles


def test_imap_gives_results_in_order_however_long_each_takes() -> None:
    def later(number: int) -> int:
        sleep(10 - number)
        return number

    assert list(GreenPool(10).imap(later, range(10))) == list(range(10))


def test_imap_takes_several_iterables_and_no_function_like_zip() -> None:
    assert list(GreenPool(3).imap(lambda left, right: left * right, range(4), range(10, 20))) == [0, 11, 24, 39]
    assert list(GreenPool(3).imap(None, "ab", "cd")) == [("a", "c"), ("b", "d")]
    assert list(GreenPool(3).starmap(divmod, [(7, 2), (9, 4)])) == [(3, 1), (2, 1)]
    assert list(GreenPool(3).imap(double, [])) == []


def test_a_task_that_raises_raises_at_its_place_and_the_rest_can_be_had() -> None:
    def picky(number: int) -> int:
        if number == 1:
            raise ValueError(number)
        return number

    results = GreenPool(2).imap(picky, range(3))
    assert next(results) == 0
    with pytest.raises(ValueError):
        next(results)
    assert next(results) == 2
    with pytest.raises(StopIteration):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_iterable_that_raises_raises_after_its_last_result() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("source")

    results = GreenPool(2).imap(double, broken())
    assert next(results) == 2
    with pytest.raises(KeyError):
        next(results)


def test_a_map_whose_results_nobody_takes_does_not_run_away() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = GreenPool(4).imap(double, endless())
    turns(50)
    first = taken
    assert first <= 10
    assert [next(results) for _ in range(5)] == [2, 4, 6, 8, 10]
    turns(50)
    assert taken <= first + 6


def test_maps_inside_a_map_of_a_pool_of_one_end() -> None:
    pool = GreenPool(1)
    assert list(pool.imap(lambda n: sum(pool.imap(double, range(n))), range(4))) == [0, 0, 2, 6]


def test_a_pile_gives_the_results_of_what_was_spawned_one_by_one() -> None:
    pile = GreenPile(2)
    for number in range(5):
        pile.spawn(double, number)
    assert list(pile) == [0, 2, 4, 6, 8]
    assert list(pile) == []
    pile.spawn(double, 7)
    assert next(pile) == 14


def test_two_piles_can_share_a_pool() -> None:
    pool = GreenPool(2)
    left, right = GreenPile(pool), GreenPile(pool)
    for number in range(4):
        left.spawn(double, number)
        right.spawn(double, -number)
    assert (list(left), list(right)) == ([0, 2, 4, 6], [0, -2, -4, -6])


def test_a_pile_raises_what_a_task_raised_and_goes_on() -> None:
    pile = GreenPile()
    pile.spawn(fail)
    pile.spawn(double, 2)
    with pytest.raises(ZeroDivisionError):
        next(pile)
    assert list(pile) == [4]


# ---- patterns of eventlet's documentation


def test_a_crawler_whose_tasks_find_new_tasks_ends_when_all_are_done() -> None:
    """Workers put what they find into a queue; the main loop spawns from it until it is empty and nobody is left."""
    links = {"/": ["a", "b"], "a": ["c", "b"], "b": [], "c": ["/", "d"], "d": []}
    pool, found, seen = GreenPool(2), Queue(), []

    def fetch(page: str) -> None:
        sleep(1)
        for link in links[page]:
            found.put(link)

    found.put("/")
    while True:
        while not found.empty():
            page = found.get()
            if page not in seen:
                seen.append(page)
                pool.spawn_n(fetch, page)
        pool.waitall()
        if found.empty():
            break
    assert sorted(seen) == ["/", "a", "b", "c", "d"]


def test_tasks_of_a_pool_can_share_a_semaphore_smaller_than_it() -> None:
    pool, narrow, log = GreenPool(10), Semaphore(2), []

    def task(number: int) -> int:
        with narrow:
            log.append(2 - narrow.counter)
            sleep(1)
        return number

    assert list(pool.imap(task, range(7))) == list(range(7))
    assert max(log) == 2


# ---- against a model


class PoolAgainstAModel(RuleBasedStateMachine):
    """Slots, those inside in any order of ending, and a line of those who wait."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = FakeHub()
        use_hub(self.hub)
        self.size = 2
        self.pool = GreenPool(2)
        self.inside: list[int] = []
        self.line: list[int] = []
        self.gates: dict[int, Event] = {}
        self.tasks: dict[int, Any] = {}
        self.spawners: dict[int, Any] = {}
        self.ran: list[int] = []
        self.expected: list[int] = []
        self.count = 0

    def task(self, number: int) -> None:
        self.ran.append(number)
        self.tasks[number] = getcurrent()
        self.gates[number].wait()

    def admit(self) -> None:
        while self.line and len(self.inside) < self.size:
            number = self.line.pop(0)
            self.inside.append(number)
            self.expected.append(number)
        turns(6)

    @rule()
    def spawn(self) -> None:
        self.count += 1
        self.gates[self.count] = Event()
        self.spawners[self.count] = spawn(self.pool.spawn, self.task, self.count)
        self.line.append(self.count)
        self.admit()

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), how=st.sampled_from(["return", "kill"]))
    def end(self, data: st.DataObject, how: str) -> None:
        number = data.draw(st.sampled_from(self.inside))
        self.inside.remove(number)
        if how == "return":
            self.gates[number].send()
        else:
            self.tasks[number].kill()
        self.admit()

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.line))
        self.line.remove(number)
        self.spawners[number].kill()
        self.admit()

    @rule(size=st.integers(0, 4))
    def resize(self, size: int) -> None:
        self.size = size
        self.pool.resize(size)
        self.admit()

    @invariant()
    def the_same_are_inside_and_in_line(self) -> None:
        assert self.ran == self.expected
        assert (self.pool.running(), self.pool.waiting()) == (len(self.inside), len(self.line))
        assert self.pool.free() == self.size - len(self.inside)

    def teardown(self) -> None:
        self.pool.resize(1000)
        for gate in self.gates.values():
            if not gate.ready():
                gate.send()
        turns(10)
        assert self.pool.running() == 0
        assert len(self.hub.timers) == 0


TestPoolAgainstAModel = PoolAgainstAModel.TestCase


def test_a_killed_pool_task_tells_whoever_waits_for_it() -> None:
    task = GreenPool(1).spawn(sleep, 100)
    turns()
    task.kill()
    with pytest.raises(GreenletExit):
        task.wait()
