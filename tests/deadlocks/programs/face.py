"""Face: one face for the three runtimes, and the two moments that every program here has.

    python PROGRAM RUNTIME [exit|kill] [NOISE] [paced]

In:  a runtime's name; how the program ends; how many events at least are written once it stands as it shall be judged,
     and whether it waits now and then, all of it, until whoever follows has caught up.
Out: the runtime's own classes and functions, `here` and `leave`. Never: a wrapper around what parks, for the trace shall show that.

`here` is where a program is most like what it says at its top: all have gone as far as they get. A program that is to be killed
says so and goes no further; one that is to end goes on, to prove at its end (`leave`) that it spoke the truth.
"""

import os
import sys
import warnings
from pathlib import Path

from greentrace.ring import MIN_BYTES

name = sys.argv[1]
ending = sys.argv[2] if len(sys.argv) > 2 else "exit"
noise = int(sys.argv[3]) if len(sys.argv) > 3 else 0
paced = sys.argv[4:] == ["paced"]

if name == "eventlet":
    # It warns of its own age, on stderr, with or without us.
    warnings.simplefilter("ignore")
    import eventlet
    from eventlet import GreenPool, Timeout, kill, sleep, spawn
    from eventlet.event import Event
    from eventlet.green import socket
    from eventlet.lock import Lock
    from eventlet.queue import Queue
    from eventlet.semaphore import Semaphore

    green_threading = eventlet.import_patched("threading")
    RLock, Condition = green_threading._RLock, green_threading.Condition
    join = eventlet.greenthread.GreenThread.wait
    fire = Event.send
elif name == "gevent":
    import gevent
    from gevent import Timeout, kill, sleep, socket, spawn
    from gevent.event import Event
    from gevent.lock import RLock, Semaphore
    from gevent.pool import Pool as GreenPool
    from gevent.queue import Queue
    from gevent.thread import LockType as Lock

    join = gevent.Greenlet.join
    fire = Event.set
else:
    from greentrace import hub
    from greentrace.hub import (  # noqa: F401
        Condition,
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
    )

    join = hub.GreenThread.wait
    fire = Event.send

LIMIT = 20 if ending == "kill" else 3 if noise else 0.2
"""Seconds until what looks like a deadlock opens by itself: not before `here` is over."""
TURNS = 25
"""More turns than any program here needs to come to a stand."""


def turns(count=TURNS):
    """Let all the others run, so many times."""
    for _ in range(count):
        sleep(0)


def here():
    """Stand as the top of the program says, while others make noise; who is to be killed stays here."""
    turns()
    if "GREENTRACE_LATE" in os.environ:
        # Nobody has recorded until now.
        from greentrace.record.session import Session

        Session(Path(os.environ["GREENTRACE_LATE"]), MIN_BYTES).start()
    lock = Lock()
    for number in range(noise // 2):
        with lock:
            if number % 500 == 0:
                sleep(0)
        if paced and number % 5000 == 4999:
            print("wait", flush=True)
            os.read(0, 1)
    if ending == "kill":
        print("here", flush=True)
        while True:
            sleep(0.0005)


def leave():
    """End at once, with every greenlet where it is."""
    print("done", flush=True)
    os._exit(0)


def never(who):
    """What a deadlocked greenlet does if it is none."""
    print(f"{who} runs again", flush=True)
    os._exit(3)
