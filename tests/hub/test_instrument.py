"""The observer: every word of the vocabulary is said when it is true, by each part of the hub, and nothing when nobody listens."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greentrace import hub as package
from greentrace.events import Mode, Op, ResourceKind
from greentrace.hub import (
    Condition,
    Event,
    GreenPool,
    Lock,
    Queue,
    RLock,
    Semaphore,
    Timeout,
    call_soon_threadsafe,
    get_hub,
    getcurrent,
    instrument,
    kill,
    sleep,
    socketpair,
    spawn,
    tpool,
    trampoline,
)
from greentrace.hub.instrument import Instrument

from .support import Diary, FakeHub, started, turns

HERE = Path(package.__file__).parent
VOCABULARY = {name for name in vars(Instrument) if not name.startswith("_")}


def listen_to(**names: Any) -> Diary:
    diary = Diary(main=getcurrent(), **names)
    instrument.install(diary)
    return diary


def test_a_green_thread_is_named_and_woken_and_a_turn_given_away_is_a_wake_of_oneself() -> None:
    diary = listen_to()
    diary.call_it("worker", spawn(turns, 1))
    sleep(0)
    instrument.uninstall()
    assert diary.about("name", "wake") == ["name greenthread turns", "wake greenthread", "wake main", "wake worker"]


def test_a_sleep_is_a_park_with_a_timer_that_fires(hub: FakeHub) -> None:
    diary = listen_to()
    sleep(1)
    instrument.uninstall()
    due = int((1000.0 + 1) * 1e9)
    assert diary.about("park", "timer_add", "timer_fire", "wake", "unpark") == [
        f"park {Op.SLEEP} None {ResourceKind.SLEEP}",
        f"timer_add timer {due} main False",
        "timer_fire timer",
        "wake main",
        "unpark",
    ]


@pytest.mark.parametrize(
    ("make", "kind", "capacity"),
    [(lambda: Semaphore(1), ResourceKind.SEMAPHORE, 1), (Lock, ResourceKind.LOCK, 1), (RLock, ResourceKind.RLOCK, 1)],
)
def test_a_lock_tells_who_waits_who_has_it_and_who_hands_it_on(make: Callable[[], Any], kind: int, capacity: int) -> None:
    diary = listen_to()
    lock = diary.call_it("it", make())
    lock.acquire()
    waiting = diary.call_it("waiter", started(lambda: (lock.acquire(), lock.release())))
    lock.release()
    waiting.wait()
    instrument.uninstall()
    assert diary.lines[0] == f"resource {type(lock).__name__.lower()} {kind} {capacity}"
    assert [
        line for line in diary.about("acquire", "release", "park", "wake", "unpark") if "main" not in line and "greenthread" not in line
    ] == [
        f"acquire it {kind}",
        f"park {Op.ACQUIRE} it {kind}",
        f"release it {kind}",
        "wake waiter",
        f"park {Op.JOIN} waiter {ResourceKind.GREENLET}",
        "unpark",
        f"acquire it {kind}",
        f"release it {kind}",
        "unpark",
    ]


def test_an_event_tells_when_it_is_sent_and_reset() -> None:
    diary = listen_to()
    event = diary.call_it("it", Event())
    diary.call_it("waiter", started(event.wait))
    event.send()
    event.reset()
    instrument.uninstall()
    told = [line for line in diary.lines if line.split()[0] in ("park", "set", "clear") or line == "wake waiter"]
    assert told == [f"park {Op.WAIT} it {ResourceKind.EVENT}", "set it", "wake waiter", "clear it"]
    sleep(0)


def test_a_queue_tells_what_goes_in_and_out_and_how_much_is_left() -> None:
    diary = listen_to()
    queue = diary.call_it("it", Queue(1))
    assert diary.lines == [f"resource queue {ResourceKind.QUEUE} 1"]
    queue.put("a")
    diary.call_it("maker", started(queue.put, "b"))
    assert queue.get() == "a"
    assert queue.get() == "b"
    sleep(0)
    diary.call_it("taker", started(queue.get))
    queue.put("c")
    sleep(0)
    instrument.uninstall()
    told = [line for line in diary.lines if line.split()[0] in ("park", "put", "get") or line in ("wake maker", "wake taker")]
    assert told == [
        "put it 1",
        f"park {Op.PUT} it {ResourceKind.QUEUE}",
        "wake maker",
        "get it 1",
        "get it 0",
        "put it 0",
        f"park {Op.GET} it {ResourceKind.QUEUE}",
        "wake taker",
        "put it 0",
        "get it 0",
    ]


def test_a_condition_a_pool_and_an_os_thread_are_waited_for_as_what_they_are(real_hub: Any) -> None:
    diary = listen_to()
    condition, pool = diary.call_it("condition", Condition()), GreenPool(1)
    diary.call_it("slots", pool._slots)

    def wait() -> None:
        with condition:
            condition.wait()

    waiting = started(wait)
    with condition:
        condition.notify()
    waiting.wait()
    task = pool.spawn(sleep, 0)
    second = spawn(pool.spawn, sleep, 0)
    second.wait()
    pool.waitall()
    tpool.execute(int)
    task.wait()
    instrument.uninstall()
    parks = diary.about("park")
    for park in (
        f"park {Op.WAIT} condition {ResourceKind.CONDITION}",
        f"park {Op.ACQUIRE} slots {ResourceKind.POOL}",
        f"park {Op.JOIN} slots {ResourceKind.POOL}",
        f"park {Op.WAIT} None {ResourceKind.THREAD}",
    ):
        assert park in parks
    # Who has a slot is the green thread in it.
    assert len(diary.about("acquire")) == len(diary.about("release"))
    assert f"acquire slots {ResourceKind.POOL}" in diary.lines


def test_a_listener_is_added_is_ready_and_is_removed(real_hub: Any) -> None:
    left, right = socketpair()
    diary = listen_to()
    diary.call_it("reader", started(left.recv, 1))
    right.send(b"x")
    sleep(0)
    sleep(0)
    number = left.fileno()
    left.close()
    right.close()
    instrument.uninstall()
    assert [line.replace("greenthread", "reader") for line in diary.about("park", "fd_add", "fd_ready", "fd_remove", "fd_close")] == [
        f"fd_add {number} {Mode.READ} reader",
        f"park {Op.READ} {number} {ResourceKind.FD}",
        f"fd_ready {number} {Mode.READ} reader",
        f"fd_remove {number} {Mode.READ} reader",
        f"fd_close {number}",
        f"fd_close {diary.lines[-1].split()[1]}",
    ]


def test_a_new_socket_opens_its_number() -> None:
    diary = listen_to()
    left, right = socketpair()
    instrument.uninstall()
    assert diary.about("fd_open") == [f"fd_open {left.fileno()}", f"fd_open {right.fileno()}"]
    left.close()
    right.close()


def test_a_timeout_is_a_timer_that_throws_and_a_wait_that_is_given_up_is_unparked(hub: FakeHub) -> None:
    reader, writer = os.pipe()
    diary = listen_to()
    with Timeout(1, False):
        trampoline(reader, read=True)
    with Timeout(5):
        pass
    instrument.uninstall()
    assert diary.about("timer_add", "timer_fire", "timer_cancel", "unpark") == [
        f"timer_add timer {1001 * 10**9} main True",
        "timer_fire timer",
        "unpark",
        f"timer_add timer {1006 * 10**9} main True",
        "timer_cancel timer",
    ]
    os.close(reader)
    os.close(writer)


def test_a_killer_makes_its_victim_and_itself_runnable() -> None:
    victim = started(sleep, 100)
    diary = listen_to(victim=victim)
    kill(victim)
    instrument.uninstall()
    assert diary.about("wake") == ["wake victim", "wake main"]


def test_the_hub_introduces_itself_and_tells_of_polls_callbacks_and_errors(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    def wrong() -> None:
        raise ZeroDivisionError("on purpose")

    diary = listen_to(hub=hub.greenlet)
    call_soon_threadsafe(hub, wrong)
    sleep(1)
    instrument.uninstall()
    assert diary.about("hub") == ["hub hub"]
    assert diary.about("error") == ["error ZeroDivisionError: on purpose"]
    assert diary.about("callback") == [f"callback {wrong.__qualname__}"]
    assert f"poll_begin {10**9}" in diary.lines
    assert [line.split()[0] for line in diary.about("poll_begin", "poll_end")] == ["poll_begin", "poll_end"] * len(diary.about("poll_end"))
    capfd.readouterr()


def test_every_word_is_said_somewhere_in_the_hub_and_only_after_asking_whether_anybody_listens() -> None:
    said = set()
    for path in HERE.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "observer is not None" in ast.unparse(node.test):
                calls = [child.func for child in ast.walk(node) if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute)]
                said |= {call.attr for call in calls if ast.unparse(call.value) == "observer"}
    assert VOCABULARY - said == {"hub"}, "only `_introduce` is asked beforehand"


@pytest.mark.parametrize("core", ["native", "python"])
def test_both_recorders_speak_the_whole_vocabulary_with_the_same_arguments(core: str) -> None:
    if core == "native":
        if importlib.util.find_spec("greentrace.record._native") is None:
            pytest.skip("there is no native recorder here: it was installed without a C compiler")
        from greentrace.record import _native as recorder
    else:
        from greentrace.record.twin import Twin as recorder  # type: ignore[no-redef]
    assert [word for word in sorted(VOCABULARY) if not callable(getattr(recorder, word, None))] == []
    if core == "python":
        for word in VOCABULARY:
            ours = list(inspect.signature(getattr(Instrument, word)).parameters)
            theirs = list(inspect.signature(getattr(recorder, word)).parameters)
            assert len(ours) == len(theirs), word


def test_an_observer_that_comes_late_is_told_which_greenlet_the_hub_is(hub: FakeHub) -> None:
    sleep(1)
    diary = listen_to(hub=get_hub().greenlet)
    sleep(1)
    instrument.uninstall()
    assert diary.about("hub") == ["hub hub"]
