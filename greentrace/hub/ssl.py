"""Ssl: TLS over a cooperative socket.

The standard library's SSLSocket, with its ends exchanged: below it reads and writes a socket of ours, which never blocks, and so
OpenSSL says what it waits for. That, and not what the caller wanted, is what the green thread waits for:

    recv --> OpenSSL --> "I want to read"  --> wait until readable -+
              ^  `-----> "I want to write" --> wait until writable -+   a handshake may come in the middle of any call
              `------------------------------------------------------+

In:  whatever `ssl` takes; the module has its constants, exceptions and functions as well. Out: the same as from a blocking
SSLSocket. Never: a blocked thread; a context made by the standard library itself gives sockets that block.
"""

from __future__ import annotations

import ssl as _standard
from collections.abc import Callable
from typing import Any

from greentrace.hub.hubs import get_hub
from greentrace.hub.instrument import READ, WRITE
from greentrace.hub.socket import socket


def __getattr__(name: str) -> Any:
    """Everything else is the standard library's."""
    return getattr(_standard, name)


class SSLSocket(_standard.SSLSocket, socket):
    """A cooperative TLS socket. Made by a context's `wrap_socket`."""

    def _insist(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the function until OpenSSL has what it wants; the timeout is for the whole."""
        clock = get_hub().clock
        end = None if self._seconds is None else clock() + self._seconds
        while True:
            try:
                return function(*args)
            except _standard.SSLWantReadError:
                mode = READ
                if self._seconds == 0.0:
                    raise
            except _standard.SSLWantWriteError:
                mode = WRITE
                if self._seconds == 0.0:
                    raise
            self._wait(mode, None if end is None else max(0.0, end - clock()))

    # Whatever reads comes through `read`, and what writes through `send` or `write`; without a TLS session they are the socket's.

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        return self._insist(super().read, len, buffer)

    def write(self, data: Any) -> int:
        n: int = self._insist(super().write, data)
        return n

    def send(self, data: Any, flags: int = 0) -> int:
        n: int = self._insist(super().send, data, flags)
        return n

    def do_handshake(self, block: bool = False) -> None:
        """Agree with the other side. `block`: even if the timeout is 0."""
        before = self._seconds
        if block and before == 0.0:
            self._seconds = None
        try:
            self._insist(super().do_handshake)
        finally:
            self._seconds = before

    def unwrap(self) -> socket:
        """Say goodbye to the other side and wait for its own. Returns the naked socket: itself, as the standard library does."""
        self._insist(super().unwrap)
        return self


class SSLContext(_standard.SSLContext):
    """A context whose sockets are cooperative."""

    sslsocket_class = SSLSocket


def create_default_context(*args: Any, **kwargs: Any) -> _standard.SSLContext:
    """Return the standard library's default context, whose sockets are cooperative."""
    context = _standard.create_default_context(*args, **kwargs)
    context.sslsocket_class = SSLSocket
    return context


def wrap_socket(
    sock: socket,
    keyfile: Any = None,
    certfile: Any = None,
    server_side: bool = False,
    cert_reqs: Any = _standard.CERT_NONE,
    ssl_version: Any = None,
    ca_certs: Any = None,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    ciphers: str | None = None,
) -> SSLSocket:
    """Put TLS on a socket, in one call, as `ssl.wrap_socket` did before Python 3.12. It trusts whom `cert_reqs` says: anybody."""
    default = _standard.PROTOCOL_TLS_SERVER if server_side else _standard.PROTOCOL_TLS_CLIENT
    context = SSLContext(default if ssl_version is None else ssl_version)
    context.check_hostname = False
    context.verify_mode = cert_reqs
    if ca_certs:
        context.load_verify_locations(ca_certs)
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    if ciphers:
        context.set_ciphers(ciphers)
    made: Any = context.wrap_socket(
        sock, server_side=server_side, do_handshake_on_connect=do_handshake_on_connect, suppress_ragged_eofs=suppress_ragged_eofs
    )
    return made  # type: ignore[no-any-return]


__all__ = ["SSLContext", "SSLSocket", "create_default_context", "wrap_socket"]
