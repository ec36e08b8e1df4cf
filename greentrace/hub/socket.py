"""Socket: the standard library's socket, which lets others run while it waits.

A subclass of `socket.socket` that is non-blocking underneath. Each call is tried first; only when the system says "would block"
does the green thread wait for the fd, and tries again:

    recv --> the system: here it is ---------------------------------------> data
       `---> would block --> wait for the fd, at most `gettimeout()` --> recv again

In:  whatever `socket.socket` takes; the module has the standard library's constants and functions as well.
Out: the same results and exceptions as from a blocking socket, `TimeoutError` after the timeout included.
Never: a blocked thread. Names are looked up in an OS thread (`threads`).

Different from Eventlet: closing a socket wakes whoever waits for it at once, with `IOClosed` (an OSError), and not only when
its number is used again.
"""

from __future__ import annotations

import errno
import os
import socket as _standard
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent

from greentrace.hub.greenthread import GreenThread, kill
from greentrace.hub.instrument import READ, WRITE
from greentrace.hub.loop import get_hub, hub_of_thread
from greentrace.hub.pool import GreenPool
from greentrace.hub.threads import execute
from greentrace.hub.trampoline import notify_close, notify_opened

_plain = _standard.socket
_IN_PROGRESS = {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK}
_GLOBAL_DEFAULT_TIMEOUT: Any = object()


def __getattr__(name: str) -> Any:
    """Everything else is the standard library's."""
    return getattr(_standard, name)


class socket(_standard.socket):
    """A cooperative socket."""

    __slots__ = ("_seconds",)

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        super().__init__(family, type, proto, fileno)
        self._seconds = _standard.getdefaulttimeout()
        super().setblocking(False)
        if fileno is None:
            notify_opened(self.fileno())

    # ---- timeouts are ours; underneath there is none

    def settimeout(self, value: float | None) -> None:
        """Set how long a call may wait: None for ever, 0 not at all."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._seconds = None if value is None else float(value)

    def gettimeout(self) -> float | None:
        return self._seconds

    timeout = property(gettimeout)  # type: ignore[assignment]

    def setblocking(self, flag: bool) -> None:
        self._seconds = None if flag else 0.0

    def getblocking(self) -> bool:
        return self._seconds != 0.0

    def _wait(self, mode: int, seconds: float | None) -> None:
        if not get_hub().listeners.wait(self.fileno(), mode, seconds, owned=True):
            raise TimeoutError("timed out")

    def _try(self, mode: int, function: Callable[..., Any], *args: Any) -> Any:
        while True:
            try:
                return function(*args)
            except BlockingIOError:
                if self._seconds == 0.0:
                    raise
            self._wait(mode, self._seconds)

    # ---- reading

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        # The one call that everybody makes, written out.
        while True:
            try:
                return _plain.recv(self, bufsize, flags)
            except BlockingIOError:
                if self._seconds == 0.0:
                    raise
            self._wait(READ, self._seconds)

    def recv_into(self, *args: Any) -> int:
        n: int = self._try(READ, super().recv_into, *args)
        return n

    def recvfrom(self, *args: Any) -> Any:
        return self._try(READ, super().recvfrom, *args)

    def recvfrom_into(self, *args: Any) -> Any:
        return self._try(READ, super().recvfrom_into, *args)

    def recvmsg(self, *args: Any) -> Any:
        return self._try(READ, super().recvmsg, *args)

    def recvmsg_into(self, *args: Any) -> Any:
        return self._try(READ, super().recvmsg_into, *args)

    def accept(self) -> tuple[socket, Any]:
        fd, address = self._try(READ, self._accept)  # type: ignore[attr-defined]
        notify_opened(fd)
        return type(self)(self.family, self.type, self.proto, fileno=fd), address

    # ---- writing

    def send(self, data: Any, flags: int = 0) -> int:
        n: int = self._try(WRITE, super().send, data, flags)
        return n

    def sendto(self, *args: Any) -> int:
        n: int = self._try(WRITE, super().sendto, *args)
        return n

    def sendmsg(self, *args: Any) -> int:
        n: int = self._try(WRITE, super().sendmsg, *args)
        return n

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it; the timeout is for the whole."""
        clock = get_hub().clock
        end = None if self._seconds is None else clock() + self._seconds
        with memoryview(data) as view, view.cast("B") as rest:
            sent = 0
            while sent < len(rest):
                try:
                    sent += _plain.send(self, rest[sent:], flags)
                    continue
                except BlockingIOError:
                    if self._seconds == 0.0:
                        raise
                self._wait(WRITE, None if end is None else max(0.0, end - clock()))

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file, through `send`."""
        n: int = self._sendfile_use_send(file, offset, count)  # type: ignore[attr-defined]
        return n

    # ---- connecting

    def connect(self, address: Any) -> None:
        error = self._connect(address)
        if error:
            raise OSError(error, os.strerror(error))

    def connect_ex(self, address: Any) -> int:
        return self._connect(address)

    def _connect(self, address: Any) -> int:
        clock = get_hub().clock
        end = None if self._seconds is None else clock() + self._seconds
        error = super().connect_ex(self._resolved(address))
        while error in _IN_PROGRESS and self._seconds != 0.0:
            self._wait(WRITE, None if end is None else max(0.0, end - clock()))
            error = self.getsockopt(_standard.SOL_SOCKET, _standard.SO_ERROR)
        return error

    def _resolved(self, address: Any) -> Any:
        if self.family not in (_standard.AF_INET, _standard.AF_INET6) or _is_numeric(address[0]):
            return address
        return getaddrinfo(address[0], address[1], self.family, self.type, self.proto)[0][4]

    # ---- its end

    def _real_close(self, *args: Any) -> None:
        if self.fileno() >= 0:
            notify_close(self.fileno())
        super()._real_close(*args)  # type: ignore[misc]

    def detach(self) -> int:
        """Give the fd away; the socket is closed and the fd is not."""
        hub = hub_of_thread()
        if hub is not None and self.fileno() >= 0:
            hub.listeners.obsolete(self.fileno())
        return super().detach()

    def dup(self) -> socket:
        fd = _standard.dup(self.fileno())
        notify_opened(fd)
        made = type(self)(self.family, self.type, self.proto, fileno=fd)
        made._seconds = self._seconds
        return made


def _adopt(plain: _standard.socket) -> socket:
    made = socket(plain.family, plain.type, plain.proto, plain.detach())
    notify_opened(made.fileno())
    return made


def socketpair(*args: Any) -> tuple[socket, socket]:
    """Make two sockets that are connected with each other."""
    left, right = _standard.socketpair(*args)
    return _adopt(left), _adopt(right)


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> socket:
    """Make a socket of a duplicate of the fd."""
    return _adopt(_standard.fromfd(fd, family, type, proto))


def _is_numeric(host: Any) -> bool:
    if not host or host == "<broadcast>":
        return True
    for family in (_standard.AF_INET, _standard.AF_INET6):
        try:
            _standard.inet_pton(family, host.decode() if isinstance(host, bytes) else host.partition("%")[0])
            return True
        except (OSError, ValueError):
            continue
    return False


def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
    """Look a name up; one that is none is not even asked for in a thread."""
    if _is_numeric(host):
        return _standard.getaddrinfo(host, port, family, type, proto, flags)
    return execute(_standard.getaddrinfo, host, port, family, type, proto, flags)


def gethostbyname(host: str) -> Any:
    """Return the first IPv4 address of a name."""
    return host if _is_numeric(host) and host else execute(_standard.gethostbyname, host)


def create_connection(address: Any, timeout: Any = _GLOBAL_DEFAULT_TIMEOUT, source_address: Any = None) -> socket:
    """Connect to (host, port), trying each address of the host in turn. Raises the first one's error if none answers."""
    errors: list[OSError] = []
    for family, kind, proto, _, target in getaddrinfo(address[0], address[1], 0, _standard.SOCK_STREAM):
        made = None
        try:
            made = socket(family, kind, proto)
            if timeout is not _GLOBAL_DEFAULT_TIMEOUT:
                made.settimeout(timeout)
            if source_address:
                made.bind(source_address)
            made.connect(target)
            return made
        except OSError as error:
            errors.append(error)
            if made is not None:
                made.close()
        except BaseException:
            if made is not None:
                made.close()
            raise
    raise errors[0] if errors else OSError("getaddrinfo returns an empty list")


def connect(addr: Any, family: int = _standard.AF_INET, bind: Any = None) -> socket:
    """Return a socket that is connected to the address."""
    made = socket(family, _standard.SOCK_STREAM)
    try:
        if bind is not None:
            made.bind(bind)
        made.connect(addr)
    except BaseException:
        made.close()
        raise
    return made


def listen(addr: Any, family: int = _standard.AF_INET, backlog: int = 50, reuse_addr: bool = True, reuse_port: bool = False) -> socket:
    """Return a socket that listens at the address. Unlike Eventlet's, it shares its port only when told to."""
    made = socket(family, _standard.SOCK_STREAM)
    try:
        if reuse_addr:
            made.setsockopt(_standard.SOL_SOCKET, _standard.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(_standard.SOL_SOCKET, _standard.SO_REUSEPORT, 1)
        made.bind(addr)
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


class StopServe(Exception):
    """Raised by a handler to end `serve`."""


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
