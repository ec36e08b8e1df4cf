"""Face: one face for the three runtimes, for the programs here; the runtime's name is the first argument."""

import sys
import warnings

name = sys.argv[1]

if name == "eventlet":
    # It warns of its own age, on stderr, with or without us.
    warnings.simplefilter("ignore")
    import eventlet
    import eventlet.hubs
    from eventlet import GreenPool, Timeout, kill, sleep, spawn, spawn_after
    from eventlet.event import Event
    from eventlet.green import socket
    from eventlet.lock import Lock
    from eventlet.queue import Queue
    from eventlet.semaphore import BoundedSemaphore, Semaphore

    RLock = eventlet.import_patched("threading")._RLock
    join = eventlet.greenthread.GreenThread.wait
    fire, unfire = Event.send, Event.reset
    the_hub = eventlet.hubs.get_hub
elif name == "gevent":
    import gevent
    import gevent.event
    import gevent.hub
    import gevent.lock
    import gevent.pool
    import gevent.queue
    import gevent.socket
    import gevent.thread
    from gevent import Timeout, kill, sleep, socket, spawn
    from gevent.event import Event
    from gevent.lock import BoundedSemaphore, RLock, Semaphore
    from gevent.pool import Pool as GreenPool
    from gevent.queue import JoinableQueue as Queue

    Lock = gevent.thread.LockType
    join = gevent.Greenlet.join
    fire, unfire = Event.set, Event.clear
    spawn_after = gevent.spawn_later
    the_hub = gevent.get_hub
else:
    from greentrace import hub
    from greentrace.hub import (  # noqa: F401
        BoundedSemaphore,
        Event,
        GreenPool,
        Lock,
        Queue,
        RLock,
        Semaphore,
        Timeout,
        kill,
        sleep,
        socket,
        spawn,
        spawn_after,
    )

    join = hub.GreenThread.wait
    fire, unfire = Event.send, Event.reset
    the_hub = hub.get_hub
