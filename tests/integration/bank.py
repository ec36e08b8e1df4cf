"""A WSGI application with two handlers that take two locks in opposite order, on gevent or eventlet.

Each handler waits, with its first lock held, until the other one holds its own: so the deadlock needs no luck with timing,
only that both requests reach the same process. A handler that stays alone gives up and answers.

    python bank.py eventlet      serves on a free port of 127.0.0.1 with eventlet's server and prints the port
"""

import os
import sys

if "eventlet" in sys.argv[1:]:
    import eventlet
    from eventlet import Semaphore as Lock
    from eventlet import sleep
else:
    from gevent import sleep
    from gevent.lock import BoundedSemaphore as Lock

accounts = Lock(1)
ledger = Lock(1)
inside = set()


def meet(me, other):
    """Return whether the other handler came within half a second."""
    inside.add(me)
    try:
        for _ in range(100):
            if other in inside:
                sleep(0.02)
                return True
            sleep(0.005)
        return False
    finally:
        inside.discard(me)


def transfer():
    with accounts:
        if not meet("transfer", "audit"):
            return b"alone"
        with ledger:
            return b"moved"


def audit():
    with ledger:
        if not meet("audit", "transfer"):
            return b"alone"
        with accounts:
            return b"checked"


def app(environ, start_response):
    handler = {"/transfer": transfer, "/audit": audit}.get(environ["PATH_INFO"])
    body = handler() if handler else f"hello from {os.getpid()}".encode()
    start_response("200 OK", [("Content-Length", str(len(body))), ("Content-Type", "text/plain")])
    return [body]


if __name__ == "__main__":
    from eventlet import wsgi

    listener = eventlet.listen(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    wsgi.server(listener, app, log_output=False)
