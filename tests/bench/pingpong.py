"""The load of `python -m tests.bench.overhead`: 20 pairs of green threads that play ping-pong over socketpairs.

python pingpong.py RUNTIME ROUNDS      prints the best of four timings, in seconds
"""

import sys
import time
import warnings

PAIRS = 20


def runtime(name):
    """Return (socketpair, spawn, wait for all) of a runtime."""
    if name == "gevent":
        import gevent
        from gevent import socket

        return socket.socketpair, gevent.spawn, gevent.joinall
    if name == "eventlet":
        import eventlet
        from eventlet.green import socket

        return socket.socketpair, eventlet.spawn, lambda threads: [thread.wait() for thread in threads]
    from greentrace import hub
    from greentrace.hub import socket

    return socket.socketpair, hub.spawn, lambda threads: [thread.wait() for thread in threads]


def server(end):
    while data := end.recv(64):
        end.sendall(data)


def client(end, rounds):
    for _ in range(rounds):
        end.sendall(b"x" * 32)
        end.recv(64)
    end.close()


def play(name, rounds):
    """Return the seconds that one game takes."""
    socketpair, spawn, wait = runtime(name)
    pairs = [socketpair() for _ in range(PAIRS)]
    begin = time.perf_counter()
    wait([spawn(server, b) for _, b in pairs] + [spawn(client, a, rounds) for a, _ in pairs])
    return time.perf_counter() - begin


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    which, rounds = sys.argv[1], int(sys.argv[2])
    play(which, max(rounds // 10, 1))
    print(min(play(which, rounds) for _ in range(4)))
