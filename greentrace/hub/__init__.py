"""hub: a green-thread runtime on `greenlet` and `selectors` alone, in the manner of Eventlet.

                 spawn, sleep, GreenThread      Semaphore  Event  Queue  Timeout  GreenPool   socket, ssl, serve, tpool
                        greenthread        semaphore  event  queue  timeout  pool          socket  ssl  server  resolve  threads
                              \\                 |                                              /
                               `--------->   waiter: one wait, and the line one stands in   <---'
                                                 |
                              hubs: one a thread
                                                 |
                              loop: the turns of a hub -- timers -- listeners -- poller
                                                 |
                              instrument: the words in which it tells an observer what it does

Whoever knows Eventlet knows this: names, arguments and meanings are its own wherever both have a thing. Differences are
listed in the opening of each file. Nothing here patches the standard library, and nothing imports anything else of greentrace:
the tracer looks at this runtime as it looks at others.

In:  functions. Out: green threads that take turns in one OS thread. Never: parallel computing; a function that does not wait
keeps all others from running.
"""

from greenlet import GreenletExit, getcurrent

from greentrace.hub import queue, socket
from greentrace.hub import threads as tpool
from greentrace.hub.condition import Condition
from greentrace.hub.event import Event
from greentrace.hub.greenthread import GreenThread, cancel, kill, sleep, spawn, spawn_after, spawn_after_local, spawn_n
from greentrace.hub.hubs import call_soon_threadsafe, get_hub, hub_prevent_multiple_readers, use_hub
from greentrace.hub.listeners import IOClosed
from greentrace.hub.loop import Hub
from greentrace.hub.pool import GreenPile, GreenPool
from greentrace.hub.queue import Empty, Full, LifoQueue, LightQueue, PriorityQueue, Queue
from greentrace.hub.semaphore import BoundedSemaphore, Lock, RLock, Semaphore
from greentrace.hub.server import StopServe, connect, listen, serve, wrap_ssl
from greentrace.hub.socket import create_connection, create_server, socketpair
from greentrace.hub.timeout import Timeout, is_timeout, with_timeout
from greentrace.hub.trampoline import trampoline

__all__ = [
    "BoundedSemaphore",
    "Condition",
    "Empty",
    "Event",
    "Full",
    "GreenPile",
    "GreenPool",
    "GreenThread",
    "GreenletExit",
    "Hub",
    "IOClosed",
    "LifoQueue",
    "LightQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "RLock",
    "Semaphore",
    "StopServe",
    "Timeout",
    "call_soon_threadsafe",
    "cancel",
    "connect",
    "create_connection",
    "create_server",
    "get_hub",
    "getcurrent",
    "hub_prevent_multiple_readers",
    "is_timeout",
    "kill",
    "listen",
    "queue",
    "serve",
    "sleep",
    "socket",
    "socketpair",
    "spawn",
    "spawn_after",
    "spawn_after_local",
    "spawn_n",
    "tpool",
    "trampoline",
    "use_hub",
    "with_timeout",
    "wrap_ssl",
]
