"""Arrival: recording begins and ends in a process that is entered from outside.

    attach/foothold.py   the lines that are put into the process: they bring this module here
    prepare              everything is imported and the ring is made, in a thread of its own
    begin                a session, on the main thread, wherever that is: in a hub's greenlet, in the middle of a function
    end                  everything is given back; `end` may be called from anywhere that `begin` may

In:  a directory that is this process's user's alone. Out: what became of it, as plain values that JSON has.
Never: an exception that the program could see, a call of anything that a runtime may have replaced, a wait.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

from greentrace.errors import GreentraceError
from greentrace.record import session as _session

_prepared: dict[str, _session.Session] = {}
"""By directory: several may come at the same time, and the first of them begins."""


class _Uncollected:
    """No garbage collection: what it would run belongs to the program."""

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._collects:
            gc.enable()


def _refusal(error: BaseException) -> dict[str, Any]:
    if isinstance(error, GreentraceError):
        return {"refused": [error.happened, error.kept, error.advice]}
    return {
        "refused": [
            f"Recording could not begin: {type(error).__name__}: {error}.",
            "The process goes on as before.",
            "Please report this.",
        ]
    }


def prepare(directory: str, ring_bytes: int, depth: int) -> None:
    """Do what takes a while, for `begin` holds everybody up."""
    session = _prepared[directory] = _session.Session(Path(directory), ring_bytes, depth)
    # Whether there is room for a ring `begin` will find out, and say.
    with contextlib.suppress(GreentraceError):
        if _session.current() is None:
            session.prepare(room_for_all=True)


def begin(directory: str) -> dict[str, Any]:
    """Record from now on, as it was prepared. Return where the ring is, or why there is none; `already` when it was recording before."""
    began_ns = time.perf_counter_ns()
    session = _prepared.pop(directory, None)
    found = _session.current()
    if found is not None:
        return {"ring": str(found.path), "core": found.core, "already": True, "held_ns": 0}
    if session is None:
        return _refusal(RuntimeError("it was not prepared"))
    with _Uncollected():
        try:
            session.start()
        except Exception as error:
            return _refusal(error)
    held_ns = time.perf_counter_ns() - began_ns
    return {"ring": str(session.path), "core": session.core, "already": False, "held_ns": held_ns, "pid": os.getpid()}


def end() -> dict[str, Any]:
    """Give everything back. Return the names of what had to stay."""
    began_ns = time.perf_counter_ns()
    session = _session.current()
    if session is None:
        return {"left": [], "held_ns": 0}
    path = str(session.path)
    in_flight = sys.modules.get("greentrace.record.flight")
    with _Uncollected():
        try:
            if in_flight is not None and in_flight.current() is not None:
                in_flight.current().stop()
            left = session.stop()
        except Exception as error:
            return _refusal(error)
    return {"left": left, "ring": path, "held_ns": time.perf_counter_ns() - began_ns}
