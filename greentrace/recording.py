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
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from greentrace import ring
from greentrace.errors import CannotRecord
from greentrace.record.session import Session, current

if TYPE_CHECKING:
    from greentrace.record.flight import Options

_follower_done: int | None = None
_flown: Path | None = None
_replaceable = False
_WAIT_SECONDS = 20.0
_PAUSE_SECONDS = 0.01


def run_directory() -> Path:
    """Make a new private directory for the rings of one run.

    Raises `CannotRecord` when there is no place for it.
    """
    return ring.private_directory(ring.private_directory(ring.home()) / f"run-{os.getpid()}-{secrets.token_hex(4)}")


def start(
    out: str | os.PathLike[str] | None = None,
    *,
    ring_bytes: int = ring.DEFAULT_BYTES,
    depth: int = 32,
    flight: bool | Options = False,
    replaceable: bool = False,
) -> None:
    """Record this process from now on: into the trace `out`, or into a ring alone that `greentrace attach` can follow.

    `ring_bytes` is the size of the ring, `depth` how many frames a site keeps. With `flight` the ring is all, for ever, and a
    trace is saved when something happens; the options are those of the environment unless an `Options` tells them. A `replaceable`
    recording ends when another is started. Raises `CannotRecord`.
    """
    global _follower_done, _flown, _replaceable
    if _replaceable:
        stop()
    options = None
    if flight:
        from greentrace.record.flight import Options

        options = flight if isinstance(flight, Options) else Options.of_environment(os.environ)
        if out is not None:
            raise CannotRecord("A flight recorder has no trace of its own.", "Nothing was recorded.", "Leave `out` away, or flight=True.")
    path = None if out is None else _writable(Path(out).absolute())
    directory = run_directory()
    session = Session(directory, ring_bytes, depth)
    try:
        session.start()
    except CannotRecord:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    if options is not None and session.recorder is not None:
        from greentrace.record.flight import Flight

        Flight(session.recorder, options).start()
        _flown = session.path
        arguments = ["-m", "greentrace.flight", str(directory), "--pid", str(os.getpid()), "--options", options.to_json()]
        _spawn(arguments, "</dev/null >/dev/null")
    _replaceable = replaceable
    if path is None:
        return
    _follower_done, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    follower = ["-m", "greentrace.follow", str(directory), str(path), "--pid", str(os.getpid()), "--tell", str(write_end)]
    _spawn(follower, "</dev/null >/dev/null 2>&1")
    os.close(write_end)


def _spawn(arguments: list[str], redirected: str) -> None:
    """Run a Python of ours through a shell that ends at once: it is then a child of init and not of this program."""
    line = f'exec "$@" {redirected}'
    # It does not record itself.
    environment = {name: value for name, value in os.environ.items() if name != "GREENTRACE"}
    shell = os.posix_spawn("/bin/sh", ["/bin/sh", "-c", f"({line}) & :", "sh", sys.executable, *arguments], environment, setsid=True)
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
    """Record no more, give everything back, and wait until what has to be saved is whole. Harmless when nothing is recorded.

    Returns the names of what had to stay, inert: somebody replaced it since, or its thread could not be reached.
    """
    global _follower_done, _flown, _replaceable
    _replaceable = False
    session = current()
    left: list[str] = []
    if session is not None:
        in_flight = sys.modules.get("greentrace.record.flight")
        if in_flight is not None and in_flight.current() is not None:
            in_flight.current().stop()
        left = session.stop()
    if _follower_done is not None:
        # The follower holds the other end until it has written everything, and tells what it could not.
        while trouble := os.read(_follower_done, 4096):
            with contextlib.suppress(OSError):
                os.write(2, trouble)
        os.close(_follower_done)
        _follower_done = None
    if _flown is not None:
        _wait_for_follower(_flown)
        _flown = None
    return left


def _wait_for_follower(ring_path: Path) -> None:
    """Wait until the flight recorder's follower has done with a ring; it removes it. Not for ever: it may have been killed."""
    from greentrace.record.session import start_ticks
    from greentrace.record.twin_world import native_lock

    def is_over() -> bool:
        try:
            return not ring_path.exists() or not start_ticks(int((ring_path.parent / "follower").read_text()))
        except (OSError, ValueError):
            # It is only just beginning, or has just ended.
            return not ring_path.exists()

    wait_natively(is_over, _WAIT_SECONDS, native_lock())


def wait_natively(is_over: Callable[[], bool], seconds: float, lock: Any) -> bool:
    """Wait until something is over, as a system's thread does: no hub turns meanwhile. Return whether it is."""
    lock.acquire()
    rounds = int(seconds / _PAUSE_SECONDS)
    while not is_over() and rounds:
        lock.acquire(timeout=_PAUSE_SECONDS)
        rounds -= 1
    return bool(rounds)


def snapshot(path: str | os.PathLike[str] | None = None) -> None:
    """Have the flight recorder save what it holds: now, and what comes shortly after. Harmless when there is none.

    Without a path it lies among the other snapshots. Returns at once; the snapshot is there when it is whole.
    """
    in_flight = sys.modules.get("greentrace.record.flight")
    if in_flight is not None and in_flight.current() is not None:
        in_flight.current().say("snapshot", "", "" if path is None else str(Path(path).absolute()))


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
