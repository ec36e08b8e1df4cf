"""eventlet: what its methods mean.

eventlet is Python throughout, so every row is a method of a class. Whatever parks goes through a hub's `switch`, which
needs no hook: the switch itself is seen, and what it waits on was announced by the outermost hooked method, by the
listeners that the greenlet has registered, or by its timers. `Semaphore._do_acquire`, `LightQueue._unlock` need none either:
who touched a resource last is who woke the one that waits on it.

After `monkey_patch()` there are several copies of `threading`; each gets its rows when it is imported.
"""

from __future__ import annotations

from greentrace.events import Op, ResourceKind
from greentrace.record.runtimes.adapter import Adapter, Hook, Kind

_HUB = "eventlet.hubs.hub"

ADAPTER = Adapter(
    name="eventlet",
    package="eventlet",
    hooks=(
        Hook(_HUB, "BaseHub", "__init__", "hub_created"),
        Hook(_HUB, "BaseHub", "run", "hub_runs"),
        Hook(_HUB, "BaseHub", "add", "ev_add"),
        Hook(_HUB, "BaseHub", "remove", "ev_remove"),
        Hook(_HUB, "BaseHub", "add_timer", "ev_timer"),
        Hook(_HUB, "BaseHub", "timer_canceled", "ev_timer_cancel"),
        Hook(_HUB, "BaseHub", "mark_as_reopened", "fd_opened"),
        Hook(_HUB, "BaseHub", "notify_close", "fd_closed"),
        Hook("eventlet.hubs.poll", "Hub", "wait", "ev_wait"),
        Hook("eventlet.hubs.poll", "Hub", "do_poll", "ev_poll"),
        Hook("eventlet.hubs.epolls", "Hub", "do_poll", "ev_poll"),
        Hook("eventlet.hubs.selects", "Hub", "wait", "ev_wait"),
        Hook("eventlet.hubs.timer", "Timer", "__call__", "ev_timer_call"),
        Hook("eventlet.hubs.timer", "LocalTimer", "__call__", "ev_timer_call"),
        Hook("eventlet.semaphore", "Semaphore", "__init__", "created", ResourceKind.SEMAPHORE),
        Hook("eventlet.semaphore", "Semaphore", "acquire", "acquire", ResourceKind.SEMAPHORE),
        Hook("eventlet.semaphore", "Semaphore", "__enter__", "enter", ResourceKind.SEMAPHORE),
        Hook("eventlet.semaphore", "Semaphore", "release", "release", ResourceKind.SEMAPHORE),
        Hook("eventlet.semaphore", "BoundedSemaphore", "release", "release", ResourceKind.SEMAPHORE),
        Hook("eventlet.lock", "Lock", "release", "release", ResourceKind.LOCK),
        Hook("eventlet.event", "Event", "__init__", "created", ResourceKind.EVENT),
        Hook("eventlet.event", "Event", "wait", "wait", ResourceKind.EVENT),
        Hook("eventlet.event", "Event", "send", "set", ResourceKind.EVENT),
        Hook("eventlet.event", "Event", "reset", "clear", ResourceKind.EVENT),
        Hook("eventlet.queue", "LightQueue", "__init__", "created", ResourceKind.QUEUE),
        Hook("eventlet.queue", "LightQueue", "put", "put", ResourceKind.QUEUE),
        Hook("eventlet.queue", "LightQueue", "get", "get", ResourceKind.QUEUE),
        Hook("eventlet.queue", "Queue", "join", "wait", ResourceKind.QUEUE, Op.JOIN),
        Hook("eventlet.greenthread", "GreenThread", "wait", "join"),
        Hook("eventlet.greenpool", "GreenPool", "__init__", "created", ResourceKind.POOL),
        Hook("eventlet.greenpool", "GreenPool", "spawn", "pool_enter", ResourceKind.POOL),
        Hook("eventlet.greenpool", "GreenPool", "spawn_n", "composite", ResourceKind.POOL),
        Hook("eventlet.greenpool", "GreenPool", "_spawn_done", "pool_leave", ResourceKind.POOL),
        Hook("eventlet.greenpool", "GreenPool", "waitall", "composite", ResourceKind.POOL, Op.JOIN),
        Hook("threading", "_RLock", "__init__", "created", ResourceKind.RLOCK),
        Hook("threading", "_RLock", "acquire", "acquire", ResourceKind.RLOCK),
        Hook("threading", "_RLock", "__enter__", "acquire", ResourceKind.RLOCK),
        Hook("threading", "_RLock", "release", "release", ResourceKind.RLOCK),
        Hook("threading", "_RLock", "_release_save", "release_all", ResourceKind.RLOCK),
        Hook("threading", "_RLock", "_acquire_restore", "acquire_again", ResourceKind.RLOCK),
        Hook("threading", "Condition", "wait", "wait", ResourceKind.CONDITION),
        Hook("threading", "Condition", "notify", "set", ResourceKind.CONDITION),
        # Of a plain lock; an RLock brings its own.
        Hook("threading", "Condition", "_acquire_restore", "apart"),
    ),
    kinds=(
        Kind("eventlet.semaphore", "Semaphore", ResourceKind.SEMAPHORE),
        Kind("eventlet.lock", "Lock", ResourceKind.LOCK),
    ),
    named_types=(("eventlet.greenthread", "GreenThread"),),
    shared_modules=("threading",),
)
