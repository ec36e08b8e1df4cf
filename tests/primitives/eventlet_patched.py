"""The rows of `threading` and `queue` as eventlet makes them, in each of the copies of those modules that it makes.

In:  nothing. Out: `COPIES`, the ways to get at the modules, and the rows that hold for every copy, or for some.
Never: a row for `patcher.original`: there native threads wait, and no greenlet.
"""

from __future__ import annotations

from greentrace.events import Op
from greentrace.events import ResourceKind as K
from tests.primitives.harness import Row

COPIES = {
    "monkey_patch": "eventlet.monkey_patch()\nimport threading, queue",
    "import_patched": "threading, queue = eventlet.import_patched('threading'), eventlet.import_patched('queue')",
    "green": "from eventlet.green import threading, Queue as queue",
}
"""Statements that bind `threading` and `queue`, by the name of the way."""

_ME = ("releaser",)
_LOCK = "x = threading.Lock(); x.acquire()"
_RLOCK = "x = threading._RLock(); x.acquire(); x.acquire()"
_CONDITION = "c = threading.Condition({})"
_GATE = "gate = threading.Event()\nthread = threading.Thread(target=gate.wait, name='worker'); thread.start()"
_THREAD = "x = threading.{}; x.acquire()"

THREADING = (
    Row("Lock.acquire", "x.acquire()", "x.release()", K.LOCK, Op.ACQUIRE, wakers=_ME, setup=_LOCK),
    Row("with Lock", "with x: pass", "x.release()", K.LOCK, Op.ACQUIRE, wakers=_ME, setup=_LOCK),
    Row("Lock.acquire(timeout)", "x.acquire(timeout=5)", "x.release()", K.LOCK, Op.ACQUIRE, True, wakers=_ME, setup=_LOCK),
    Row("Lock, timed out", "x.acquire(timeout=5)", "pass_time()", K.LOCK, Op.ACQUIRE, True, wakers=_ME, woken_by="timer", setup=_LOCK),
    Row("RLock.acquire", "x.acquire()", "x.release(); x.release()", K.RLOCK, Op.ACQUIRE, wakers=_ME, setup=_RLOCK),
    Row("with RLock", "with x: pass", "x.release(); x.release()", K.RLOCK, Op.ACQUIRE, wakers=_ME, setup=_RLOCK),
    Row("RLock.acquire(timeout)", "x.acquire(timeout=5)", "x.release(); x.release()", K.RLOCK, Op.ACQUIRE, True, wakers=_ME, setup=_RLOCK),
    Row(
        "Condition.wait", "with c: c.wait()", "with c: c.notify(); sleep(0); sleep(0)", K.CONDITION, Op.WAIT,
        setup=_CONDITION.format("threading._RLock()"), again=K.RLOCK,
    ),
    Row(
        "Condition of a Lock", "with c: c.wait()", "with c: c.notify_all(); sleep(0); sleep(0)", K.CONDITION, Op.WAIT,
        setup=_CONDITION.format("threading.Lock()"), again=K.LOCK,
    ),
    Row("Condition.wait(timeout)", "with c: c.wait(5)", "with c: c.notify()", K.CONDITION, Op.WAIT, True, setup=_CONDITION.format("")),
    Row(
        "Condition, timed out", "with c: c.wait(5)", "pass_time()", K.CONDITION, Op.WAIT, True, woken_by="timer",
        setup=_CONDITION.format(""),
    ),
    Row("Condition.wait_for", "with c: c.wait_for(seen.pop)", "with c: c.notify()", K.CONDITION, Op.WAIT,
        setup=f"seen = [1, 0]\n{_CONDITION.format('')}"),
    Row("Event.wait", "e.wait()", "e.set()", K.EVENT, Op.WAIT, setup="e = threading.Event()"),
    Row("Event.wait(timeout)", "e.wait(5)", "e.set()", K.EVENT, Op.WAIT, True, setup="e = threading.Event()"),
    Row("Event, timed out", "e.wait(5)", "pass_time()", K.EVENT, Op.WAIT, True, woken_by="timer", setup="e = threading.Event()"),
    Row("Semaphore.acquire", "x.acquire()", "x.release()", K.SEMAPHORE, Op.ACQUIRE, wakers=_ME, setup=_THREAD.format("Semaphore()")),
    Row("with Semaphore", "with x: pass", "x.release()", K.SEMAPHORE, Op.ACQUIRE, wakers=_ME, setup=_THREAD.format("Semaphore()")),
    Row(
        "Semaphore.acquire(timeout)", "x.acquire(timeout=5)", "x.release()", K.SEMAPHORE, Op.ACQUIRE, True, wakers=_ME,
        setup=_THREAD.format("Semaphore()"),
    ),
    Row("Semaphore.release(n)", "x.acquire()", "x.release(2)", K.SEMAPHORE, Op.ACQUIRE, wakers=_ME,
        setup="x = threading.Semaphore(2); x.acquire(), x.acquire()"),
    Row("Semaphore(0)", "x.acquire()", "x.release()", K.SEMAPHORE, Op.ACQUIRE, setup="x = threading.Semaphore(0)"),
    Row("BoundedSemaphore", "x.acquire()", "x.release()", K.SEMAPHORE, Op.ACQUIRE, wakers=_ME, setup=_THREAD.format("BoundedSemaphore()")),
    Row("Barrier.wait", "b.wait()", "b.wait()", K.BARRIER, Op.WAIT, setup="b = threading.Barrier(2)"),
    Row("Barrier.wait(timeout)", "b.wait(5)", "b.wait()", K.BARRIER, Op.WAIT, True, setup="b = threading.Barrier(2)"),
    Row("Thread.join", "thread.join()", "gate.set()", K.GREENLET, Op.JOIN, wakers=("worker",), woken_by="greenlet:worker", setup=_GATE),
    Row(
        "Thread.join(timeout)", "thread.join(5)", "gate.set()", K.GREENLET, Op.JOIN, True, wakers=("worker",), woken_by="greenlet:worker",
        setup=_GATE,
    ),
)  # fmt: skip

QUEUE = (
    *(
        Row(f"queue.{name}.get", "q.get()", "q.put(1)", K.QUEUE, Op.GET, setup=f"q = queue.{name}()")
        for name in ("Queue", "LifoQueue", "PriorityQueue")
    ),
    *(
        Row(f"queue.{name}.put when full", "q.put(2)", "q.get()", K.QUEUE, Op.PUT, setup=f"q = queue.{name}(1); q.put(1)")
        for name in ("Queue", "LifoQueue", "PriorityQueue")
    ),
    Row("queue.Queue.get(timeout)", "q.get(timeout=5)", "q.put(1)", K.QUEUE, Op.GET, True, setup="q = queue.Queue()"),
    Row(
        "queue.Queue, timed out", "try: q.get(timeout=5)\nexcept queue.Empty: pass", "pass_time()", K.QUEUE, Op.GET, True,
        woken_by="timer", setup="q = queue.Queue()",
    ),
    Row("queue.Queue.join", "q.join()", "q.task_done()", K.QUEUE, Op.JOIN, setup="q = queue.Queue(); q.put(1); q.get()"),
)  # fmt: skip

PYTHON_SIMPLE_QUEUE = (
    Row("queue.SimpleQueue.get", "q.get()", "q.put(1)", K.QUEUE, Op.GET, setup="q = queue.SimpleQueue()"),
    Row("queue.SimpleQueue.get(timeout)", "q.get(timeout=5)", "q.put(1)", K.QUEUE, Op.GET, True, setup="q = queue.SimpleQueue()"),
)  # fmt: skip
"""Only `monkey_patch` puts the SimpleQueue in Python, in which greenlets can wait, in the place of the one in C."""

SOCKETS = (
    Row("socket.recv", "a.recv(1)", "b.send(b'x')", K.FD, Op.READ, woken_by="fd", setup="import socket\na, b = socket.socketpair()"),
    Row("time.sleep", "time.sleep(5)", "pass_time()", K.SLEEP, Op.SLEEP, True, woken_by="timer", setup="import time"),
    Row("os.read", "os.read(r, 1)", "os.write(w, b'x')", K.FD, Op.READ, woken_by="fd", setup="r, w = os.pipe()"),
    Row(
        "subprocess.Popen.wait", "p.wait()", "p.stdin.close()", K.PROCESS, Op.WAIT, True, woken_by="timer",
        setup="import subprocess; p = subprocess.Popen(['cat'], stdin=subprocess.PIPE)",
    ),
)  # fmt: skip
"""What `monkey_patch` replaces besides: one row for each module, as eventlet's own rows have the rest."""

ROWS = {
    "monkey_patch": (*THREADING, *QUEUE, *PYTHON_SIMPLE_QUEUE, *SOCKETS),
    "import_patched": (*THREADING, *QUEUE),
    "green": (*THREADING, *QUEUE),
}
"""The rows of each copy."""
