"""eventlet's rows: what each of its primitives is expected to look like while a greenlet waits in it.

In:  nothing. Out: preludes, and rows for the plain runtime and for `threading` and `queue` after `monkey_patch`.
Never: a real passing of time. `pass_time()` puts the hub's clock forward, and timers that are due within 6 s fire.
"""

from __future__ import annotations

from greentrace.events import Op, ResourceKind
from tests.primitives.harness import Row

PRELUDE = """
import warnings
warnings.simplefilter("ignore")
import eventlet
import eventlet.hubs
from eventlet import GreenPile, GreenPool, Timeout, kill, sleep, spawn, spawn_after, spawn_n, with_timeout
from eventlet.event import Event
from eventlet.lock import Lock
from eventlet.queue import LifoQueue, LightQueue, PriorityQueue, Queue
from eventlet.semaphore import BoundedSemaphore, CappedSemaphore, Semaphore

def wait_for(greenlet, seconds):
    if greenlet.dead:
        return True
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

LOCKS = (
    Row("Semaphore.acquire", "s.acquire()", "s.release()", ResourceKind.SEMAPHORE, Op.ACQUIRE, wakers=("releaser",), setup="s = Semaphore(1); s.acquire()"),
    Row("sleep", "sleep(5)", "pass_time()", ResourceKind.SLEEP, Op.SLEEP, deadline=True, woken_by="timer"),
)  # fmt: skip

ROWS = LOCKS
