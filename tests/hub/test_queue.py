"""Queues: order, room, fairness, and no item that is lost or eaten by somebody who no longer waits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from greentrace.hub import Empty, Full, GreenThread, LifoQueue, LightQueue, PriorityQueue, Queue, Timeout, sleep, spawn, use_hub

from .support import FakeHub, Stalled, started, turns


@pytest.mark.parametrize(
    ("kind", "order"), [(Queue, [3, 1, 2]), (LightQueue, [3, 1, 2]), (LifoQueue, [2, 1, 3]), (PriorityQueue, [1, 2, 3])]
)
def test_each_kind_has_its_order(kind: type[LightQueue], order: list[int]) -> None:
    queue = kind()
    for item in (3, 1, 2):
        queue.put(item)
    assert queue.qsize() == 3
    assert [queue.get() for _ in order] == order
    assert queue.empty()


def test_get_waits_for_put_and_put_waits_for_room() -> None:
    queue = Queue(1)
    done: list[str] = []

    def produce() -> None:
        for item in "abc":
            queue.put(item)
            done.append(f"put {item}")

    producer = started(produce)
    assert done == ["put a"]
    assert (queue.full(), queue.putting()) == (True, 1)
    assert [queue.get() for _ in range(3)] == ["a", "b", "c"]
    producer.wait()
    consumer = started(queue.get)
    assert queue.getting() == 1
    queue.put("d")
    assert consumer.wait() == "d"


def test_consumers_are_served_in_the_order_of_arrival_and_cannot_be_overtaken() -> None:
    queue = Queue()
    consumers = [started(queue.get) for _ in range(3)]
    for item in "abc":
        queue.put(item)
    with pytest.raises(Empty):
        queue.get_nowait()
    assert [thread.wait() for thread in consumers] == ["a", "b", "c"]


def test_producers_get_room_in_the_order_of_arrival() -> None:
    queue = Queue(1)
    for item in range(5):
        started(queue.put, item)
    assert [queue.get() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_queue_of_size_zero_hands_from_one_to_the_other() -> None:
    queue = Queue(0)
    assert queue.empty()
    assert queue.full()
    producer = started(queue.put, "item")
    assert not producer.dead
    assert queue.get() == "item"
    producer.wait()
    consumer = started(queue.get)
    queue.put_nowait("now")
    assert consumer.wait() == "now"
    with pytest.raises(Full):
        queue.put_nowait("nobody is there")


def test_timeouts_raise_empty_and_full(hub: FakeHub) -> None:
    queue = Queue(1)
    with pytest.raises(Empty):
        queue.get(timeout=2)
    queue.put(1)
    with pytest.raises(Full):
        queue.put(2, timeout=3)
    with pytest.raises(Full):
        queue.put(2, block=False)
    assert hub.elapsed == 5
    assert (queue.getting(), queue.putting(), queue.qsize()) == (0, 0, 1)


def test_an_item_for_somebody_who_is_killed_goes_to_the_next_or_back_in_its_place() -> None:
    queue = Queue()
    first, second = started(queue.get), started(queue.get)
    queue.put("one")
    first.kill()
    assert second.wait() == "one"
    third = started(queue.get)
    queue.put("two")
    queue.put("three")
    third.kill()
    assert [queue.get(), queue.get()] == ["two", "three"]


def test_a_producer_that_is_killed_takes_its_item_along() -> None:
    queue = Queue(1)
    queue.put("in")
    started(queue.put, "out").kill()
    assert queue.get() == "in"
    assert queue.empty()


def test_a_timeout_object_does_not_eat_an_item() -> None:
    queue = Queue()
    with Timeout(1, False):
        queue.get()
    queue.put("item")
    assert queue.get_nowait() == "item"


def test_join_waits_until_everything_is_dealt_with() -> None:
    queue = Queue()
    log: list[object] = []

    def consume() -> None:
        for _ in range(3):
            log.append(queue.get())
            sleep(1)
            queue.task_done()

    for item in range(3):
        queue.put(item)
    spawn(consume)
    queue.join()
    assert log == [0, 1, 2]
    with pytest.raises(ValueError, match="too many"):
        queue.task_done()
    queue.join()


def test_a_task_can_be_done_before_its_producer_runs_again() -> None:
    queue = Queue(0)
    producer = started(queue.put, "item")
    queue.get()
    queue.task_done()
    producer.wait()
    queue.join()


def test_more_room_lets_producers_in() -> None:
    queue = Queue(1)
    producers = [started(queue.put, item) for item in range(4)]
    queue.resize(3)
    turns()
    assert [thread.dead for thread in producers] == [True, True, True, False]
    queue.resize(None)
    turns()
    assert producers[3].dead
    assert queue.qsize() == 4


def test_two_who_wait_for_each_others_items_wait_for_ever() -> None:
    one, two = Queue(), Queue()
    threads = [spawn(one.get), spawn(two.get)]
    with pytest.raises(Stalled):
        threads[0].wait()
    for thread in threads:
        thread.kill()


class QueueAgainstAModel(RuleBasedStateMachine):
    """Whatever happens to those who wait: every item that was put is got once, in order, or still there."""

    @initialize(size=st.sampled_from([None, 0, 1, 3]))
    def make(self, size: int | None) -> None:
        use_hub(FakeHub())
        self.size = size
        self.queue = LightQueue(size)
        self.put: list[int] = []
        self.got: list[Any] = []
        self.killed: set[int] = set()
        self.threads: list[GreenThread] = []
        self.count = 0

    def produce(self, item: int, timeout: float | None) -> None:
        try:
            self.queue.put(item, timeout=timeout)
        except Full:
            self.killed.add(item)
        except BaseException:
            if item not in self.got and item not in self.queue.queue:
                self.killed.add(item)
            raise

    def consume(self, timeout: float | None) -> None:
        try:
            self.got.append(self.queue.get(timeout=timeout))
        except Empty:
            pass

    @rule(timeout=st.sampled_from([None, 1]))
    def come_to_put(self, timeout: float | None) -> None:
        self.count += 1
        self.put.append(self.count)
        self.threads.append(started(self.produce, self.count, timeout))

    @rule(timeout=st.sampled_from([None, 1]))
    def come_to_get(self, timeout: float | None) -> None:
        self.threads.append(started(self.consume, timeout))

    @precondition(lambda self: self.threads)
    @rule(data=st.data())
    def kill_somebody(self, data: st.DataObject) -> None:
        thread = data.draw(st.sampled_from(self.threads))
        self.threads.remove(thread)
        thread.kill()

    @rule(first=st.booleans(), data=st.data())
    def put_and_kill_the_getter_at_once(self, first: bool, data: st.DataObject) -> None:
        if not self.queue.getting():
            return
        self.count += 1
        self.put.append(self.count)
        self.queue.put(self.count)
        parked = [thread for thread in self.threads if not thread.dead]
        if parked and first:
            self.kill_somebody(data)

    @rule()
    def pass_time(self) -> None:
        sleep(1)

    @invariant()
    def nothing_is_lost_nor_out_of_order(self) -> None:
        turns(3)
        waiting = [each.offer for each in self.queue._putters._waiters or ()]
        here = [*self.got, *self.queue.queue, *waiting]
        assert here == [item for item in self.put if item not in self.killed]
        assert not (self.queue.getting() and (self.queue.queue or waiting))
        if waiting:
            assert self.queue.full()

    def teardown(self) -> None:
        for thread in getattr(self, "threads", ()):
            thread.kill()


TestQueueAgainstAModel = QueueAgainstAModel.TestCase
