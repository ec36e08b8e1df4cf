"""Server: the few calls with which one writes a client or a server.

    connect(("host", 80))                                                a socket that is connected
    serve(listen(("", 6000)), lambda connection, address: ...)           one green thread a connection

In:  addresses, a handler. Out: cooperative sockets, handled connections.
Never: a connection that stays open when its handler has ended, nor more handlers at once than were allowed.

Different from Eventlet: `listen` shares its port with other processes (SO_REUSEPORT) only when told to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent

from greentrace.hub import socket
from greentrace.hub.greenthread import GreenThread, kill
from greentrace.hub.pool import GreenPool


def connect(addr: Any, family: int = socket.AF_INET, bind: Any = None) -> socket.socket:
    """Return a socket that is connected to the address."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if bind is not None:
            made.bind(bind)
        made.connect(addr)
    except BaseException:
        made.close()
        raise
    return made


def listen(addr: Any, family: int = socket.AF_INET, backlog: int = 50, reuse_addr: bool = True, reuse_port: bool = False) -> socket.socket:
    """Return a socket that listens at the address. Unlike Eventlet's, it shares its port only when told to."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if reuse_addr:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(addr)
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


class StopServe(Exception):
    """Raised by a handler to end `serve`."""


def wrap_ssl(sock: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the socket with TLS on it: `ssl.wrap_socket`. Best at once, so that nobody has the naked one in his hands."""
    # Here, so that whoever has no use for TLS does not load it.
    from greentrace.hub import ssl

    return ssl.wrap_socket(sock, *args, **kwargs)


def serve(sock: Any, handle: Callable[[Any, Any], Any], concurrency: int = 1000) -> None:
    """Accept connections and let `handle(connection, address)` run for each, at most so many at once.

    The connection is closed when its handler has ended. An exception of a handler ends `serve` and is raised by it; StopServe
    only ends it.
    """
    pool = GreenPool(concurrency)
    server = getcurrent()
    while True:
        try:
            connection, address = sock.accept()
            pool.spawn(handle, connection, address).link(_served, server, connection)
            del connection, address
        except StopServe:
            return


def _served(thread: GreenThread, server: Any, connection: Any) -> None:
    try:
        thread.wait()
    except GreenletExit:
        pass
    except Exception as error:
        kill(server, error)
    finally:
        connection.close()
