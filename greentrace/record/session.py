"""Session: recording, from the first event to the last, in this process and in those that it forks.

In:  a directory for rings and the wish to record. Out: a ring that is being written.
It makes the ring, loads a core, teaches it whose code is whose, installs the adapters (now for what is imported, later for
what will be), traces this thread and every thread that makes a greenlet, and starts anew in the child of a fork. `stop`
gives everything back. A fault of ours ends recording with one line on stderr; the program lives.
"""

from __future__ import annotations

import os
import posix
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import greenlet

from greentrace import ring
from greentrace.errors import CannotRecord
from greentrace.record import recorder as _recorder
from greentrace.record.discovery import heap, look
from greentrace.record.imports import Watcher
from greentrace.record.recorder import Recorder
from greentrace.record.runtimes import builtin, eventlet, gevent
from greentrace.record.runtimes.adapter import Adapter, Patcher, teach_paths
from greentrace.record.threads import start_threads, stop_threads

_RECORDS_OF_ONE = 8
"""So many a keyframe has of one greenlet, what it waits for and what it holds, in most programs."""
ADAPTERS: tuple[Adapter, ...] = (builtin.ADAPTER, eventlet.ADAPTER, gevent.ADAPTER)


def start_ticks(pid: int | str = "self") -> int:
    """Return when a process started, in clock ticks since boot: with the pid it names a process for good. 0 if unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def describe_process(core: str, runtime_paths: list[str]) -> dict[str, Any]:
    """Return what a reader must know of this process: the META entry of its ring."""
    return {
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "start_ticks": start_ticks(),
        "host": os.uname().nodename,
        "boot_id": _read("/proc/sys/kernel/random/boot_id"),
        "executable": sys.executable,
        "argv": [argument[:200] for argument in sys.orig_argv[1:20]],
        "cwd": os.getcwd(),
        "python": sys.version.split()[0],
        "runtimes": {"greenlet": greenlet.__version__},
        "core": core,
        "mono_ns": time.monotonic_ns(),
        "wall_ns": time.time_ns(),
        "runtime_paths": runtime_paths,
    }


@dataclass
class Session:
    """One recording. `start` it once; it goes on until `stop` or the end of the process."""

    directory: Path
    ring_bytes: int = ring.DEFAULT_BYTES
    depth: int = 32
    core: str = ""
    path: Path | None = None
    runtime_paths: list[str] = field(default_factory=list)
    _recorder: Recorder | None = None
    _patcher: Patcher | None = None
    _watcher: Watcher = field(default_factory=Watcher)
    _rebound: list[Any] = field(default_factory=list)
    _instrumented: list[str] = field(default_factory=list)
    _parent_pid: int = 0
    _meta: dict[str, Any] = field(default_factory=dict)
    _is_prepared: bool = False

    @property
    def recorder(self) -> Recorder | None:
        """The core that records, None when nothing is recorded."""
        return self._recorder

    def prepare(self, room_for_all: bool = False) -> None:
        """Do what takes a while, in any thread, and touch nothing of the program's: load the core, make the ring.

        `room_for_all`: a larger one, if it can be, where so many greenlets live already that a keyframe would not fit.
        Raises `CannotRecord` when no ring can be made.
        """
        self.core, core = _recorder.load()
        self.runtime_paths, self._instrumented = [], []
        self._meta = describe_process(self.core, self.runtime_paths)
        asked = self.ring_bytes
        if room_for_all:
            self.ring_bytes = max(asked, ring.bytes_for_keyframe(heap.lives(core) * _RECORDS_OF_ONE))
        try:
            self.path = self._make_ring()
        except CannotRecord:
            if self.ring_bytes == asked:
                raise
            self.ring_bytes = asked
            self.path = self._make_ring()
        self._is_prepared = True

    def start(self) -> None:
        """Begin to record this process.

        Raises `CannotRecord` when no ring can be made; nothing has been touched then.
        """
        global _current
        if _current is not None:
            raise CannotRecord("This process is being recorded already.", "That recording goes on.", "Stop it first: greentrace.stop().")
        if not self._is_prepared:
            self.prepare()
        self._is_prepared = False
        _, self._recorder = _recorder.load()
        self._recorder.start(str(self.path), self.depth)
        # What is hooked by half tells half of what happens: other threads go on meanwhile.
        self._recorder.quiet(True)
        self.runtime_paths += teach_paths(self._recorder)
        self._recorder.watch_creation(True)
        self._patcher = Patcher(self._recorder)
        self._watcher.install()
        for adapter in ADAPTERS:
            self._install(adapter)
        self._recorder.quiet(False)
        self._recorder.start_thread()
        # First: what switches meanwhile says so itself, and is not told of as it was found.
        self._guarded(start_threads, self._recorder)
        self._guarded(self._discover)
        for text in self._instrumented:
            self._recorder.patched(text)
        _current = self
        _register_fork_handlers()

    def _make_ring(self) -> Path:
        pid = os.getpid()
        path = self.directory / f"{pid}-{start_ticks()}{ring.SUFFIX}"
        path.unlink(missing_ok=True)
        ring.create(path, self.ring_bytes, start_ticks(), self._meta)
        return path

    def _install(self, adapter: Adapter) -> None:
        def on_package(module: ModuleType) -> None:
            self._guarded(self._package_imported, adapter)

        for name in sorted(adapter.modules()):
            self._watch_module(adapter, name)
        self._watcher.watch(adapter.package, on_package)

    def _watch_module(self, adapter: Adapter, name: str, wanted: Callable[[ModuleType], bool] = lambda module: True) -> None:
        first = sys.modules.get(name)

        def on_module(module: ModuleType) -> None:
            if self._patcher is not None and (module is first or wanted(module)):
                self._guarded(self._patcher.apply, adapter, module, name)

        self._watcher.watch(name, on_module)

    def _package_imported(self, adapter: Adapter) -> None:
        if self._recorder is None or self._patcher is None:
            return
        if adapter.on_package is not None:
            adapter.on_package(self._recorder)
        version = getattr(sys.modules.get(adapter.package), "__version__", "")
        text = f"{adapter.name} {version}".strip() + " instrumented"
        if _current is self:
            self._recorder.patched(text)
        else:
            self._instrumented.append(text)
        for name in adapter.shared_modules:
            self._watch_module(adapter, name, adapter.is_green)
        for copy, name in adapter.copies:
            if copy in sys.modules:
                self._patcher.apply(adapter, sys.modules[copy], name)

    def _discover(self) -> None:
        """Tell of all that lives already."""
        assert self._recorder is not None
        assert self._patcher is not None
        try:
            self._rebound = look.discover(self._recorder, self._patcher)
        except Exception as error:
            # What began before stays unknown; what comes is recorded.
            self._recorder.patched(f"what lived before could not be looked at: {type(error).__name__}: {error}")

    def _guarded(self, call: Any, *args: Any) -> None:
        """Call; a fault of ours ends recording and not the program."""
        if self._recorder is None or not self._recorder.is_recording():
            return
        try:
            call(*args)
        except Exception as error:
            self._recorder.stop()
            _complain(f"recording has ended: {type(error).__name__}: {error}. The events until now are kept. Please report this.")

    def stop(self) -> list[str]:
        """Record no more and give everything back; in whichever thread, and in a forked child too.

        Returns the names of what is still there, and inert: somebody replaced it after us, or its thread could not be reached.
        """
        global _current
        if self._recorder is None:
            return []
        # First of all: what is let go by half tells half of what happens.
        self._recorder.stop()
        self._watcher.uninstall()
        left = builtin.unobserve()
        left += self._patcher.restore() if self._patcher is not None else []
        look.give_back(self._rebound)
        self._recorder.watch_creation(False)
        left += stop_threads(self._recorder)
        self._recorder.forget()
        self._recorder = self._patcher = None
        _current = None
        return left

    def mark(self, text: str) -> None:
        """Write a user's note into the trace."""
        if self._recorder is not None:
            self._recorder.mark(text)

    def before_fork(self) -> None:
        self._parent_pid = os.getpid()
        if self._recorder is not None:
            self._recorder.forking()
            # Until it has a ring of its own, the child would write into this one.
            self._recorder.quiet(True)

    def after_fork_in_parent(self) -> None:
        if self._recorder is not None:
            self._recorder.quiet(False)

    def after_fork_in_child(self) -> None:
        if self._recorder is None:
            return
        try:
            self._meta = describe_process(self.core, self.runtime_paths)
            self.path = self._make_ring()
            self._recorder.forked(str(self.path), self._parent_pid)
        except (CannotRecord, OSError) as error:
            self._recorder.forked(None, self._parent_pid)
            _complain(f"process {os.getpid()} is not recorded: {error}")


_current: Session | None = None
_fork_handlers = False


def current() -> Session | None:
    """Return the session of this process, if it is being recorded."""
    return _current


def _complain(text: str) -> None:
    # What a runtime has put in the place of os.write would wait; and a closed stderr must not matter here.
    try:
        posix.write(2, f"greentrace: {text}\n".encode(errors="replace"))
    except OSError:
        pass


def _register_fork_handlers() -> None:
    global _fork_handlers
    if _fork_handlers:
        return
    _fork_handlers = True

    def before() -> None:
        if _current is not None:
            _current.before_fork()

    def after_in_child() -> None:
        if _current is not None:
            _current.after_fork_in_child()

    def after_in_parent() -> None:
        if _current is not None:
            _current.after_fork_in_parent()

    os.register_at_fork(before=before, after_in_parent=after_in_parent, after_in_child=after_in_child)
