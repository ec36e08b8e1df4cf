"""Recording: the same as `greentrace record`, from inside the program.

In:  a path for the trace, or none for the ring alone. Out: a trace, written by a follower process that is nobody's child,
so that the program's own `os.wait` never meets it. Never: an exception of ours once recording has begun; what the follower
could not write is said on stderr, and stays in the ring.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
from pathlib import Path
from types import TracebackType

from greentrace import ring
from greentrace.errors import CannotRecord
from greentrace.record.session import Session, current

_follower_done: int | None = None


def run_directory() -> Path:
    """Make a new private directory for the rings of one run.

    Raises `CannotRecord` when there is no place for it.
    """
    return ring.private_directory(ring.private_directory(ring.home()) / f"run-{os.getpid()}-{secrets.token_hex(4)}")


def start(out: str | os.PathLike[str] | None = None, *, ring_bytes: int = ring.DEFAULT_BYTES, depth: int = 32) -> None:
    """Record this process from now on: into the trace `out`, or into a ring alone that `greentrace attach` can follow.

    `ring_bytes` is the size of the ring, `depth` how many frames a site keeps. Raises `CannotRecord`.
    """
    global _follower_done
    path = None if out is None else _writable(Path(out).absolute())
    directory = run_directory()
    try:
        Session(directory, ring_bytes, depth).start()
    except CannotRecord:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    if path is None:
        return
    _follower_done, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    # Through a shell that ends at once: the follower is then a child of init and not of this program.
    line = 'exec "$@" </dev/null >/dev/null 2>&1'
    follower = [sys.executable, "-m", "greentrace.follow", str(directory), str(path), "--pid", str(os.getpid()), "--tell", str(write_end)]
    shell = os.posix_spawn("/bin/sh", ["/bin/sh", "-c", f"({line}) & :", "sh", *follower], dict(os.environ), setsid=True)
    os.close(write_end)
    os.waitpid(shell, 0)


def _writable(path: Path) -> Path:
    """Return the path if a trace can be written there; asked before anything is recorded."""
    try:
        with open(path, "ab"):
            return path
    except OSError as error:
        raise CannotRecord(
            f"The trace {path} cannot be written ({error.strerror}).", "Nothing was recorded.", "Choose another place for the trace."
        ) from error


def stop() -> list[str]:
    """Record no more, give everything back, and wait until the trace is whole. Harmless when nothing is recorded.

    Returns the names of what had to stay, inert: somebody replaced it since, or its thread could not be reached.
    """
    global _follower_done
    session = current()
    left = session.stop() if session is not None else []
    if _follower_done is not None:
        # The follower holds the other end until it has written everything, and tells what it could not.
        while trouble := os.read(_follower_done, 4096):
            with contextlib.suppress(OSError):
                os.write(2, trouble)
        os.close(_follower_done)
        _follower_done = None
    return left


def mark(text: str) -> None:
    """Write a note into the trace, at the place where it is called. Harmless when nothing is recorded."""
    session = current()
    if session is not None:
        session.mark(text)


class record:
    """`with greentrace.record("out.gtrace"):` records what happens inside the block."""

    def __init__(self, out: str | os.PathLike[str], *, ring_bytes: int = ring.DEFAULT_BYTES, depth: int = 32) -> None:
        self._arguments = (out, ring_bytes, depth)

    def __enter__(self) -> record:
        out, ring_bytes, depth = self._arguments
        start(out, ring_bytes=ring_bytes, depth=depth)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        stop()
