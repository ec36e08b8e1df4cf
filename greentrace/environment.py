"""Environment: GREENTRACE=flight or GREENTRACE=record, for a program that never heard of us.

    greentrace.pth      beside the package; Python runs its line when it starts: nothing, unless the variable is set
    begin               waits until the program imports a runtime, or greenlet; one that never does is not touched
    Doorkeeper          starts the recording just before the runtime's first line

In:  the environment. Out: a recording. Never: an exception in the program; what is wrong is said on stderr in a line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

VARIABLE = "GREENTRACE"
MODES = ("flight", "record")
_begun = False
_RUNTIMES = ("gevent", "eventlet", "greentrace.hub")


def begin() -> None:
    """Wait for what there is to record."""
    global _begun
    if _begun:
        # Python reads the line once for each of its names of one folder.
        return
    _begun = True
    mode = os.environ.get(VARIABLE, "")
    if os.getuid() != os.geteuid():
        # Whoever set the variable is not whose rights the program has.
        return
    if mode not in MODES:
        _say(f"GREENTRACE={mode} means nothing. Nothing is recorded. It may be: {', '.join(MODES)}.")
        return
    door = Doorkeeper(mode)
    sys.meta_path.insert(0, door)  # type: ignore[arg-type]


class Doorkeeper:
    """A meta path finder that finds nothing by itself, and goes away once something has come."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _RUNTIMES and name != "greenlet":
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)  # type: ignore[arg-type]
        if name == "greenlet":
            if _is_ours():
                return None
            return self._after(name, path, target)
        self._start()
        return self._found(name, path, target)

    def _found(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        # Whoever asks has passed the finders that recording has put in front.
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None else None
            if spec is not None:
                return spec  # type: ignore[no-any-return]
        return None

    def _after(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        """Recording needs greenlet itself: it begins when that is there."""
        from greentrace.record.imports import Watcher

        watcher = Watcher()

        def then(module: ModuleType) -> None:
            watcher.uninstall()
            self._start()

        watcher.watch(name, then)
        watcher.install()
        return watcher.find_spec(name, path, target)

    def _start(self) -> None:
        try:
            from greentrace import recording
            from greentrace.record.session import current

            if current() is None:
                ring_bytes = _size(os.environ.get("GREENTRACE_RING", "16M"))
                if self._mode == "flight":
                    recording.start(flight=True, ring_bytes=ring_bytes, replaceable=True)
                else:
                    recording.start(os.environ.get("GREENTRACE_OUT") or _trace_name(), ring_bytes=ring_bytes, replaceable=True)
        except Exception as error:
            _say(" ".join(str(error).split()))


def _is_ours() -> bool:
    """Whether a part of greentrace imports greenlet, to record by itself or as a tool."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("greentrace.") and not name.startswith("greentrace.samples"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _trace_name() -> str:
    return f"{Path(sys.argv[0] if sys.argv and sys.argv[0] not in ('', '-c', '-m') else 'python').stem}-{os.getpid()}.gtrace"


def _size(text: str) -> int:
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    return int(float(text[:-1] if factor > 1 else text) * factor)


def _say(text: str) -> None:
    try:
        os.write(2, f"greentrace: {text}\n".encode(errors="replace"))
    except OSError:
        pass
