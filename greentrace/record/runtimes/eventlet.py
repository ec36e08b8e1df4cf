"""eventlet: what its methods mean.

eventlet is Python throughout, so every row is a method of a class. Whatever parks goes through a hub's `switch`, which
needs no hook: the switch itself is seen, and what it waits on was announced by the outermost hooked method, by the
listeners that the greenlet has registered, or by its timers. `Semaphore._do_acquire`, `LightQueue._unlock` need none either:
the hub calls them from a timer of no delay, and whoever armed that timer is who wakes.

What has no method to hook has a name of its own: an Event that `tpool.execute` makes is a native thread's result, and the
Event inside of a DAGPool stands for the keys that are awaited of it.

After `monkey_patch()` there are several copies of `threading` and `queue`; each in which greenlets wait gets its rows.
"""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, ModuleType
from typing import Any

from greentrace.events import Op, ResourceKind
from greentrace.record import recorder as _recorder
from greentrace.record.runtimes.adapter import Adapter, Hook, Kind, Maker, Told
from greentrace.record.runtimes.standard import QUEUE, THREADING

_HUB = "eventlet.hubs.hub"
_POOL, _SEMAPHORE, _QUEUE = ResourceKind.POOL, ResourceKind.SEMAPHORE, ResourceKind.QUEUE


def _event_of_dagpool(result: Any, dagpool: Any, *args: Any) -> None:
    """A DAGPool makes a new Event whenever a value has come."""
    event = getattr(dagpool, "event", None)
    if event is not None:
        _recorder.load()[1].stands_for(event, dagpool, _POOL)


def _queue_of_pile(result: Any, pile: Any, *args: Any) -> None:
    """A GreenPile keeps in a queue the greenlets of which the next result is asked."""
    waiters = getattr(pile, "waiters", None)
    if waiters is not None:
        _recorder.load()[1].stands_for(waiters, pile, _POOL)


def is_green(module: ModuleType) -> bool:
    """Whether greenlets wait in a copy of `threading` or `queue`, and not native threads (`patcher.original`)."""
    if "_allocate_lock" in vars(module):
        return not isinstance(module._allocate_lock, BuiltinFunctionType)
    return getattr(module, "threading", None) is not sys.modules.get("__original_module_threading")


ADAPTER = Adapter(
    name="eventlet",
    package="eventlet",
    hooks=(
        Hook(_HUB, "BaseHub", "__init__", "hub_created"),
        Hook(_HUB, "BaseHub", "run", "hub_runs"),
        Hook(_HUB, "BaseHub", "add", "ev_add"),
        Hook(_HUB, "BaseHub", "remove", "ev_remove"),
        Hook(_HUB, "BaseHub", "remove_descriptor", "ev_forget"),
        Hook(_HUB, "BaseHub", "add_timer", "ev_timer"),
        Hook(_HUB, "BaseHub", "timer_canceled", "ev_timer_cancel"),
        Hook(_HUB, "BaseHub", "mark_as_reopened", "fd_opened"),
        Hook(_HUB, "BaseHub", "notify_close", "fd_closed"),
        Hook("eventlet.hubs.poll", "Hub", "wait", "ev_wait"),
        Hook("eventlet.hubs.poll", "Hub", "do_poll", "ev_poll"),
        Hook("eventlet.hubs.epolls", "Hub", "do_poll", "ev_poll"),
        Hook("eventlet.hubs.selects", "Hub", "wait", "ev_wait"),
        Hook("eventlet.hubs.selects", "Hub", "add", "ev_add_called"),
        Hook("eventlet.hubs.asyncio", "Hub", "run", "hub_runs"),
        Hook("eventlet.hubs.asyncio", "Hub", "_file_cb", "ev_ready"),
        Hook("eventlet.hubs.timer", "Timer", "__call__", "ev_timer_call"),
        Hook("eventlet.hubs.timer", "LocalTimer", "__call__", "ev_timer_call"),
        Hook("eventlet.semaphore", "Semaphore", "__init__", "created", _SEMAPHORE),
        Hook("eventlet.semaphore", "Semaphore", "acquire", "acquire", _SEMAPHORE),
        Hook("eventlet.semaphore", "Semaphore", "__enter__", "enter", _SEMAPHORE),
        Hook("eventlet.semaphore", "Semaphore", "release", "release", _SEMAPHORE),
        Hook("eventlet.semaphore", "BoundedSemaphore", "release", "release", _SEMAPHORE),
        Hook("eventlet.semaphore", "CappedSemaphore", "__init__", "created", _SEMAPHORE),
        Hook("eventlet.semaphore", "CappedSemaphore", "acquire", "acquire", _SEMAPHORE),
        Hook("eventlet.semaphore", "CappedSemaphore", "__enter__", "enter", _SEMAPHORE),
        Hook("eventlet.semaphore", "CappedSemaphore", "release", "release", _SEMAPHORE, Op.PUT),
        Hook("eventlet.lock", "Lock", "release", "release", ResourceKind.LOCK),
        Hook("eventlet.event", "Event", "__init__", "created", ResourceKind.EVENT),
        Hook("eventlet.event", "Event", "wait", "wait", ResourceKind.EVENT),
        Hook("eventlet.event", "Event", "send", "set", ResourceKind.EVENT),
        Hook("eventlet.event", "Event", "reset", "clear", ResourceKind.EVENT),
        Hook("eventlet.queue", "LightQueue", "__init__", "created", _QUEUE),
        Hook("eventlet.queue", "LightQueue", "put", "put", _QUEUE),
        Hook("eventlet.queue", "LightQueue", "get", "get", _QUEUE),
        Hook("eventlet.queue", "Queue", "join", "wait", _QUEUE, Op.JOIN),
        Hook("eventlet.greenthread", "GreenThread", "wait", "join"),
        Hook("eventlet.greenpool", "GreenPool", "__init__", "created", _POOL),
        Hook("eventlet.greenpool", "GreenPool", "resize", "resized", _POOL),
        Hook("eventlet.greenpool", "GreenPool", "spawn", "pool_enter", _POOL, Op.ACQUIRE),
        Hook("eventlet.greenpool", "GreenPool", "spawn_n", "pool_enter", _POOL, Op.ACQUIRE),
        Hook("eventlet.greenpool", "GreenPool", "_spawn_n_impl", "pool_run", _POOL),
        Hook("eventlet.greenpool", "GreenPool", "_spawn_done", "pool_leave", _POOL),
        Hook("eventlet.greenpool", "GreenPool", "waitall", "composite", _POOL, Op.JOIN),
        Hook("eventlet.greenpool", "GreenPile", "__init__", "python", after=_queue_of_pile),
        Hook("eventlet.greenpool", "GreenMap", "__init__", "python", after=_queue_of_pile),
        Hook("eventlet.dagpool", "DAGPool", "__init__", "python", after=_event_of_dagpool),
        Hook("eventlet.dagpool", "DAGPool", "_wrapper", "named"),
        Hook("eventlet.dagpool", "DAGPool", "post", "python", after=_event_of_dagpool),
        Hook("eventlet.pools", "Pool", "__init__", "created", _POOL),
        Hook("eventlet.pools", "Pool", "resize", "resized", _POOL),
        Hook("eventlet.pools", "Pool", "get", "enter", _POOL),
        Hook("eventlet.pools", "Pool", "put", "release", _POOL),
        Hook("eventlet.db_pool", "BaseConnectionPool", "get", "enter", _POOL),
        Hook("eventlet.db_pool", "BaseConnectionPool", "put", "release", _POOL),
        Hook("eventlet.tpool", "", "execute", "ev_execute", ResourceKind.THREAD),
        Hook("eventlet.green.subprocess", "Popen", "wait", "wait", ResourceKind.PROCESS),
        Hook("eventlet.green.os", "", "waitpid", "ev_waitpid", ResourceKind.PROCESS),
        Hook("selectors", "_PollLikeSelector", "select", "ev_select"),
        Hook("selectors", "EpollSelector", "select", "ev_select"),
        Hook("selectors", "SelectSelector", "select", "ev_select"),
        *THREADING,
        *QUEUE,
    ),
    kinds=(
        Kind("eventlet.semaphore", "Semaphore", _SEMAPHORE),
        Kind("eventlet.lock", "Lock", ResourceKind.LOCK),
    ),
    makers=(
        Maker("eventlet.tpool", ("execute",), ResourceKind.THREAD),
        Maker("eventlet.asyncio", ("spawn_for_awaitable", "_run"), ResourceKind.RESULT),
    ),
    told=(
        Told("DAGPool", _POOL, ("wait", "wait_each", "waitall", "__getitem__"), "who computes the keys, if each is computed", ("post",)),
    ),
    named_types=(("eventlet.greenthread", "GreenThread"),),
    shared_modules=("threading", "queue", "selectors"),
    copies=(
        ("__patched_module_threading", "threading"),
        ("__patched_module_queue", "queue"),
        ("__original_module_selectors", "selectors"),
    ),
    is_green=is_green,
)
