"""gevent: what its methods mean.

gevent's primitives are Cython types: static, without Python frames, and C calls between them pass our hooks by. So every
entry that Python code can call has a row. Whatever parks goes through `Hub.wait` or a primitive's own method; who wakes
is the last to touch the resource, the fd, the timer, or whoever put the greenlet's switch among the loop's callbacks.

Poll begin and end come from a prepare and a check watcher in each hub's loop.
"""

from __future__ import annotations

from typing import Any

from greentrace.events import Op, ResourceKind
from greentrace.record import recorder as _recorder
from greentrace.record.runtimes.adapter import Adapter, Hook, Kind

_SEMAPHORE = "gevent._gevent_c_semaphore"
_EVENT = "gevent._gevent_cevent"
_QUEUE = "gevent._gevent_cqueue"
_GREENLET = "gevent._gevent_cgreenlet"
_LINKABLE = "gevent._gevent_c_abstract_linkable"
_LOOP = "gevent.libev.corecext"


def _hub_made(result: Any, hub: Any, *args: Any) -> None:
    """A hub exists from now on in this thread: trace the thread, and ask the loop to say when it polls."""
    _, recorder = _recorder.load()
    recorder.start_thread()
    watch_polls(hub)


def watch_polls(hub: Any) -> None:
    """Install the prepare and check watchers of one hub; to be called in its own thread."""
    _, recorder = _recorder.load()
    loop = hub.loop
    try:
        # The lowest priority runs last before the poll, the highest first after it.
        before = loop.prepare(ref=False, priority=loop.MINPRI)
        after = loop.check(ref=False, priority=loop.MAXPRI)
    except (TypeError, AttributeError, NotImplementedError):
        # libuv has no prepare watchers.
        return
    before.start(recorder.poll_begin, -1)
    after.start(recorder.poll_end, -1)
    _poll_watchers.append((before, after))


_poll_watchers: list[tuple[Any, Any]] = []


def unwatch_polls() -> None:
    """Stop the watchers of every hub of this thread."""
    for pair in _poll_watchers:
        for watcher in pair:
            watcher.stop()
            watcher.close()
    _poll_watchers.clear()


ADAPTER = Adapter(
    name="gevent",
    package="gevent",
    hooks=(
        Hook("gevent.hub", "Hub", "__init__", "python", after=_hub_made),
        Hook("gevent.hub", "Hub", "wait", "ge_wait"),
        Hook(_SEMAPHORE, "Semaphore", "acquire", "acquire", ResourceKind.SEMAPHORE),
        Hook(_SEMAPHORE, "Semaphore", "__enter__", "enter", ResourceKind.SEMAPHORE),
        Hook(_SEMAPHORE, "Semaphore", "release", "release", ResourceKind.SEMAPHORE),
        Hook(_SEMAPHORE, "Semaphore", "__exit__", "release", ResourceKind.SEMAPHORE),
        Hook(_SEMAPHORE, "Semaphore", "wait", "wait", ResourceKind.SEMAPHORE),
        Hook(_SEMAPHORE, "BoundedSemaphore", "release", "release", ResourceKind.SEMAPHORE),
        Hook("gevent.thread", "LockType", "__init__", "created", ResourceKind.LOCK),
        Hook("gevent.thread", "LockType", "acquire", "acquire", ResourceKind.LOCK),
        Hook("gevent.lock", "RLock", "__init__", "created", ResourceKind.RLOCK),
        Hook("gevent.lock", "RLock", "acquire", "acquire", ResourceKind.RLOCK),
        Hook("gevent.lock", "RLock", "__enter__", "acquire", ResourceKind.RLOCK),
        Hook("gevent.lock", "RLock", "release", "release", ResourceKind.RLOCK),
        Hook("gevent.lock", "RLock", "__exit__", "release", ResourceKind.RLOCK),
        Hook("gevent.lock", "RLock", "_release_save", "release_all", ResourceKind.RLOCK),
        Hook("gevent.lock", "RLock", "_acquire_restore", "acquire_again", ResourceKind.RLOCK),
        Hook(_EVENT, "Event", "wait", "wait", ResourceKind.EVENT),
        Hook(_EVENT, "Event", "set", "set", ResourceKind.EVENT),
        Hook(_EVENT, "Event", "clear", "clear", ResourceKind.EVENT),
        Hook(_EVENT, "AsyncResult", "get", "wait", ResourceKind.RESULT, Op.GET),
        Hook(_EVENT, "AsyncResult", "wait", "wait", ResourceKind.RESULT),
        Hook(_EVENT, "AsyncResult", "set", "set", ResourceKind.RESULT),
        Hook(_EVENT, "AsyncResult", "set_exception", "set", ResourceKind.RESULT),
        Hook(_QUEUE, "SimpleQueue", "get", "get", ResourceKind.QUEUE),
        Hook(_QUEUE, "SimpleQueue", "peek", "wait", ResourceKind.QUEUE, Op.GET),
        Hook(_QUEUE, "SimpleQueue", "put", "put", ResourceKind.QUEUE),
        Hook(_QUEUE, "UnboundQueue", "put", "put", ResourceKind.QUEUE),
        Hook(_QUEUE, "Queue", "join", "wait", ResourceKind.QUEUE, Op.JOIN),
        Hook(_QUEUE, "Channel", "get", "get", ResourceKind.CHANNEL),
        Hook(_QUEUE, "Channel", "put", "put", ResourceKind.CHANNEL),
        Hook(_GREENLET, "Greenlet", "join", "join"),
        Hook(_GREENLET, "Greenlet", "get", "join"),
        Hook(_GREENLET, "Greenlet", "kill", "join"),
        Hook(_GREENLET, "Greenlet", "rawlink", "ge_link"),
        Hook(_GREENLET, "Greenlet", "unlink", "ge_unlink"),
        Hook(_LINKABLE, "AbstractLinkable", "rawlink", "ge_link"),
        Hook(_LINKABLE, "AbstractLinkable", "unlink", "ge_unlink"),
        Hook("gevent.pool", "Pool", "__init__", "created", ResourceKind.POOL),
        Hook("gevent.pool", "Pool", "add", "pool_enter", ResourceKind.POOL),
        Hook("gevent.pool", "Pool", "_discard", "pool_leave", ResourceKind.POOL),
        Hook("gevent.pool", "Pool", "wait_available", "composite", ResourceKind.POOL),
        Hook(_LOOP, "io", "start", "ge_io_start"),
        Hook(_LOOP, "timer", "start", "ge_timer_start"),
        Hook(_LOOP, "timer", "again", "ge_timer_start"),
        Hook(_LOOP, "watcher", "stop", "ge_stop"),
        Hook(_LOOP, "watcher", "close", "ge_stop"),
        Hook(_LOOP, "loop", "run_callback", "ge_callback"),
        Hook(_LOOP, "loop", "closing_fd", "fd_closed"),
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
        Kind(_SEMAPHORE, "Semaphore", ResourceKind.SEMAPHORE, init=True),
        Kind(_SEMAPHORE, "BoundedSemaphore", ResourceKind.SEMAPHORE, init=True),
        Kind("gevent.thread", "LockType", ResourceKind.LOCK),
        Kind(_EVENT, "Event", ResourceKind.EVENT, init=True),
        Kind(_EVENT, "AsyncResult", ResourceKind.RESULT, init=True),
        Kind(_QUEUE, "SimpleQueue", ResourceKind.QUEUE, init=True),
        Kind(_QUEUE, "Queue", ResourceKind.QUEUE, init=True),
        Kind(_QUEUE, "PriorityQueue", ResourceKind.QUEUE, init=True),
        Kind(_QUEUE, "LifoQueue", ResourceKind.QUEUE, init=True),
        Kind(_QUEUE, "UnboundQueue", ResourceKind.QUEUE, init=True),
        Kind(_QUEUE, "Channel", ResourceKind.CHANNEL, init=True),
        Kind(_LOOP, "io", ResourceKind.FD),
        Kind(_LOOP, "timer", ResourceKind.SLEEP),
        Kind(_LOOP, "async_", ResourceKind.THREAD),
        Kind(_LOOP, "child", ResourceKind.PROCESS),
        Kind(_LOOP, "signal", ResourceKind.SIGNAL),
    ),
    hub_types=(("gevent.hub", "Hub"),),
    shared_modules=("threading",),
)
