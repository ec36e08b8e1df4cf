"""Socket: the standard library's socket, which lets others run while it waits.

A subclass of `socket.socket` that is non-blocking underneath. Each call is tried first; only when the system says "would block"
does the green thread wait for the fd, and tries again:

    recv --> the system: here it is ---------------------------------------> data
       `---> would block --> wait for the fd, at most `gettimeout()` --> recv again

In:  whatever `socket.socket` takes; the module has the standard library's constants and functions as well.
Out: the same results and exceptions as from a blocking socket, `TimeoutError` after the timeout included.
Never: a blocked thread. Names are looked up in an OS thread (`threads`).

Different from Eventlet: closing a socket wakes whoever waits for it at once, with `IOClosed` (an OSError), and not only when
its number is used again. As there, this reaches the green threads of the thread that closes, not those of others.
"""

from __future__ import annotations

import errno
import os
import socket as _standard
from collections.abc import Callable
from itertools import count
from typing import Any

from greentrace.hub.hubs import get_hub, hub_of_thread
from greentrace.hub.instrument import READ, WRITE
from greentrace.hub.resolve import getaddrinfo, getfqdn, gethostbyaddr, gethostbyname, gethostbyname_ex, getnameinfo, is_numeric
from greentrace.hub.trampoline import notify_close, notify_opened

_plain = _standard.socket
_IN_PROGRESS = {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK}
_GLOBAL_DEFAULT_TIMEOUT: Any = object()
_generations = count(1)


def __getattr__(name: str) -> Any:
    """Everything else is the standard library's."""
    return getattr(_standard, name)


class socket(_standard.socket):
    """A cooperative socket."""

    __slots__ = ("_generation", "_seconds")

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        super().__init__(family, type, proto, fileno)
        self._generation = next(_generations)
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
        if not get_hub().listeners.wait(self.fileno(), mode, seconds, self._generation):
            raise TimeoutError("timed out")

    def _try(self, mode: int, function: Callable[..., Any], *args: Any) -> Any:
        """Call the function until it does not say that it would block."""
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

    def accept(self) -> tuple[Any, Any]:
        fd, address = self._try(READ, self._accept)  # type: ignore[attr-defined]
        notify_opened(fd)
        return socket(self.family, self.type, self.proto, fileno=fd), address

    # ---- writing

    def send(self, data: Any, flags: int = 0) -> int:
        n: int = self._try(WRITE, super().send, data, flags)
        return n

    def sendto(self, *args: Any) -> int:
        n: int = self._try(WRITE, super().sendto, *args[:-1], self._resolved(args[-1]))
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
        try:
            return self._connect(address)
        except TimeoutError:
            # What the standard library's socket returns then.
            return errno.EAGAIN

    def _connect(self, address: Any) -> int:
        clock = get_hub().clock
        end = None if self._seconds is None else clock() + self._seconds
        error = super().connect_ex(self._resolved(address))
        while error in _IN_PROGRESS and self._seconds != 0.0:
            self._wait(WRITE, None if end is None else max(0.0, end - clock()))
            error = self.getsockopt(_standard.SOL_SOCKET, _standard.SO_ERROR)
        return error

    def _resolved(self, address: Any) -> Any:
        if self.family not in (_standard.AF_INET, _standard.AF_INET6) or is_numeric(address[0]):
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


def create_server(address: Any, **options: Any) -> socket:
    """Return a socket that listens at the address; the options are the standard library's."""
    return _adopt(_standard.create_server(address, **options))


def create_connection(
    address: Any, timeout: Any = _GLOBAL_DEFAULT_TIMEOUT, source_address: Any = None, *, all_errors: bool = False
) -> socket:
    """Connect to (host, port), trying each address of the host in turn.

    Raises the last one's error if none answers; with `all_errors` an ExceptionGroup of all.
    """
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
    if all_errors and errors:
        raise ExceptionGroup("create_connection failed", errors)
    raise errors[-1] if errors else OSError("getaddrinfo returns an empty list")


__all__ = [
    "create_connection",
    "create_server",
    "fromfd",
    "getaddrinfo",
    "getfqdn",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
    "socket",
    "socketpair",
]
