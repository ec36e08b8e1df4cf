"""eventlet's rows: what each of its primitives is expected to look like while a greenlet waits in it.

In:  nothing. Out: the prelude of the runtime, and its rows; eventlet_patched.py has those of `threading` and `queue`.
Never: a real passing of time. `pass_time()` puts the hub's clock forward, and timers that are due within 6 s fire.
"""

from __future__ import annotations

from greentrace.events import Op
from greentrace.events import ResourceKind as K
from tests.primitives.harness import Row

PRELUDE = """
import warnings
warnings.simplefilter("ignore")
import os
import eventlet
import eventlet.hubs
from eventlet import GreenPile, GreenPool, Timeout, kill, sleep, spawn, spawn_after, spawn_n, with_timeout
from eventlet.event import Event
# Here, as eventlet cannot import green threads from within a greenlet on Python 3.13.
from eventlet.green import subprocess
from eventlet.greenthread import spawn_after_local
from eventlet.lock import Lock
from eventlet.queue import LifoQueue, LightQueue, PriorityQueue, Queue
from eventlet.semaphore import BoundedSemaphore, CappedSemaphore, Semaphore

def wait_for(greenlet, seconds):
    with Timeout(seconds, False):
        try:
            greenlet.wait()
        except BaseException:
            return greenlet.dead
        return True

def pass_time():
    hub = eventlet.hubs.get_hub()
    before = hub.clock
    hub.clock = lambda: before() + 6
"""

_ME = ("releaser",)
_TAKEN = "s = Semaphore(1); s.acquire()"
_GATE = """
gate = Event()
def filler(*arguments):
    gate.wait()
    return arguments
"""

LOCKS = (
    Row("Semaphore.acquire", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE, wakers=_ME, setup=_TAKEN),
    Row("with Semaphore", "with s: pass", "s.release()", K.SEMAPHORE, Op.ACQUIRE, wakers=_ME, setup=_TAKEN),
    Row("Semaphore(2)", "s.acquire()", "s.release()",
        K.SEMAPHORE, Op.ACQUIRE, wakers=_ME, setup="s = Semaphore(2); s.acquire(), s.acquire()"),
    Row("Semaphore(0)", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE, setup="s = Semaphore(0)"),
    Row("Semaphore.acquire(timeout)", "s.acquire(timeout=5)", "s.release()", K.SEMAPHORE, Op.ACQUIRE, True, wakers=_ME, setup=_TAKEN),
    Row(
        "Semaphore.acquire, timed out", "assert not s.acquire(timeout=5)", "pass_time()", K.SEMAPHORE, Op.ACQUIRE, True,
        wakers=_ME, woken_by="timer", setup=_TAKEN,
    ),
    Row(
        "Semaphore.acquire under a Timeout", "with Timeout(5, False): s.acquire()", "pass_time()", K.SEMAPHORE, Op.ACQUIRE, True,
        wakers=_ME, woken_by="timer", setup=_TAKEN,
    ),
    Row(
        "with_timeout", "with_timeout(5, s.acquire, timeout_value=None)", "pass_time()", K.SEMAPHORE, Op.ACQUIRE, True,
        wakers=_ME, woken_by="timer", setup=_TAKEN,
    ),
    Row("BoundedSemaphore", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE, wakers=_ME, setup="s = BoundedSemaphore(); s.acquire()"),
    Row("CappedSemaphore.acquire", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE, setup="s = CappedSemaphore(0, 2)"),
    Row("with CappedSemaphore", "with s: pass", "s.release()", K.SEMAPHORE, Op.ACQUIRE, setup="s = CappedSemaphore(0, 2)"),
    Row("CappedSemaphore.release", "s.release()", "s.acquire()", K.SEMAPHORE, Op.PUT, setup="s = CappedSemaphore(1, 1)"),
    Row("CappedSemaphore(1), acquired", "s.acquire()", "s.release()",
        K.SEMAPHORE, Op.ACQUIRE, wakers=_ME, setup="s = CappedSemaphore(1, 2); s.acquire()"),
    Row("with CappedSemaphore(2), acquired", "with s: pass", "s.release()",
        K.SEMAPHORE, Op.ACQUIRE, wakers=_ME, setup="s = CappedSemaphore(2, 3); s.acquire(); s.acquire()"),
    Row("CappedSemaphore(2), one place is free for whoever comes", "s.acquire(); e.wait()", "e.send()",
        K.EVENT, Op.WAIT, holds=(K.SEMAPHORE,), setup="s = CappedSemaphore(2, 3); s.acquire(); e = Event()"),
    Row("CappedSemaphore, given more than was taken", "s.release()", "s.acquire()",
        K.SEMAPHORE, Op.PUT, setup="s = CappedSemaphore(2, 2); s.acquire(); spawn(s.release); sleep(0)"),
    Row("Lock.acquire", "s.acquire()", "s.release()", K.LOCK, Op.ACQUIRE, wakers=_ME, setup="s = Lock(); s.acquire()"),
    Row("with Lock", "with s: pass", "s.release()", K.LOCK, Op.ACQUIRE, wakers=_ME, setup="s = Lock(); s.acquire()"),
    Row(
        "the first of two who release in one turn", "s.acquire()", "s.release()", K.SEMAPHORE, Op.ACQUIRE,
        setup="s = Semaphore(0)\ndef other(): sleep(0); sleep(0); sleep(0); s.release()\nspawn(other)",
    ),
)  # fmt: skip

EVENTS = (
    Row("Event.wait", "e.wait()", "e.send(1)", K.EVENT, Op.WAIT, setup="e = Event()"),
    Row("Event.wait(timeout)", "e.wait(5)", "e.send(1)", K.EVENT, Op.WAIT, True, setup="e = Event()"),
    Row("Event.wait, timed out", "e.wait(5)", "pass_time()", K.EVENT, Op.WAIT, True, woken_by="timer", setup="e = Event()"),
    Row("Event under a Timeout", "with Timeout(5, False): e.wait()", "e.send()", K.EVENT, Op.WAIT, True, setup="e = Event()"),
    Row(
        "Event.send_exception", "try: e.wait()\nexcept KeyError: pass", "e.send_exception(KeyError())", K.EVENT, Op.WAIT,
        setup="e = Event()",
    ),
    Row(
        "kill", "try: Event().wait()\nexcept eventlet.greenlet.GreenletExit: pass", "kill(waiter)", K.EVENT, Op.WAIT,
    ),
    Row("GreenThread.kill", "try: Event().wait()\nexcept eventlet.greenlet.GreenletExit: pass", "waiter.kill()", K.EVENT, Op.WAIT),
)  # fmt: skip

QUEUES = (
    *(
        Row(f"{name}.get", "q.get()", "q.put(1)", K.QUEUE, Op.GET, setup=f"q = {name}()")
        for name in ("LightQueue", "Queue", "LifoQueue", "PriorityQueue")
    ),
    *(
        Row(f"{name}.put when full", "q.put(2)", "q.get()", K.QUEUE, Op.PUT, setup=f"q = {name}(1); q.put(1)")
        for name in ("LightQueue", "Queue", "LifoQueue", "PriorityQueue")
    ),
    *(
        Row(f"{name}.join", "q.join()", "q.task_done()", K.QUEUE, Op.JOIN, setup=f"q = {name}(); q.put(1); q.get()")
        for name in ("Queue", "LifoQueue", "PriorityQueue")
    ),
    Row("Queue.get(timeout)", "q.get(timeout=5)", "q.put(1)", K.QUEUE, Op.GET, True, setup="q = Queue()"),
    Row(
        "Queue.get, timed out", "try: q.get(timeout=5)\nexcept eventlet.queue.Empty: pass", "pass_time()", K.QUEUE, Op.GET, True,
        woken_by="timer", setup="q = Queue()",
    ),
    Row("Queue.put(timeout)", "q.put(2, timeout=5)", "q.get()", K.QUEUE, Op.PUT, True, setup="q = Queue(1); q.put(1)"),
    Row("Queue(0).put, a channel", "q.put(1)", "q.get()", K.QUEUE, Op.PUT, setup="q = Queue(0)"),
    Row("Queue(0).get, a channel", "q.get()", "q.put(1)", K.QUEUE, Op.GET, setup="q = Queue(0)"),
    Row("Queue.resize", "q.put(2)", "q.resize(2)", K.QUEUE, Op.PUT, setup="q = Queue(1); q.put(1)"),
)  # fmt: skip

GREENLETS = (
    Row("sleep", "sleep(5)", "pass_time()", K.SLEEP, Op.SLEEP, True, woken_by="timer"),
    Row(
        "GreenThread.wait", "g.wait()", "gate.send()", K.GREENLET, Op.JOIN, wakers=("filler",), woken_by="greenlet:filler",
        setup=f"{_GATE}\ng = spawn(filler)",
    ),
    Row(
        "GreenThread.wait under a Timeout", "with Timeout(5, False): g.wait()", "pass_time()", K.GREENLET, Op.JOIN, True,
        wakers=("filler",), woken_by="timer", setup=f"{_GATE}\ng = spawn(filler)",
    ),
    Row(
        "GreenThread.wait of spawn_after", "g.wait()", "pass_time(); gate.send()", K.GREENLET, Op.JOIN, wakers=("filler",),
        woken_by="greenlet:filler", setup=f"{_GATE}\ng = spawn_after(5, filler)",
    ),
    Row(
        "GreenThread.wait of spawn_after_local", "g.wait()", "pass_time(); gate.send(); sleep(0); sleep(0)", K.GREENLET, Op.JOIN,
        wakers=("filler",), woken_by="greenlet:filler", setup=f"{_GATE}\ng = spawn_after_local(4, filler)",
    ),
    Row(
        "GreenThread.wait of a killed one", "try: g.wait()\nexcept eventlet.greenlet.GreenletExit: pass", "g.kill()", K.GREENLET, Op.JOIN,
        wakers=("filler",), woken_by="greenlet:filler", setup=f"{_GATE}\ng = spawn(filler)",
    ),
    Row(
        "GreenThread.link", "e.wait()", "gate.send()", K.EVENT, Op.WAIT, woken_by="greenlet:filler",
        setup=f"{_GATE}\ne = Event()\nspawn(filler).link(e.send)",
    ),
    Row(
        "what spawn_n made", "e.wait()", "spawn_n(sender)", K.EVENT, Op.WAIT, woken_by="greenlet:sender",
        setup="e = Event()\ndef sender(): e.send()",
    ),
)  # fmt: skip

_POOL = f"{_GATE}\npool = GreenPool(1)\n"
_DAG = "from eventlet.dagpool import DAGPool\ndag = DAGPool()"
POOLS = (
    Row(
        "GreenPool.spawn", "pool.spawn(filler)", "gate.send()", K.POOL, Op.ACQUIRE, wakers=("filler",), woken_by="greenlet:filler",
        setup=f"{_POOL}pool.spawn(filler)",
    ),
    Row(
        "GreenPool.spawn_n", "pool.spawn_n(filler)", "gate.send()", K.POOL, Op.ACQUIRE, wakers=("filler",), woken_by="greenlet:filler",
        setup=f"{_POOL}pool.spawn_n(filler)",
    ),
    Row(
        "GreenPool.waitall", "pool.waitall()", "gate.send()", K.POOL, Op.JOIN, wakers=("filler",), woken_by="greenlet:filler",
        setup=f"{_GATE}\npool = GreenPool(5); pool.spawn(filler)",
    ),
    Row(
        "GreenPool.imap", "list(pool.imap(filler, [1]))", "gate.send()", K.GREENLET, Op.JOIN, wakers=("filler",),
        woken_by="greenlet:filler", setup=_POOL,
    ),
    Row(
        "GreenPool.starmap", "list(pool.starmap(filler, [(1, 2)]))", "gate.send()", K.GREENLET, Op.JOIN, wakers=("filler",),
        woken_by="greenlet:filler", setup=_POOL,
    ),
    Row(
        "GreenPool.imap of what is not there yet", "list(pool.imap(filler, items()))", "gate.send()", K.POOL, Op.GET,
        woken_by="greenlet:_do_map", setup=f"{_POOL}\ndef items():\n    gate.wait()\n    yield 1",
    ),
    Row(
        "GreenPile", "list(pile)", "gate.send()", K.GREENLET, Op.JOIN, wakers=("filler",), woken_by="greenlet:filler",
        setup=f"{_GATE}\npile = GreenPile(2); pile.spawn(filler)",
    ),
    Row(
        "GreenPile.spawn", "pile.spawn(filler)", "gate.send()", K.POOL, Op.ACQUIRE, wakers=("filler",), woken_by="greenlet:filler",
        setup=f"{_GATE}\npile = GreenPile(1); pile.spawn(filler)",
    ),
    Row("DAGPool.wait", "dag.wait(['a'])", "dag.post('a', 1)", K.POOL, Op.WAIT, setup=_DAG),
    Row(
        "DAGPool.waitall", "dag.waitall()", "gate.send()", K.GREENLET, Op.JOIN, wakers=("filler",), woken_by="greenlet:filler",
        setup=f"{_GATE}\n{_DAG}\ndag.spawn('a', (), filler)",
    ),
    Row(
        "DAGPool.wait for two", "dag.wait(['a', 'b'])", "gate.send()", (K.GREENLET, K.GREENLET), (Op.JOIN, Op.JOIN),
        wakers=("filler", "other"), woken_by="greenlet:filler",
        setup=f"{_GATE}\n{_DAG}\ndef other(*arguments): filler(); sleep(0)\ndag.spawn('a', (), filler); dag.spawn('b', (), other)",
    ),
    Row(
        "DAGPool.wait for what only some greenlet computes", "dag.wait(['a', 'b'])", "dag.post('b', 1); gate.send()",
        (K.GREENLET, K.POOL), (Op.JOIN, Op.WAIT), setup=f"{_GATE}\n{_DAG}\ndag.spawn('a', (), filler)",
    ),
    Row(
        "DAGPool.wait for the rest", "dag.wait(['a', 'b'])", "gate.send()", K.GREENLET, Op.JOIN, wakers=("filler",),
        woken_by="greenlet:filler", setup=f"{_GATE}\n{_DAG}\ndag.spawn('a', (), filler); dag.post('b', 1)",
    ),
    Row(
        "DAGPool.wait for a killed greenlet", "dag.wait(['a'])", "dag.post('a', 1)", K.POOL, Op.WAIT,
        setup=f"{_GATE}\n{_DAG}\ndag.spawn('a', (), filler); sleep(0); dag.coros['a'].greenthread.kill()",
    ),
    Row(
        "DAGPool.spawn, depending on another", "for _ in range(4): sleep(0)", "gate.send()", K.GREENLET, Op.JOIN, who="dependent",
        wakers=("filler",), woken_by="greenlet:filler",
        setup=f"{_GATE}\n{_DAG}\ndef dependent(key, results): list(results)\ndag.spawn('a', (), filler); dag.spawn('b', ['a'], dependent)",
    ),
    Row("DAGPool.wait_each", "list(dag.wait_each(['a']))", "dag.post('a', 1)", K.POOL, Op.WAIT, setup=_DAG),
    Row("DAGPool[key]", "dag['a']", "dag.post('a', 1)", K.POOL, Op.WAIT, setup=_DAG),
    Row(
        "DAGPool.spawn, depending", "sleep(0); sleep(0); sleep(0); sleep(0)", "dag.post('a', 1)", K.POOL, Op.WAIT, who="dependent",
        setup=f"{_DAG}\ndef dependent(key, results): list(results)\ndag.spawn('b', ['a'], dependent)",
    ),
    Row(
        "pools.Pool.get", "pool.put(pool.get())", "pool.put(item)", K.POOL, Op.ACQUIRE, wakers=_ME,
        setup="from eventlet.pools import Pool\npool = Pool(max_size=1, create=object); item = pool.get()",
    ),
    Row(
        "pools.Pool.item", "with pool.item(): pass", "pool.put(item)", K.POOL, Op.ACQUIRE, wakers=_ME,
        setup="from eventlet.pools import Pool\npool = Pool(max_size=1, create=object); item = pool.get()",
    ),
    Row(
        "db_pool.get", "pool.get().close()", "item.close()", K.POOL, Op.ACQUIRE, wakers=_ME,
        setup="""
from types import SimpleNamespace
from eventlet.db_pool import RawConnectionPool
connection = lambda: SimpleNamespace(rollback=lambda: None, close=lambda: None)
pool = RawConnectionPool(SimpleNamespace(connect=connection), max_size=1); item = pool.get()
""",
    ),
    Row(
        "tpool.execute", "tpool.execute(go.wait)", "go.set()", K.THREAD, Op.WAIT, woken_by="thread",
        setup="from eventlet import tpool; go = eventlet.patcher.original('threading').Event(); tpool.execute(int)",
    ),
    Row(
        "tpool.Proxy", "tpool.Proxy(go).wait()", "go.set()", K.THREAD, Op.WAIT, woken_by="thread",
        setup="from eventlet import tpool; go = eventlet.patcher.original('threading').Event(); tpool.execute(int)",
    ),
)  # fmt: skip

_PIPE = "r, w = os.pipe(); os.set_blocking(r, False); os.set_blocking(w, False)\n"
_FULL = f"""{_PIPE}
try:
    while True: os.write(w, b"x" * 65536)
except BlockingIOError: pass
"""
_SOCKETS = "from eventlet.green import socket\na, b = socket.socketpair()\n"
_TRAMPOLINE = "eventlet.hubs.trampoline"
_SELECT = f"from eventlet.green import select\nr2, w2 = os.pipe()\n{_FULL}\nfull = w\n{_PIPE}"
FDS = (
    Row("trampoline(read)", f"{_TRAMPOLINE}(r, read=True)", "os.write(w, b'x')", K.FD, Op.READ, woken_by="fd", setup=_PIPE),
    Row("trampoline(write)", f"{_TRAMPOLINE}(w, write=True)", "os.read(r, 1 << 20)", K.FD, Op.WRITE, woken_by="fd", setup=_FULL),
    Row("trampoline(timeout)", f"{_TRAMPOLINE}(r, read=True, timeout=5)", "os.write(w, b'x')",
        K.FD, Op.READ, True, woken_by="fd", setup=_PIPE),
    Row(
        "trampoline, timed out", f"try: {_TRAMPOLINE}(r, read=True, timeout=5)\nexcept Timeout: pass", "pass_time()", K.FD, Op.READ, True,
        woken_by="timer", setup=_PIPE,
    ),
    Row("select of one", "select.select([r], [], [])", "os.write(w, b'x')", K.FD, Op.READ, woken_by="fd", setup=_SELECT),
    Row(
        "select of three", "select.select([r, r2], [full], [])", "os.write(w2, b'x')", (K.FD, K.FD, K.FD), (Op.READ, Op.READ, Op.WRITE),
        woken_by="fd", setup=_SELECT,
    ),
    Row(
        "select of thirty", "select.select(many, [], [])", "os.write(ends[17], b'x')", (K.FD,) * 30, (Op.READ,) * 30, woken_by="fd",
        setup=f"{_SELECT}\nmany, ends = zip(*(os.pipe() for _ in range(30)))",
    ),
    Row(
        "select of a hundred", "select.select(many, [], [])", "os.write(ends[17], b'x')",
        (K.UNKNOWN, *(K.FD,) * 7), (Op.WAIT, *(Op.READ,) * 7),
        woken_by="fd", setup=f"{_SELECT}\nmany, ends = zip(*(os.pipe() for _ in range(100)))",
    ),
    Row(
        "select(timeout)", "select.select([r, r2], [], [], 5)", "os.write(w2, b'x')", (K.FD, K.FD), (Op.READ, Op.READ), True,
        woken_by="fd", setup=_SELECT,
    ),
    Row(
        "select, timed out", "select.select([r, r2], [], [], 5)", "pass_time()", (K.FD, K.FD), (Op.READ, Op.READ), True,
        woken_by="timer", setup=_SELECT,
    ),
    Row(
        "selectors", "s.select()", "os.write(w2, b'x')", (K.FD, K.FD), (Op.READ, Op.READ), woken_by="fd",
        setup=f"{_SELECT}\nfrom eventlet.green import selectors\ns = selectors.DefaultSelector(); s.register(r, 1); s.register(r2, 1)",
    ),
    Row("socket.accept", "s.accept()", "socket.create_connection(s.getsockname())", K.FD, Op.READ, woken_by="fd",
        setup="from eventlet.green import socket\ns = eventlet.listen(('127.0.0.1', 0))"),
    Row("socket.recv", "a.recv(1)", "b.send(b'x')", K.FD, Op.READ, woken_by="fd", setup=_SOCKETS),
    Row("socket.recv_into", "a.recv_into(bytearray(1))", "b.send(b'x')", K.FD, Op.READ, woken_by="fd", setup=_SOCKETS),
    Row("socket.recv(timeout)", "a.settimeout(5); a.recv(1)", "b.send(b'x')", K.FD, Op.READ, True, woken_by="fd", setup=_SOCKETS),
    Row(
        "socket.recv, timed out", "a.settimeout(5)\ntry: a.recv(1)\nexcept socket.timeout: pass", "pass_time()", K.FD, Op.READ, True,
        woken_by="timer", setup=_SOCKETS,
    ),
    Row("socket.recvfrom", "s.recvfrom(1)", "s.sendto(b'x', s.getsockname())", K.FD, Op.READ, woken_by="fd",
        setup="from eventlet.green import socket\ns = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))"),
    Row("socket.sendall", "a.sendall(b'x' * (1 << 20))", "left = 1 << 20\nwhile left: left -= len(b.recv(left))",
        K.FD, Op.WRITE, woken_by="fd",
        setup=f"{_SOCKETS}\na.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)"),
    Row("socket.makefile", "a.makefile('rb').read(1)", "b.send(b'x')", K.FD, Op.READ, woken_by="fd", setup=_SOCKETS),
    Row("socket.connect", "c.settimeout(5)\ntry: c.connect(s.getsockname())\nexcept socket.timeout: pass", "pass_time()",
        K.FD, Op.WRITE, True,
        woken_by="timer",
        setup="""
from eventlet.green import socket
native = eventlet.patcher.original("socket")
s = native.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)
crowd = [native.socket() for _ in range(4)]
for each in crowd: each.setblocking(False); each.connect_ex(s.getsockname())
c = socket.socket()
"""),
    Row("ssl handshake", "try: context.wrap_socket(a, server_hostname='x')\nexcept OSError: pass", "b.close()",
        K.FD, Op.READ, woken_by="fd",
        setup=f"{_SOCKETS}\nfrom eventlet.green import ssl\ncontext = ssl.create_default_context()"),
    Row("GreenPipe.read", "pipe.read(1)", "os.write(w, b'x')", K.FD, Op.READ, woken_by="fd",
        setup=f"{_PIPE}\nfrom eventlet.greenio import GreenPipe\npipe = GreenPipe(r, 'rb', 0)"),
    Row("green os.read", "green.read(r, 1)", "os.write(w, b'x')", K.FD, Op.READ, woken_by="fd",
        setup=f"{_PIPE}\nfrom eventlet.green import os as green"),
    Row("trampoline, and the fd is opened anew", f"try: {_TRAMPOLINE}(r, read=True)\nexcept eventlet.hubs.IOClosed: pass",
        "eventlet.hubs.notify_opened(r)", K.FD, Op.READ, setup=_PIPE),
    Row("trampoline(timeout), and the fd is opened anew",
        f"try: {_TRAMPOLINE}(w, write=True, timeout=5)\nexcept eventlet.hubs.IOClosed: pass",
        # A lower number may have come free meanwhile.
        "os.close(w)\nopened = [green.open(os.devnull, 0)]\nwhile opened[-1] != w: opened.append(green.open(os.devnull, 0))\n"
        "for fd in opened[:-1]: os.close(fd)", K.FD, Op.WRITE, True,
        setup=f"{_FULL}\nfrom eventlet.green import os as green"),
    Row("getaddrinfo", "try: socket.getaddrinfo('nobody.test', 80)\nexcept OSError: pass", "spawn(serve)", K.FD, Op.READ, True,
        woken_by="fd",
        setup="""
from eventlet.green import socket
from eventlet.support import greendns
server = socket.socket(type=socket.SOCK_DGRAM); server.bind(("127.0.0.1", 0))
resolver = greendns.dns.resolver.Resolver(configure=False)
resolver.nameservers = ["127.0.0.1"]; resolver.port = server.getsockname()[1]
greendns.resolver._resolver = resolver
def serve():
    while True:
        question, who = server.recvfrom(512)
        answer = greendns.dns.message.make_response(greendns.dns.message.from_wire(question))
        answer.set_rcode(3)
        server.sendto(answer.to_wire(), who)
"""),
    Row("os.waitpid", "green.waitpid(p.pid, 0)", "p.stdin.close()", K.PROCESS, Op.WAIT, True, woken_by="timer",
        setup="from eventlet.green import os as green; p = subprocess.Popen(['cat'], stdin=subprocess.PIPE)"),
    Row("os.wait", "green.wait()", "p.stdin.close()", K.PROCESS, Op.WAIT, True, woken_by="timer",
        setup="from eventlet.green import os as green; p = subprocess.Popen(['cat'], stdin=subprocess.PIPE)"),
    Row("Popen.wait", "p.wait()", "p.stdin.close()", K.PROCESS, Op.WAIT, True, woken_by="timer",
        setup="p = subprocess.Popen(['cat'], stdin=subprocess.PIPE)"),
    Row("Popen.communicate", "p.communicate()", "p.kill()", (K.FD, K.FD), (Op.READ, Op.READ), woken_by="fd",
        setup="p = subprocess.Popen(['sleep', '60'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)"),
    Row("Popen.stdout.read", "p.stdout.read()", "p.kill()", K.FD, Op.READ, woken_by="fd",
        setup="p = subprocess.Popen(['sleep', '60'], stdout=subprocess.PIPE)"),
)  # fmt: skip

ROWS = (*LOCKS, *EVENTS, *QUEUES, *GREENLETS, *POOLS, *FDS)

ASYNCIO = (
    Row("Future", "spawn_for_awaitable(future).wait()", "future.set_result(1)", K.RESULT, Op.WAIT, who="_run", woken_by="callback",
        setup="from eventlet.asyncio import spawn_for_awaitable\nfuture = eventlet.hubs.get_hub().loop.create_future()"),
    Row("spawn_for_awaitable", "spawn_for_awaitable(future).wait()", "future.set_result(1)", K.GREENLET, Op.JOIN, wakers=("_run",),
        woken_by="greenlet:_run",
        setup="from eventlet.asyncio import spawn_for_awaitable\nfuture = eventlet.hubs.get_hub().loop.create_future()"),
    Row("Event that a Task sends", "e.wait()", "loop.create_task(send())", K.EVENT, Op.WAIT, woken_by="callback",
        setup="e = Event(); loop = eventlet.hubs.get_hub().loop\nasync def send(): e.send()"),
)  # fmt: skip
"""Rows of the asyncio hub alone."""
