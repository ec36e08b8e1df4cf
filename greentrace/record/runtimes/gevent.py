"""gevent: what its methods mean.

gevent's primitives are Cython types: static, without Python frames, and C calls between them pass our hooks by. So every
entry that Python code can call has a row, and iteration has its slot. Whatever parks goes through `Hub.wait` or a primitive's
own method; who wakes is the last to touch the resource, the fd, the timer, or whoever put the greenlet's switch among the
loop's callbacks. The modules are named as users import them: with GEVENT_PURE_PYTHON=1 they hold classes in Python, which
have the same rows. What an AsyncResult takes over from the greenlet that it is linked to was that greenlet's doing.

There are three loops: libev in Cython, and libev and libuv through cffi. Poll begin and end come from a prepare and a check
watcher in each hub's loop; cffi's loops have no prepare watcher that runs after their callbacks, so there the end of those
callbacks is the begin.
"""

from __future__ import annotations

import sys
from typing import Any

from greentrace.events import Op, ResourceKind
from greentrace.record import recorder as _recorder
from greentrace.record.runtimes.adapter import Adapter, Hook, Kind
from greentrace.record.runtimes.standard import QUEUE, THREADING

_SEMAPHORE = "gevent._semaphore"
_EVENT = "gevent.event"
_QUEUE = "gevent.queue"
_GREENLET = "gevent.greenlet"
_LINKABLE = "gevent._abstract_linkable"
_IMAP = "gevent._imap"
_COREXT = "gevent.libev.corecext"
_CFFI = "gevent._ffi.watcher"
_LIBEV = "gevent.libev.watcher"
_LIBUV = "gevent.libuv.watcher"

_BY_TIMERS = -2
"""poll_begin: gevent's loops do not tell how long they will wait; it is until the earliest timer."""


def _hub_made(result: Any, hub: Any, *args: Any) -> None:
    """A hub exists from now on in this thread: trace the thread, and ask the loop to say when it polls."""
    _, recorder = _recorder.load()
    recorder.start_thread()
    watch_polls(hub)


def watch_polls(hub: Any) -> None:
    """Install the prepare and check watchers of one hub; to be called in its own thread."""
    _, recorder = _recorder.load()
    loop = hub.loop
    watchers = []
    if type(loop).__module__ == _COREXT:
        # The lowest priority runs last before the poll.
        watchers.append(loop.prepare(ref=False, priority=loop.MINPRI))
        watchers[0].start(recorder.poll_begin, _BY_TIMERS)
    after = loop.check(ref=False, priority=loop.MAXPRI)
    after.start(recorder.poll_end, -1)
    _poll_watchers.append((*watchers, after))


def _callbacks_ran(result: Any, *args: Any) -> None:
    """A cffi loop has run its callbacks. Before a poll it does so for the prepare watcher of its own, and elsewhere too."""
    frame = sys._getframe(1)
    for _ in range(4):
        if frame.f_code.co_name == "python_prepare_callback":
            _recorder.load()[1].poll_begin(_BY_TIMERS)
            return
        if frame.f_back is None:
            return
        frame = frame.f_back


_poll_watchers: list[tuple[Any, ...]] = []


def unwatch_polls() -> None:
    """Stop the watchers of every hub of this thread."""
    for watchers in _poll_watchers:
        for watcher in watchers:
            watcher.stop()
            watcher.close()
    _poll_watchers.clear()


_QUEUES = ("SimpleQueue", "Queue", "PriorityQueue", "LifoQueue", "UnboundQueue")

_LOCKS = (
    Hook(_SEMAPHORE, "Semaphore", "__init__", "created", ResourceKind.SEMAPHORE),
    Hook(_SEMAPHORE, "Semaphore", "acquire", "acquire", ResourceKind.SEMAPHORE),
    Hook(_SEMAPHORE, "Semaphore", "__enter__", "enter", ResourceKind.SEMAPHORE),
    Hook(_SEMAPHORE, "Semaphore", "release", "release", ResourceKind.SEMAPHORE),
    Hook(_SEMAPHORE, "Semaphore", "__exit__", "release", ResourceKind.SEMAPHORE),
    Hook(_SEMAPHORE, "Semaphore", "wait", "wait", ResourceKind.SEMAPHORE),
    Hook(_SEMAPHORE, "BoundedSemaphore", "__init__", "created", ResourceKind.SEMAPHORE),
    Hook(_SEMAPHORE, "BoundedSemaphore", "release", "release", ResourceKind.SEMAPHORE),
    # With GEVENT_PURE_PYTHON=1, the semaphores of the user are subclasses of those above.
    Hook("gevent.lock", "_AtomicSemaphoreMixin", "acquire", "acquire", ResourceKind.SEMAPHORE),
    Hook("gevent.lock", "_AtomicSemaphoreMixin", "release", "release", ResourceKind.SEMAPHORE),
    Hook("gevent.lock", "_AtomicSemaphoreMixin", "wait", "wait", ResourceKind.SEMAPHORE),
    Hook("gevent.thread", "LockType", "__init__", "created", ResourceKind.LOCK),
    Hook("gevent.thread", "LockType", "acquire", "acquire", ResourceKind.LOCK),
    Hook("gevent.lock", "RLock", "__init__", "created", ResourceKind.RLOCK),
    Hook("gevent.lock", "RLock", "acquire", "acquire", ResourceKind.RLOCK),
    Hook("gevent.lock", "RLock", "__enter__", "acquire", ResourceKind.RLOCK),
    Hook("gevent.lock", "RLock", "release", "release", ResourceKind.RLOCK),
    Hook("gevent.lock", "RLock", "__exit__", "release", ResourceKind.RLOCK),
    Hook("gevent.lock", "RLock", "_release_save", "release_all", ResourceKind.RLOCK),
    Hook("gevent.lock", "RLock", "_acquire_restore", "acquire_again", ResourceKind.RLOCK),
)

_EVENTS = (
    Hook(_EVENT, "Event", "__init__", "created", ResourceKind.EVENT),
    Hook(_EVENT, "Event", "wait", "wait", ResourceKind.EVENT),
    Hook(_EVENT, "Event", "set", "set", ResourceKind.EVENT),
    Hook(_EVENT, "Event", "clear", "clear", ResourceKind.EVENT),
    Hook(_EVENT, "AsyncResult", "__init__", "created", ResourceKind.RESULT),
    Hook(_EVENT, "AsyncResult", "get", "wait", ResourceKind.RESULT, Op.GET),
    Hook(_EVENT, "AsyncResult", "result", "wait", ResourceKind.RESULT, Op.GET),
    Hook(_EVENT, "AsyncResult", "wait", "wait", ResourceKind.RESULT),
    Hook(_EVENT, "AsyncResult", "set", "set", ResourceKind.RESULT),
    Hook(_EVENT, "AsyncResult", "set_result", "set", ResourceKind.RESULT),
    Hook(_EVENT, "AsyncResult", "set_exception", "set", ResourceKind.RESULT),
)

_QUEUE_ROWS = (
    *(Hook(_QUEUE, owner, "__init__", "created", ResourceKind.QUEUE) for owner in _QUEUES),
    *(Hook(_QUEUE, "SimpleQueue", name, "get", ResourceKind.QUEUE) for name in ("get", "get_nowait", "__next__")),
    *(Hook(_QUEUE, "SimpleQueue", name, "wait", ResourceKind.QUEUE, Op.GET) for name in ("peek", "peek_nowait")),
    *(Hook(_QUEUE, "SimpleQueue", name, "put", ResourceKind.QUEUE) for name in ("put", "put_nowait")),
    Hook(_QUEUE, "UnboundQueue", "put", "put", ResourceKind.QUEUE),
    Hook(_QUEUE, "Queue", "join", "wait", ResourceKind.QUEUE, Op.JOIN),
    Hook(_QUEUE, "Queue", "task_done", "work"),
    Hook(_QUEUE, "Channel", "__init__", "created", ResourceKind.CHANNEL),
    *(Hook(_QUEUE, "Channel", name, "get", ResourceKind.CHANNEL) for name in ("get", "get_nowait", "__next__")),
    *(Hook(_QUEUE, "Channel", name, "put", ResourceKind.CHANNEL) for name in ("put", "put_nowait")),
)

_GREENLETS = (
    Hook(_GREENLET, "Greenlet", "join", "join"),
    Hook(_GREENLET, "Greenlet", "get", "join"),
    Hook(_GREENLET, "Greenlet", "kill", "join"),
    Hook(_GREENLET, "Greenlet", "__exit__", "join"),
    *(Hook(_GREENLET, "Greenlet", name, "ge_link") for name in ("rawlink", "link", "link_value", "link_exception")),
    Hook(_GREENLET, "Greenlet", "unlink", "ge_unlink"),
    Hook(_LINKABLE, "AbstractLinkable", "rawlink", "ge_link"),
    Hook(_LINKABLE, "AbstractLinkable", "unlink", "ge_unlink"),
)

_POOLS = (
    Hook("gevent.pool", "Group", "__init__", "created", ResourceKind.POOL),
    Hook("gevent.pool", "Group", "add", "pool_enter", ResourceKind.POOL, Op.ACQUIRE),
    Hook("gevent.pool", "Group", "_discard", "pool_leave", ResourceKind.POOL),
    Hook("gevent.pool", "Group", "join", "composite", ResourceKind.POOL, Op.JOIN),
    Hook("gevent.pool", "Pool", "__init__", "created", ResourceKind.POOL),
    Hook("gevent.pool", "Pool", "add", "pool_enter", ResourceKind.POOL, Op.ACQUIRE),
    Hook("gevent.pool", "Pool", "_discard", "pool_leave", ResourceKind.POOL),
    Hook("gevent.pool", "Pool", "wait_available", "composite", ResourceKind.POOL),
    Hook(_IMAP, "IMapUnordered", "__next__", "get", ResourceKind.QUEUE),
    Hook(_IMAP, "IMapUnordered", "_on_result", "work_by"),
    Hook(_IMAP, "IMapUnordered", "_on_finish", "work"),
    Hook(_IMAP, "IMapUnordered", "_run", "ge_imap", ResourceKind.QUEUE, Op.PUT),
    Hook("gevent.threadpool", "ThreadPool", "__init__", "ge_threads"),
    Hook("gevent.threadpool", "ThreadResult", "_on_async", "ge_result"),
)

_OUTSIDE = (
    Hook("gevent.select", "SelectResult", "select", "ge_select"),
    Hook("gevent.select", "poll", "poll", "ge_select"),
    Hook("gevent.selectors", "GeventSelector", "select", "ge_select"),
    Hook("gevent.subprocess", "Popen", "wait", "composite", ResourceKind.PROCESS),
    Hook("gevent.subprocess", "Popen", "_on_child", "work"),
)

_LOOPS = (
    Hook(_COREXT, "io", "start", "ge_io_start"),
    Hook(_COREXT, "timer", "start", "ge_timer_start"),
    Hook(_COREXT, "timer", "again", "ge_timer_start"),
    Hook(_COREXT, "async_", "start", "ge_async_start"),
    Hook(_COREXT, "async_", "send", "ge_async_send"),
    Hook(_COREXT, "child", "start", "ge_child_start"),
    Hook(_COREXT, "signal", "start", "ge_signal_start"),
    Hook(_COREXT, "loop", "signal", "ge_signal"),
    Hook(_COREXT, "watcher", "stop", "ge_stop"),
    Hook(_COREXT, "watcher", "close", "ge_stop"),
    Hook(_COREXT, "loop", "run_callback", "ge_callback"),
    Hook(_COREXT, "loop", "run_callback_threadsafe", "ge_callback"),
    Hook(_COREXT, "loop", "closing_fd", "fd_closed"),
    Hook(_CFFI, "TimerMixin", "start", "ge_timer_start"),
    Hook(_CFFI, "watcher", "stop", "ge_stop"),
    Hook(_CFFI, "watcher", "close", "ge_stop"),
    *(Hook(module, "child", "start", "ge_child_start") for module in (_LIBEV, _LIBUV)),
    *(Hook(module, "signal", "start", "ge_signal_start") for module in (_LIBEV, _LIBUV)),
    Hook("gevent._ffi.loop", "AbstractLoop", "signal", "ge_signal"),
    Hook("gevent._ffi.loop", "AbstractLoop", "run_callback", "ge_callback"),
    Hook("gevent._ffi.loop", "AbstractLoop", "run_callback_threadsafe", "ge_callback"),
    Hook(_LIBEV, "io", "start", "ge_io_start"),
    Hook(_LIBEV, "timer", "again", "ge_timer_start"),
    Hook(_LIBEV, "async_", "start", "ge_async_start"),
    Hook(_LIBEV, "async_", "send", "ge_async_send"),
    Hook("gevent.libev.corecffi", "loop", "closing_fd", "fd_closed"),
    Hook("gevent.libev.corecffi", "loop", "_run_callbacks", "python", after=_callbacks_ran),
    # The io objects that libuv's loop hands out share one watcher a file descriptor.
    Hook(_LIBUV, "io._multiplexwatcher", "start", "ge_io_start"),
    Hook(_LIBUV, "io._multiplexwatcher", "stop", "ge_stop"),
    Hook(_LIBUV, "io._multiplexwatcher", "close", "ge_stop"),
    Hook(_LIBUV, "timer", "again", "ge_timer_start"),
    Hook(_LIBUV, "OneShotCheck", "start", "ge_timer_start"),
    Hook(_LIBUV, "async_", "start", "ge_async_start"),
    Hook(_LIBUV, "async_", "send", "ge_async_send"),
    Hook("gevent.libuv.loop", "loop", "closing_fd", "fd_closed"),
    Hook("gevent.libuv.loop", "loop", "_run_callbacks", "python", after=_callbacks_ran),
)

ADAPTER = Adapter(
    name="gevent",
    package="gevent",
    hooks=(
        Hook("gevent.hub", "Hub", "__init__", "python", after=_hub_made),
        Hook("gevent.hub", "Hub", "wait", "ge_wait"),
        *_LOCKS,
        *_EVENTS,
        *_QUEUE_ROWS,
        *_GREENLETS,
        *_POOLS,
        *_OUTSIDE,
        *_LOOPS,
        *THREADING,
        *QUEUE,
    ),
    kinds=(
        Kind(_SEMAPHORE, "Semaphore", ResourceKind.SEMAPHORE, init=True),
        Kind(_SEMAPHORE, "BoundedSemaphore", ResourceKind.SEMAPHORE, init=True),
        Kind("gevent.thread", "LockType", ResourceKind.LOCK),
        Kind(_EVENT, "Event", ResourceKind.EVENT, init=True),
        Kind(_EVENT, "AsyncResult", ResourceKind.RESULT, init=True),
        *(Kind(_QUEUE, owner, ResourceKind.QUEUE, init=True, next=True) for owner in _QUEUES),
        Kind(_QUEUE, "Channel", ResourceKind.CHANNEL, init=True, next=True),
        Kind(_IMAP, "IMapUnordered", ResourceKind.QUEUE, next=True),
        *(Kind(module, "io", ResourceKind.FD) for module in (_COREXT, _LIBEV)),
        Kind(_LIBUV, "io._multiplexwatcher", ResourceKind.FD),
        Kind(_LIBUV, "OneShotCheck", ResourceKind.SLEEP),
        *(
            Kind(module, owner, kind)
            for module in (_COREXT, _LIBEV, _LIBUV)
            for owner, kind in (
                ("timer", ResourceKind.SLEEP),
                ("async_", ResourceKind.THREAD),
                ("child", ResourceKind.PROCESS),
                ("signal", ResourceKind.SIGNAL),
                ("idle", ResourceKind.CALLBACK),
            )
        ),
    ),
    hub_types=(("gevent.hub", "Hub"),),
    named_types=((_GREENLET, "Greenlet"), ("gevent._greenlet_primitives", "TrackedRawGreenlet")),
    shared_modules=("threading", "queue"),
)
