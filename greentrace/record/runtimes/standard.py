"""Standard library: what the methods of `threading` and `queue` mean in a process whose threads are greenlets.

In:  nothing. Out: rows for the adapters of the runtimes that monkey-patch.
Never: a row of one runtime only. What is C here (a Lock, a SimpleQueue) the runtime replaces by something of its own.
"""

from __future__ import annotations

from greentrace.events import Op, ResourceKind
from greentrace.record.runtimes.adapter import Hook

_SEMAPHORE, _QUEUE = ResourceKind.SEMAPHORE, ResourceKind.QUEUE

THREADING = (
    Hook("threading", "_RLock", "__init__", "created", ResourceKind.RLOCK),
    Hook("threading", "_RLock", "acquire", "acquire", ResourceKind.RLOCK),
    Hook("threading", "_RLock", "__enter__", "acquire", ResourceKind.RLOCK),
    Hook("threading", "_RLock", "release", "release", ResourceKind.RLOCK),
    Hook("threading", "_RLock", "_release_save", "release_all", ResourceKind.RLOCK),
    Hook("threading", "_RLock", "_acquire_restore", "acquire_again", ResourceKind.RLOCK),
    Hook("threading", "Condition", "wait", "composite", ResourceKind.CONDITION),
    Hook("threading", "Condition", "_release_save", "afresh"),
    Hook("threading", "Condition", "_acquire_restore", "afresh"),
    Hook("threading", "Condition", "notify", "set", ResourceKind.CONDITION),
    Hook("threading", "Event", "__init__", "created", ResourceKind.EVENT),
    Hook("threading", "Event", "wait", "composite", ResourceKind.EVENT),
    Hook("threading", "Event", "set", "set", ResourceKind.EVENT),
    Hook("threading", "Event", "clear", "clear", ResourceKind.EVENT),
    Hook("threading", "Semaphore", "__init__", "created", _SEMAPHORE),
    Hook("threading", "Semaphore", "acquire", "acquire", _SEMAPHORE),
    Hook("threading", "Semaphore", "__enter__", "acquire", _SEMAPHORE),
    Hook("threading", "Semaphore", "release", "release", _SEMAPHORE),
    Hook("threading", "BoundedSemaphore", "release", "release", _SEMAPHORE),
    Hook("threading", "Barrier", "wait", "wait", ResourceKind.BARRIER),
    Hook("threading", "Barrier", "_release", "work"),
    Hook("threading", "Barrier", "_break", "work"),
    Hook("threading", "Thread", "_bootstrap", "thread_run"),
    Hook("threading", "Thread", "join", "thread_join"),
)

QUEUE = (
    Hook("queue", "Queue", "__init__", "created", _QUEUE),
    Hook("queue", "Queue", "put", "put", _QUEUE),
    Hook("queue", "Queue", "get", "get", _QUEUE),
    Hook("queue", "Queue", "join", "wait", _QUEUE, Op.JOIN),
    Hook("queue", "Queue", "task_done", "work"),
    Hook("queue", "_PySimpleQueue", "__init__", "created", _QUEUE),
    Hook("queue", "_PySimpleQueue", "put", "put", _QUEUE),
    Hook("queue", "_PySimpleQueue", "get", "get", _QUEUE),
)
