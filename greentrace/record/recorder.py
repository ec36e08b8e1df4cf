"""Recorder: one face, two cores.

The native core (`_native`, C) and its twin (`twin`, Python) have the same functions; `load` picks one. Adapters and the
session speak to this face only. Out: records. Never: a decision on what a runtime's method means (runtimes/ does that).

GREENTRACE_CORE=python or =native in the environment insists on one of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, Protocol, cast

from greentrace.errors import CannotRecord


class Recorder(Protocol):
    """What both cores can do. The vocabulary (`park`, `acquire`, `timer_add`, ...) is documented in greentrace.hub.instrument."""

    def start(self, ring_path: str, depth: int = 32) -> None: ...
    def stop(self) -> None: ...
    def forked(self, ring_path: str | None, parent_pid: int) -> None: ...
    def start_thread(self) -> None: ...
    def stop_thread(self) -> bool: ...
    def watch_creation(self, on: bool) -> bool: ...
    def hook(self, wrapped: Callable[..., Any], role: str, kind: int = 0, op: int = 0, extra: Callable[..., Any] | None = None) -> Any: ...
    def patch(self, owner: type, name: str, value: Any) -> None: ...
    def patch_init(self, owner: type, kind: int) -> bool: ...
    def patch_next(self, owner: type, kind: int) -> bool: ...
    def unpatch_inits(self) -> None: ...
    def set_kind(self, owner: type, kind: int) -> None: ...
    def set_maker(self, code: CodeType, kind: int) -> None: ...
    def stands_for(self, obj: Any, owner: Any, kind: int) -> None: ...
    def set_hub_type(self, owner: type) -> None: ...
    def set_named_type(self, owner: type) -> None: ...
    def add_path(self, prefix: str, flag: int) -> None: ...
    def counts(self) -> dict[str, int]: ...
    def is_recording(self) -> bool: ...
    def hub(self, greenlet: Any) -> None: ...
    def poll_begin(self, timeout_ns: int) -> None: ...
    def poll_end(self, ready: int) -> None: ...
    def mark(self, text: str) -> None: ...
    def patched(self, text: str) -> None: ...
    def forking(self) -> None: ...


_loaded: tuple[str, Recorder] | None = None


def has_gil() -> bool:
    """Whether one thread runs at a time: the recorder, in C and in Python, has no other lock around its tables."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def load() -> tuple[str, Recorder]:
    """Return ("c" or "python", the core); always the same in one process.

    Raises `CannotRecord` when GREENTRACE_CORE insists on a core that is not there, and on a Python that runs without its GIL.
    """
    global _loaded
    if not has_gil():
        raise CannotRecord(
            "This Python runs without its GIL, and greentrace has no other lock.",
            "Nothing was recorded; the program is as it was.",
            "Set PYTHON_GIL=1 in its environment, or run it on a Python with the GIL.",
        )
    if _loaded is None:
        wish = os.environ.get("GREENTRACE_CORE", "")
        if wish != "python":
            try:
                import greentrace.record._native as _native

                _loaded = ("c", cast(Recorder, _native))
            except ImportError as error:
                if wish == "native":
                    raise CannotRecord(
                        f"The native recorder cannot be loaded ({error}).",
                        "Nothing was recorded.",
                        "Install greentrace with a C compiler at hand, or unset GREENTRACE_CORE.",
                    ) from error
        if _loaded is None:
            from greentrace.record.twin import Twin

            _loaded = ("python", cast(Recorder, Twin()))
    return _loaded
