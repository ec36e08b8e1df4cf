"""Web: the same windows in a browser on this machine, by textual-serve.

In:  a file, a port. Out: a server on 127.0.0.1 that starts `greentrace replay FILE` for every page that is opened.
Never: an answer to a page of somebody else's that the browser shows too: what names another host, or comes from another origin, is
refused, and our page loads nothing from elsewhere. Whoever can reach the address on this machine needs no password.
"""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from greentrace.errors import BadInput

HOST = "127.0.0.1"
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws:; frame-ancestors 'none'"
Handler = Callable[[Any], Awaitable[Any]]


def serve(file: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. Raises `BadInput` when that is not possible."""
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError as error:
        raise BadInput(
            "The windows cannot be served: textual-serve is not installed.",
            "Nothing was served.",
            "Install it with pip install 'greentrace[web]', or leave out --web.",
        ) from error

    hosts = {f"{HOST}:{port}", f"localhost:{port}"}

    @web.middleware
    async def only_from_here(request: Any, handler: Handler) -> Any:
        origin = request.headers.get("Origin")
        if request.host not in hosts or (origin is not None and origin.partition("://")[2] not in hosts):
            raise web.HTTPForbidden(text="This page is for a browser on this machine alone.")
        response = await handler(request)
        if not response.prepared:
            response.headers["Content-Security-Policy"] = _POLICY
        return response

    class Here(Server):  # type: ignore[misc, unused-ignore]
        async def _make_app(self) -> Any:
            app = await super()._make_app()
            app.middlewares.append(only_from_here)
            return app

    _check_free(port)
    command = shlex.join([sys.executable, "-m", "greentrace", "replay", str(file)])
    say(f"http://{HOST}:{port} shows {file} in a browser on this machine. It has no login: whoever can reach that address here can look")
    say("at the trace, and write pictures where this command was started. Ctrl-C ends it.")
    Here(command, host=HOST, port=port, title=f"greentrace {file.name}").serve()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise BadInput(
                f"Port {port} of {HOST} cannot be listened on ({error}).", "Nothing was served.", "Choose another one with --port."
            ) from error
