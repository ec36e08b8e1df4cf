"""Scenarios: little programs whose outcome whoever knows Eventlet knows. Run on Eventlet and on the hub by `test_like_eventlet`.

python -m tests.hub.scenarios      runs them on Eventlet; prints their logs, and the keywords of all that it has, as JSON

In:  a face: one of the runtimes, by the same names. Out: a log a scenario, of plain values. Never: a sleep to be right; where
moments matter their order does, not their length. Eventlet has a process of its own, for it is not the guest of a whole test run.
"""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

FUNCTIONS = {
    "": ("connect", "listen", "serve", "sleep", "spawn", "spawn_n", "with_timeout"),
    "greenthread": ("spawn_after", "spawn_after_local", "kill", "cancel"),
    "timeout": ("is_timeout",),
    "tpool": ("execute",),
    "hubs": ("trampoline", "use_hub"),
}
CLASSES = {
    "": ("GreenPool", "GreenPile", "Timeout"),
    "greenthread": ("GreenThread",),
    "event": ("Event",),
    "semaphore": ("Semaphore", "BoundedSemaphore"),
    "queue": ("LightQueue", "Queue", "LifoQueue", "PriorityQueue"),
}
"""Module of Eventlet -> what it has that the hub has too. There all of it is in the package itself."""


def eventlet_face() -> SimpleNamespace:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import eventlet
        import eventlet.event
        import eventlet.hubs
        import eventlet.queue
        import eventlet.semaphore
        import eventlet.tpool
    found = {
        name: getattr(getattr(eventlet, module) if module else eventlet, name)
        for table in (FUNCTIONS, CLASSES)
        for module, names in table.items()
        for name in names
    }
    ends = {"Empty": eventlet.queue.Empty, "Full": eventlet.queue.Full, "Exit": eventlet.greenlet.GreenletExit}
    return SimpleNamespace(**found, **ends, current=eventlet.getcurrent)


def hub_face() -> SimpleNamespace:
    from greentrace import hub

    found = {name: getattr(hub, name) for table in (FUNCTIONS, CLASSES) for names in table.values() for name in names if name != "execute"}
    ends = {"Empty": hub.Empty, "Full": hub.Full, "Exit": hub.GreenletExit}
    return SimpleNamespace(**found, **ends, current=hub.getcurrent, execute=hub.tpool.execute)


def keywords(face: SimpleNamespace) -> dict[str, list[str]]:
    """Return what can be given by name to each function and method of the face."""
    found: dict[str, Any] = {name: getattr(face, name) for names in FUNCTIONS.values() for name in names}
    for names in CLASSES.values():
        for name in names:
            made = getattr(face, name)
            methods = {key for base in made.__mro__ for key in vars(base) if base.__module__.split(".")[0] in ("eventlet", "greentrace")}
            methods = {key for key in methods if (key == "__init__" or not key.startswith("_")) and callable(getattr(made, key))}
            found |= {f"{name}.{key}": getattr(made, key) for key in methods}
    return {
        name: [each.name for each in inspect.signature(function).parameters.values() if each.default is not each.empty]
        for name, function in found.items()
    }


Scenario = Callable[[Any, list[Any]], None]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


def attempt(log: list[Any], function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Log what it returns, or the name of what it raises."""
    try:
        log.append(function(*args, **kwargs))
    except BaseException as error:
        log.append(type(error).__name__)


@scenario
def spawned_functions_take_turns(rt: Any, log: list[Any]) -> None:
    def turns(name: str) -> str:
        for number in range(3):
            log.append((name, number))
            rt.sleep(0)
        return name

    threads = [rt.spawn(turns, name) for name in "abc"]
    rt.spawn_n(log.append, "n")
    log.append("main")
    log.extend(each.wait() for each in threads)


@scenario
def links_are_called_in_order_with_the_green_thread_and_their_arguments(rt: Any, log: list[Any]) -> None:
    thread = rt.spawn(lambda: 1)
    for number in range(3):
        thread.link(lambda t, *args, **kwargs: log.append((t is thread, t.wait(), args, kwargs)), number, key=number)
    taken = log.append
    thread.link(taken)
    log.append(thread.unlink(taken))
    log.append(bool(thread.unlink(taken)))
    thread.wait()
    thread.link(lambda t: log.append("at once"))


@scenario
def exceptions_come_out_of_every_wait(rt: Any, log: list[Any]) -> None:
    thread = rt.spawn(lambda: 1 // 0)
    attempt(log, thread.wait)
    attempt(log, thread.wait)


@scenario
def kill_before_during_and_after(rt: Any, log: list[Any]) -> None:
    def work() -> str:
        try:
            log.append("begun")
            rt.sleep(10)
        except rt.Exit:
            log.append("killed")
            raise
        return "never"

    early, midway, late = rt.spawn(work), rt.spawn(work), rt.spawn(lambda: "done")
    early.kill()
    log.append("after the first")
    rt.sleep(0)
    midway.kill()
    log.append("after the second")
    late.wait()
    late.kill()
    for each in (early, midway, late):
        attempt(log, each.wait)


@scenario
def kill_with_another_exception(rt: Any, log: list[Any]) -> None:
    thread = rt.spawn(rt.sleep, 10)
    rt.sleep(0)
    rt.kill(thread, ValueError("x"))
    attempt(log, thread.wait)


@scenario
def cancel_works_only_before_the_beginning(rt: Any, log: list[Any]) -> None:
    waiting, running = rt.spawn_after(10, log.append, "never"), rt.spawn(lambda: (rt.sleep(0), "ran")[1])
    rt.sleep(0)
    waiting.cancel()
    running.cancel()
    attempt(log, running.wait)
    attempt(log, waiting.wait)


@scenario
def later_ones_come_in_the_order_of_their_moments(rt: Any, log: list[Any]) -> None:
    threads = [rt.spawn_after(seconds, log.append, seconds) for seconds in (0.03, 0.01, 0.02, 0)]
    for each in threads:
        each.wait()


@scenario
def an_event_is_sent_once_and_can_be_reset(rt: Any, log: list[Any]) -> None:
    event = rt.Event()
    log.append((event.ready(), event.has_result(), event.has_exception(), event.poll("not yet")))
    attempt(log, event.reset)
    waiting = [rt.spawn(event.wait) for _ in range(2)]
    rt.sleep(0)
    event.send("result")
    log.extend(each.wait() for each in waiting)
    log.append((event.ready(), event.wait(), event.poll(), event.poll_result(), event.poll_exception("none")))
    attempt(log, event.send, "again")
    event.reset()
    event.send_exception(ValueError, "wrong")
    log.append((event.ready(), event.has_result(), event.has_exception(), event.poll_result("none")))
    attempt(log, event.wait)
    attempt(log, event.poll_exception)
    other = rt.Event()
    attempt(log, other.wait, 0.001)
    other.send(exc=KeyError("k"))
    attempt(log, other.wait)


@scenario
def semaphores_count(rt: Any, log: list[Any]) -> None:
    semaphore = rt.Semaphore(2)
    log += [semaphore.acquire(), semaphore.acquire(blocking=False), semaphore.acquire(blocking=False), semaphore.acquire(timeout=0.001)]
    log += [semaphore.locked(), semaphore.balance, semaphore.bounded()]
    waiting = rt.spawn(semaphore.acquire)
    rt.sleep(0)
    log += [semaphore.balance, semaphore.release(), waiting.wait(), semaphore.balance]
    attempt(log, semaphore.acquire, timeout=-2)
    attempt(log, semaphore.acquire, blocking=False, timeout=1)
    attempt(log, rt.Semaphore, -1)
    bounded = rt.BoundedSemaphore(1)
    log.append(bounded.bounded())
    attempt(log, bounded.release)


@scenario
def queues_order_and_limit(rt: Any, log: list[Any]) -> None:
    for make in (rt.Queue, rt.LifoQueue, rt.PriorityQueue):
        queue = make(3)
        for item in (2, 3, 1):
            queue.put(item)
        log += [queue.full(), queue.empty(), queue.qsize()]
        attempt(log, queue.put_nowait, 4)
        attempt(log, queue.put, 4, timeout=0.001)
        log += [queue.get() for _ in range(3)]
        attempt(log, queue.get_nowait)
        attempt(log, queue.get, timeout=0.001)
        log += [queue.full(), queue.empty(), queue.getting(), queue.putting()]


@scenario
def a_queue_without_room_hands_over(rt: Any, log: list[Any]) -> None:
    queue = rt.LightQueue(0)
    attempt(log, queue.put_nowait, 1)
    putting = rt.spawn(queue.put, "x")
    rt.sleep(0)
    log += [queue.putting(), queue.get(), putting.wait()]
    getting = rt.spawn(queue.get)
    rt.sleep(0)
    log.append(queue.getting())
    queue.put("y")
    log.append(getting.wait())


@scenario
def tasks_are_done_and_joined(rt: Any, log: list[Any]) -> None:
    queue = rt.Queue()
    attempt(log, queue.task_done)
    queue.put(1)
    queue.put(2)
    joining = rt.spawn(lambda: (queue.join(), log.append("joined"))[0])
    for _ in range(2):
        queue.get()
        rt.sleep(0)
        log.append("one more")
        queue.task_done()
    joining.wait()
    queue.join()


@scenario
def a_queue_can_be_resized(rt: Any, log: list[Any]) -> None:
    queue = rt.LightQueue(1)
    putting = [rt.spawn(queue.put, number) for number in range(3)]
    rt.sleep(0)
    log.append((queue.qsize(), queue.putting()))
    queue.resize(2)
    rt.sleep(0)
    rt.sleep(0)
    log.append((queue.qsize(), queue.putting()))
    queue.resize(None)
    for each in putting:
        each.wait()
    # Who was let in first is chance on Eventlet.
    log.append(sorted(queue.get() for _ in range(3)))


@scenario
def a_pool_counts_and_waits(rt: Any, log: list[Any]) -> None:
    pool, event = rt.GreenPool(2), rt.Event()
    threads = [pool.spawn(event.wait) for _ in range(2)]
    log.append((pool.free(), pool.running(), pool.waiting(), pool.size))
    third = rt.spawn(pool.spawn, lambda: "third")
    rt.sleep(0)
    log.append((pool.free(), pool.running(), pool.waiting()))
    event.send("sent")
    log += [each.wait() for each in threads]
    log.append(third.wait().wait())
    pool.waitall()
    pool.resize(5)
    log.append((pool.free(), pool.running(), pool.waiting(), pool.size))
    attempt(log, rt.GreenPool, "x")
    attempt(log, rt.GreenPool, -1)
    attempt(log, pool.spawn(pool.waitall).wait)


@scenario
def maps_and_piles_keep_the_order(rt: Any, log: list[Any]) -> None:
    pool = rt.GreenPool(3)

    def later(number: int) -> int:
        for _ in range(5 - number):
            rt.sleep(0)
        return number

    log += [list(pool.imap(later, range(5))), list(pool.starmap(divmod, [(7, 2), (5, 3)])), list(pool.imap(None, "ab"))]
    results = pool.imap(lambda n: 1 // n, [1, 0, 1])
    for _ in range(4):
        attempt(log, next, results)
    pile = rt.GreenPile(pool)
    for number in range(4):
        pile.spawn(later, number)
    log += [pile.next(), list(pile), list(pile)]


@scenario
def timeouts_strike_nest_and_are_silent(rt: Any, log: list[Any]) -> None:
    def limited(seconds: Any, exception: Any, sleep: float) -> str:
        with rt.Timeout(seconds, exception):
            rt.sleep(sleep)
        return "left"

    attempt(log, limited, 0.001, None, 10)
    attempt(log, limited, 0.001, False, 10)
    attempt(log, limited, 0.001, ValueError, 10)
    attempt(log, limited, 0.001, KeyError("x"), 10)
    attempt(log, limited, None, None, 0)
    attempt(log, limited, 10, None, 0)
    with rt.Timeout(0.002, False) as outer:
        log.append((limited(0.001, False, 10), outer.pending))
        rt.sleep(10)
        log.append("not reached")
    log.append(outer.pending)
    attempt(log, rt.with_timeout, 0.001, rt.sleep, 10, timeout_value="late")
    attempt(log, rt.with_timeout, 0.001, rt.sleep, 10)
    for arguments in ((1,), (2,), (1.5,), (3, False), (3, "words")):
        timeout = rt.Timeout(*arguments)
        timeout.cancel()
        log.append((str(timeout), rt.is_timeout(timeout)))


@scenario
def a_full_pools_member_does_its_own_work(rt: Any, log: list[Any]) -> None:
    pool = rt.GreenPool(1)

    def outer() -> str:
        inner = pool.spawn(lambda: log.append(rt.current() is member))
        inner.wait()
        pool.spawn_n(log.append, "n")
        return "outer"

    member = pool.spawn(outer)
    log.append(member.wait())


@scenario
def a_queue_timeout_leaves_nobody_behind(rt: Any, log: list[Any]) -> None:
    queue = rt.Queue()

    def hurried() -> None:
        with rt.Timeout(0.001, False):
            queue.get()
        log.append("gave up")

    thread = rt.spawn(hurried)
    thread.wait()
    queue.put("kept")
    log.append((queue.getting(), queue.qsize(), queue.get()))


def run(name: str, face: SimpleNamespace) -> Any:
    """Return the log of a scenario, as plain values."""
    log: list[Any] = []
    SCENARIOS[name](face, log)
    return json.loads(json.dumps(log))


if __name__ == "__main__":
    theirs = eventlet_face()
    json.dump({"logs": {name: run(name, theirs) for name in SCENARIOS}, "keywords": keywords(theirs)}, sys.stdout)
