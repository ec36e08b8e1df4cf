"""gevent: every primitive that a greenlet can wait on, one row each.

In:  nothing. Out: `ROWS`, for the core and loop that gevent takes by itself; `PATCHED`, for a program that was monkey-patched;
`SMALL`, the names that stand for all of them on the other loops and in pure Python.
Never: a judgement; test_gevent.py compares.
"""

from __future__ import annotations

from greentrace.events import Op
from greentrace.events import ResourceKind as K
from tests.primitives.harness import Row

PRELUDE = """
import os, signal, socket as plain_socket, ssl, sys
plain_read, plain_exit = os.read, os._exit
import gevent, gevent.event, gevent.hub, gevent.lock, gevent.os, gevent.pool, gevent.queue, gevent.select
import gevent.selectors, gevent.socket, gevent.subprocess
import gevent.thread, gevent.threadpool, gevent.timeout
from gevent import Timeout, sleep, spawn
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore, RLock, Semaphore
from gevent.pool import Group, Pool
from gevent.queue import Channel, JoinableQueue, LifoQueue, PriorityQueue, Queue, SimpleQueue, UnboundQueue
from gevent.thread import LockType
from gevent.threadpool import ThreadPool

def wait_for(greenlet, seconds):
    greenlet.join(seconds)
    return greenlet.dead

def pair():
    return gevent.socket.socketpair()
def worker(event):
    event.wait()
def stubborn(event):
    try:
        Event().wait()
    except gevent.GreenletExit:
        event.wait()
def native(pipe):
    os.read(pipe, 1)
def forked(pipe):
    pid = gevent.os.fork_and_watch()
    if not pid:
        plain_read(pipe[0], 1)
        plain_exit(0)
    return pid
def full(end):
    end.setblocking(False)
    try:
        while True:
            end.send(b"x" * 65536)
    except BlockingIOError:
        end.setblocking(True)
"""

_HOLD = {"wakers": ("releaser",)}
_TASK = "event = Event(); task = spawn(worker, event); sleep(0)"
_THREADS = "pipe = os.pipe(); threads = ThreadPool(1)"

ROWS: tuple[Row, ...] = (
    # Locks: who holds is who can wake.
    Row("semaphore", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE, setup="s = Semaphore(1); s.acquire()", **_HOLD),
    Row("semaphore, with", "with s: pass", "s.release()", K.SEMAPHORE, Op.ACQUIRE, setup="s = Semaphore(1); s.acquire()", **_HOLD),
    Row("semaphore, timeout", "s.acquire(timeout=9)", "s.release()", K.SEMAPHORE, Op.ACQUIRE, True, **_HOLD,
        setup="s = Semaphore(1); s.acquire()"),
    Row("semaphore, expires", "s.acquire(timeout=0.25)", "", K.SEMAPHORE, Op.ACQUIRE, True, ("releaser",), "timer",
        "s = Semaphore(1); s.acquire()"),
    Row("semaphore at zero", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE, setup="s = Semaphore(0)"),
    Row("semaphore, wait", "s.wait()", "s.release()", K.SEMAPHORE, Op.WAIT, setup="s = Semaphore(1); s.acquire()", **_HOLD),
    Row("bounded", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE, setup="s = BoundedSemaphore(1); s.acquire()", **_HOLD),
    Row("lock", "s.acquire()", "s.release()", K.LOCK, Op.ACQUIRE, setup="s = LockType(); s.acquire()", **_HOLD),
    Row("lock, with", "with s: pass", "s.release()", K.LOCK, Op.ACQUIRE, setup="s = LockType(); s.acquire()", **_HOLD),
    Row("rlock", "s.acquire()", "s.release()", K.RLOCK, Op.ACQUIRE, setup="s = RLock(); s.acquire()", **_HOLD),
    Row("rlock, with", "with s: pass", "s.release()", K.RLOCK, Op.ACQUIRE, setup="s = RLock(); s.acquire()", **_HOLD),
    Row("rlock, twice", "s.acquire()", "s.release(); s.release()", K.RLOCK, Op.ACQUIRE,
        setup="s = RLock(); s.acquire(); s.acquire()", **_HOLD),
    # Event objects and results.
    Row("event", "e.wait()", "e.set()", K.EVENT, Op.WAIT, setup="e = Event()"),
    Row("event, timeout", "e.wait(9)", "e.set()", K.EVENT, Op.WAIT, True, setup="e = Event()"),
    Row("event, expires", "e.wait(0.25)", "", K.EVENT, Op.WAIT, True, None, "timer", "e = Event()"),
    Row("event of a subclass", "e.wait()", "e.set()", K.EVENT, Op.WAIT, setup="e = type('Mine', (Event,), {})()"),
    Row("result", "r.get()", "r.set(1)", K.RESULT, Op.GET, setup="r = AsyncResult()"),
    Row("result, fails", "r.wait()", "r.set_exception(ValueError())", K.RESULT, Op.WAIT, setup="r = AsyncResult()"),
    Row("result, timeout", "r.get(timeout=9)", "r.set(1)", K.RESULT, Op.GET, True, setup="r = AsyncResult()"),
    # Queues.
    *(
        Row(f"{name}, {word}", source, "q.put(1)", K.QUEUE, Op.GET, setup=f"q = {name}()", unknown_in_twin=word == "iteration")
        for name in ("Queue", "JoinableQueue", "SimpleQueue", "UnboundQueue", "PriorityQueue", "LifoQueue")
        for word, source in (("get", "q.get()"), ("iteration", "next(iter(q))"))
    ),
    Row("queue, peek", "q.peek()", "q.put(1)", K.QUEUE, Op.GET, setup="q = Queue()"),
    Row("queue, get, timeout", "q.get(timeout=9)", "q.put(1)", K.QUEUE, Op.GET, True, setup="q = Queue()"),
    Row("queue, get, nowait", "q.get()", "q.put_nowait(1)", K.QUEUE, Op.GET, setup="q = Queue()"),
    Row("queue, for", "for x in q: break", "q.put(1)", K.QUEUE, Op.GET, setup="q = Queue()", unknown_in_twin=True),
    *(
        Row(f"{name}, put", "q.put(2)", "q.get()", K.QUEUE, Op.PUT, setup=f"q = {name}(1); q.put(1)")
        for name in ("Queue", "SimpleQueue", "PriorityQueue", "LifoQueue")
    ),
    Row("queue, join", "q.join()", "q.get(); q.task_done()", K.QUEUE, Op.JOIN, setup="q = JoinableQueue(); q.put(1)"),
    Row("queue, join, timeout", "q.join(9)", "q.get(); q.task_done()", K.QUEUE, Op.JOIN, True, setup="q = JoinableQueue(); q.put(1)"),
    Row("channel, get", "c.get()", "c.put(1)", K.CHANNEL, Op.GET, setup="c = Channel()"),
    Row("channel, put", "c.put(1)", "c.get()", K.CHANNEL, Op.PUT, setup="c = Channel()"),
    Row("channel, iteration", "next(iter(c))", "c.put(1)", K.CHANNEL, Op.GET, setup="c = Channel()", unknown_in_twin=True),
    # Greenlets.
    Row("greenlet, join", "task.join()", "event.set()", K.GREENLET, Op.JOIN, False, ("worker",), "greenlet:worker", _TASK),
    Row("greenlet, get", "task.get()", "event.set()", K.GREENLET, Op.JOIN, False, ("worker",), "greenlet:worker", _TASK),
    Row("greenlet, join, timeout", "task.join(9)", "event.set()", K.GREENLET, Op.JOIN, True, ("worker",), "greenlet:worker", _TASK),
    Row("greenlet, join, expires", "task.join(0.25)", "", K.GREENLET, Op.JOIN, True, ("worker",), "timer", _TASK),
    Row(
        "greenlet, kill", "task.kill()", "event.set()", K.GREENLET, Op.JOIN, False, ("stubborn",), "greenlet:stubborn",
        "event = Event(); task = spawn(stubborn, event); sleep(0)",
    ),
    Row("greenlet, with", "with task: pass", "event.set()", K.GREENLET, Op.JOIN, False, ("worker",), "greenlet:worker", _TASK),
    Row(
        "killall", "gevent.killall([task, spawn(worker, Event())])", "event.set()", K.GREENLET, Op.JOIN, False, ("stubborn",),
        "greenlet:stubborn", "event = Event(); task = spawn(stubborn, event); sleep(0)",
    ),
    Row(
        "joinall", "gevent.joinall([task, other])", "event.set()", (K.GREENLET, K.GREENLET), (Op.JOIN, Op.JOIN), False, ("worker",),
        "greenlet:worker", f"{_TASK}; other = spawn(worker, event); sleep(0)",
    ),
    Row("joinall, timeout", "gevent.joinall([task], timeout=9)", "event.set()", K.GREENLET, Op.JOIN, True, ("worker",),
        "greenlet:worker", _TASK),
    Row("joinall, expires", "gevent.joinall([task], timeout=0.25)", "", K.GREENLET, Op.JOIN, True, ("worker",), "timer", _TASK),
    Row("wait for any", "gevent.wait([task, e], count=1)", "e.set()", (K.GREENLET, K.EVENT), (Op.JOIN, Op.WAIT),
        setup=f"{_TASK}; e = Event()"),
    Row("wait, expires", "gevent.wait([task, e], timeout=0.25)", "", (K.GREENLET, K.EVENT), (Op.JOIN, Op.WAIT), True, None,
        "timer", f"{_TASK}; e = Event()"),
    Row("iwait", "next(iter(gevent.iwait([e, r])))", "r.set(1)", (K.EVENT, K.RESULT), (Op.WAIT, Op.WAIT),
        setup="e = Event(); r = AsyncResult()"),
    Row("wait for a semaphore", "gevent.wait([s])", "s.release()", K.SEMAPHORE, Op.WAIT, setup="s = Semaphore(1); s.acquire()", **_HOLD),
    # Time.
    Row("sleep", "sleep(0.25)", "", K.SLEEP, Op.SLEEP, True, None, "timer"),
    Row("Timeout around", "with Timeout(9): e.wait()", "e.set()", K.EVENT, Op.WAIT, True, setup="e = Event()"),
    Row("Timeout expires", "with Timeout(0.25, False): e.wait()", "", K.EVENT, Op.WAIT, True, None, "timer", "e = Event()"),
    Row(
        "with_timeout", "gevent.with_timeout(0.25, q.get, timeout_value=None)", "", K.QUEUE, Op.GET, True, None, "timer", "q = Queue()"
    ),
    Row("idle", "gevent.idle()", "", K.CALLBACK, Op.WAIT, woken_by="callback"),
    # Pools.
    Row(
        "pool, spawn", "pool.spawn(len, 'x')", "event.set()", K.POOL, Op.ACQUIRE, False, ("worker",), "greenlet:worker",
        "event = Event(); pool = Pool(1); pool.spawn(worker, event); sleep(0)",
    ),
    Row(
        "pool, wait_available", "pool.wait_available()", "event.set()", K.POOL, Op.WAIT, False, ("worker",), "greenlet:worker",
        "event = Event(); pool = Pool(1); pool.spawn(worker, event); sleep(0)",
    ),
    Row(
        "pool, join", "pool.join()", "event.set()", K.POOL, Op.JOIN, False, ("worker",), "greenlet:worker",
        "event = Event(); pool = Pool(1); pool.spawn(worker, event); sleep(0)",
    ),
    Row(
        "group, join", "group.join()", "event.set()", K.POOL, Op.JOIN, False, ("worker",), "greenlet:worker",
        "event = Event(); group = Group(); group.spawn(worker, event); sleep(0)",
    ),
    Row("pool, apply", "Pool(2).apply(worker, (event,))", "event.set()", K.GREENLET, Op.JOIN, False, ("worker",),
        "greenlet:worker", "event = Event()"),
    Row("pool, map", "Pool(2).map(worker, [event])", "event.set()", K.GREENLET, Op.JOIN, False, ("__map",), "greenlet:__map",
        "event = Event()"),
    Row("pool, imap", "list(Pool(2).imap(worker, [event]))", "event.set()", K.QUEUE, Op.GET, False, None, "greenlet:worker",
        "event = Event()", unknown_in_twin=True),
    Row(
        "pool, imap_unordered", "list(Pool(2).imap_unordered(worker, [event]))", "event.set()", K.QUEUE, Op.GET, False, None,
        "greenlet:worker", "event = Event()", unknown_in_twin=True,
    ),
    Row(
        "pool, imap, maxsize", "task.join()", "for _ in range(3): it.__next__()\nsleep(0); event.set()", K.QUEUE, Op.PUT, who="IMap",
        nowhere=True, setup=f"{_TASK}; it = Pool(2).imap(len, ['a', 'b', 'c'], maxsize=1)",
    ),
    Row("result, linked", "r.get()", "event.set()", K.RESULT, Op.GET, False, None, "greenlet:worker",
        f"{_TASK}; r = AsyncResult(); task.link(r)"),
    Row("result, linked raw", "r.get()", "event.set()", K.RESULT, Op.GET, False, None, "greenlet:worker",
        f"{_TASK}; r = AsyncResult(); task.rawlink(r)"),
    Row("result, linked no more", "r.get()", "event.set(); task.join(); r.set(1)", K.RESULT, Op.GET,
        setup=f"{_TASK}; r = AsyncResult(); task.rawlink(r); task.unlink(r)"),
    # Native threads.
    Row("threadpool, apply", "threads.apply(native, (pipe[0],))", "os.write(pipe[1], b'x')", K.RESULT, Op.GET, False, None,
        "thread", _THREADS),
    Row("threadpool, result", "r.get()", "os.write(pipe[1], b'x')", K.RESULT, Op.GET, False, None,
        "thread", _THREADS + "; r = threads.spawn(native, pipe[0])"),
    Row(
        "threadpool, spawn", "threads.spawn(len, 'x')", "os.write(pipe[1], b'xx')", K.POOL, Op.ACQUIRE, False, None, "thread",
        _THREADS + "; threads.spawn(native, pipe[0]); threads.spawn(native, pipe[0])",
    ),
    Row("getaddrinfo", "gevent.socket.getaddrinfo('localhost', 80)", "", K.RESULT, Op.GET, False, None, "thread"),
    # Files and processes.
    Row("select", "gevent.select.select([a, b], [], [])", "c.send(b'x')", (K.FD, K.FD), (Op.READ, Op.READ), False, None, "fd",
        "a, c = pair(); b, d = pair()"),
    Row("select, timeout", "gevent.select.select([a], [], [], 9)", "c.send(b'x')", K.FD, Op.READ, True, None, "fd", "a, c = pair()"),
    Row("select, expires", "gevent.select.select([a], [], [], 0.25)", "", K.FD, Op.READ, True, None, "timer", "a, c = pair()"),
    Row("poll", "p = gevent.select.poll(); p.register(a, 1); p.poll()", "c.send(b'x')", K.FD, Op.READ, False, None, "fd", "a, c = pair()"),
    Row("select of nothing", "gevent.select.select([], [], [], 0.25)", "", K.SLEEP, Op.SLEEP, True, None, "timer"),
    Row("selector", "s.select()", "c.send(b'x')", (K.FD, K.FD), (Op.READ, Op.READ), False, None, "fd",
        "a, c = pair(); b, d = pair(); s = gevent.selectors.DefaultSelector(); s.register(a, 1); s.register(b, 1)"),
    Row("selector, again", "s.select(); a.recv(1); s.select()", "c.send(b'x')", (K.FD, K.FD), (Op.READ, Op.READ), False, None, "fd",
        "a, c = pair(); b, d = pair(); s = gevent.selectors.DefaultSelector(); s.register(a, 1); s.register(b, 1); c.send(b'y')"),
    Row("socket, recv", "a.recv(1)", "c.send(b'x')", K.FD, Op.READ, False, None, "fd", "a, c = pair()"),
    Row("socket, recv, timeout", "a.settimeout(9); a.recv(1)", "c.send(b'x')", K.FD, Op.READ, True, None, "fd", "a, c = pair()"),
    Row("socket, send", "c.sendall(b'x')", "a.recv(1 << 24)", K.FD, Op.WRITE, False, None, "fd", "a, c = pair(); full(c)"),
    Row("socket, wait_read", "gevent.socket.wait_read(a.fileno())", "c.send(b'x')", K.FD, Op.READ, False, None, "fd", "a, c = pair()"),
    Row(
        "socket, accept", "s.accept()", "gevent.socket.create_connection(s.getsockname())", K.FD, Op.READ, False, None, "fd",
        "s = gevent.socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()",
    ),
    Row(
        "socket, connect", "gevent.socket.socket().connect(s.getsockname())", "", K.FD, Op.WRITE, False, None, "fd",
        "s = gevent.socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()",
    ),
    Row("socket, closed by another", "try: a.recv(1)\nexcept OSError: pass", "a.close()", K.FD, Op.READ, setup="a, c = pair()"),
    Row("process, wait", "p.wait()", "os.write(pipe[1], b'x'); os.close(pipe[1])", K.PROCESS, Op.WAIT, False, None, "process",
        "pipe = os.pipe(); p = gevent.subprocess.Popen(['head', '-c1'], stdin=pipe[0], stdout=gevent.subprocess.DEVNULL)"),
    Row(
        "process, communicate", "p.communicate()", "os.write(pipe[1], b'x'); os.close(pipe[1])", K.GREENLET, Op.JOIN,
        wakers=("_read_and_close",), woken_by="greenlet:_read_and_close",
        setup="pipe = os.pipe(); p = gevent.subprocess.Popen(['head', '-c1'], stdin=pipe[0], stdout=-1)",
    ),
    Row("process, waitpid", "gevent.os.waitpid(pid, 0)", "os.write(pipe[1], b'x')", K.PROCESS, Op.WAIT, False, None, "process",
        "pipe = os.pipe(); pid = forked(pipe)"),
    Row("process, waitpid of any", "while gevent.os.waitpid(-1, 0)[0] != pid: pass", "os.write(pipe[1], b'x')", K.PROCESS, Op.WAIT,
        False, None, "process", "pipe = os.pipe(); pid = forked(pipe)"),
    Row("signal's watcher", "hub.wait(hub.loop.signal(signal.SIGUSR2))", "os.kill(os.getpid(), signal.SIGUSR2)", K.SIGNAL, Op.WAIT,
        False, None, "signal", "hub = gevent.get_hub()"),
    Row(
        "signal", "e.wait()", "os.kill(os.getpid(), signal.SIGUSR1)", K.EVENT, Op.WAIT, woken_by="greenlet:handle",
        setup="e = Event()\ndef handle(): sleep(0); e.set()\nh = gevent.signal_handler(signal.SIGUSR1, handle)",
    ),
    Row(
        "event, set by a thread", "e.wait()", "os.write(pipe[1], b'x')", K.EVENT, Op.WAIT, woken_by="greenlet:run",
        setup="e = Event(); pipe = os.pipe()\ndef outside(): native(pipe[0]); e.set()\ngevent.get_hub().threadpool.spawn(outside)",
    ),
)  # fmt: skip

PATCHED_PRELUDE = (
    """
from gevent import monkey; monkey.patch_all()
import queue, select, threading, time
"""
    + PRELUDE
)

PATCHED: tuple[Row, ...] = (
    Row("threading.Lock", "s.acquire()", "s.release()", K.LOCK, Op.ACQUIRE, setup="s = threading.Lock(); s.acquire()", **_HOLD),
    Row("threading.RLock", "s.acquire()", "s.release()", K.RLOCK, Op.ACQUIRE, setup="s = threading.RLock(); s.acquire()", **_HOLD),
    Row("threading.RLock, with", "with s: pass", "s.release()", K.RLOCK, Op.ACQUIRE, setup="s = threading.RLock(); s.acquire()", **_HOLD),
    Row("threading.Semaphore", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE,
        setup="s = threading.Semaphore(1); s.acquire()", **_HOLD),
    Row("threading.Semaphore, with", "with s: pass", "s.release()", K.SEMAPHORE, Op.ACQUIRE,
        setup="s = threading.Semaphore(1); s.acquire()", **_HOLD),
    Row("threading.BoundedSemaphore", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE,
        setup="s = threading.BoundedSemaphore(1); s.acquire()", **_HOLD),
    Row("threading.Event", "e.wait()", "e.set()", K.EVENT, Op.WAIT, setup="e = threading.Event()"),
    Row("threading.Condition", "with c: c.wait()", "with c: c.notify()", K.CONDITION, Op.WAIT, setup="c = threading.Condition()"),
    Row("threading.Condition, timeout", "with c: c.wait(9)", "with c: c.notify_all()", K.CONDITION, Op.WAIT, True,
        setup="c = threading.Condition()"),
    Row("threading.Condition of a Lock", "with c: c.wait()", "with c: c.notify()", K.CONDITION, Op.WAIT,
        setup="c = threading.Condition(threading.Lock())"),
    Row("threading.Barrier", "b.wait()", "b.wait()", K.BARRIER, Op.WAIT, setup="b = threading.Barrier(2)"),
    Row("threading.Thread.join", "t.join()", "event.set()", K.GREENLET, Op.JOIN, False, ("carrier",), "greenlet:carrier",
        "event = Event(); t = threading.Thread(target=worker, args=(event,), name='carrier'); t.start()"),
    Row("queue.Queue", "q.get()", "q.put(1)", K.QUEUE, Op.GET, setup="q = queue.Queue()"),
    Row("queue.Queue, put", "q.put(2)", "q.get()", K.QUEUE, Op.PUT, setup="q = queue.Queue(1); q.put(1)"),
    Row("queue.SimpleQueue", "q.get()", "q.put(1)", K.QUEUE, Op.GET, setup="q = queue.SimpleQueue()"),
    Row("queue.PriorityQueue", "q.get()", "q.put(1)", K.QUEUE, Op.GET, setup="q = queue.PriorityQueue()"),
    Row("time.sleep", "time.sleep(0.25)", "", K.SLEEP, Op.SLEEP, True, None, "timer"),
    Row("select.select", "select.select([a], [], [])", "c.send(b'x')", K.FD, Op.READ, False, None, "fd", "a, c = pair()"),
    Row("socket", "a.recv(1)", "c.send(b'x')", K.FD, Op.READ, False, None, "fd", "a, c = plain_socket.socketpair()"),
)  # fmt: skip

_SMALL = {
    "semaphore", "semaphore, expires", "lock, with", "rlock", "event, timeout", "result", "Queue, get", "Queue, iteration", "Queue, put",
    "queue, join", "channel, get", "greenlet, join", "greenlet, kill", "killall", "joinall", "wait for any", "wait, expires", "sleep",
    "Timeout expires", "idle", "pool, spawn", "pool, join", "pool, imap", "threadpool, apply", "threadpool, spawn", "select", "poll",
    "select, expires", "socket, recv, timeout", "socket, send", "socket, connect", "socket, closed by another", "process, wait",
    "process, waitpid", "signal", "signal's watcher", "pool, imap, maxsize", "result, linked",
}  # fmt: skip
SMALL = tuple(row for row in ROWS if row.name in _SMALL)
"""Those that reach each hook of a loop and each kind of class in pure Python."""
