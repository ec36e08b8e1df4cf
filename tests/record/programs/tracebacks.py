"""Tracebacks: exceptions that pass through what a recorder hooks, printed as whoever catches them sees them."""

import re
import sys
import traceback

import face


def say(error):
    text = "".join(traceback.format_exception(error))
    print(re.sub(r"0x[0-9a-f]+", "0x", text), flush=True)


def attempt(function, *args, **kwargs):
    """Print what comes out of it, all of the chain: what caused it, and what was being handled meanwhile."""
    try:
        try:
            raise LookupError("handled meanwhile")
        except LookupError:
            function(*args, **kwargs)
    except BaseException as error:
        say(error)
        print(type(error.__context__).__name__, type(error.__cause__).__name__, error.__suppress_context__)


def fails(value):
    raise ValueError(value) from KeyError("cause")


class Picky(face.Semaphore):
    def release(self, *args, **kwargs):
        raise RuntimeError("not given back")


def holds(lock):
    with lock:
        face.sleep(30)


def limited(function, *args, **kwargs):
    with face.Timeout(0.02):
        function(*args, **kwargs)


attempt(face.BoundedSemaphore(1).release)
semaphore = face.Semaphore(0)
attempt(limited, semaphore.acquire)
attempt(Picky(1).__exit__, None, None, None)
attempt(limited, face.Event().wait)
attempt(limited, face.sleep, 30)
queue = face.Queue(1)
attempt(queue.get, block=False)
queue.put(1)
attempt(queue.put, 2, block=False)
attempt(queue.get, "no", "such", "arguments")
attempt(face.join, face.spawn(fails, "joined"))
pool = face.GreenPool(1)
pool.spawn(holds, face.Semaphore(1))
attempt(limited, pool.spawn, holds, face.Semaphore(1))
attempt(face.RLock().release)
reader, writer = face.socket.socketpair()
reader.settimeout(0.02)
attempt(reader.recv, 1)
attempt(limited, lambda: (reader.settimeout(None), reader.recv(1)))
lock = face.Semaphore(1)
victim = face.spawn(holds, lock)
face.sleep(0)
face.kill(victim)
face.sleep(0.01)
if face.name == "gevent":
    result = face.gevent.event.AsyncResult()
    result.set_exception(ValueError("kept"))
    attempt(result.get)
    attempt(result.get)
    attempt(face.gevent.spawn(fails, "got").get)
    attempt(face.gevent.get_hub().threadpool.apply, fails, ("in a thread",))
    timer = face.gevent.get_hub().loop.timer(0.001)
    timer.start(fails, "by a timer")
    face.sleep(0.02)
    attempt(lambda: list(face.GreenPool(1).imap(fails, ["mapped"])))
elif face.name == "eventlet":
    event = face.Event()
    event.send_exception(ValueError("kept"))
    attempt(event.wait)
    face.eventlet.spawn_after(0.001, fails, "by a timer")
    face.sleep(0.02)
sys.stderr.flush()
