"""Flight: what the flight recorder needs inside of the program: whatever calls for a snapshot says so in the ring.

    recorder     SIGUSR2, an exception that nobody handles, gevent's LoopExit, a call of `snapshot`, the end: TRIGGER, ERROR
    watchdog     who keeps a thread: HOG
    follower     (another process, greentrace.flight) reads them, finds deadlocks by itself, and saves

In:  a session that records into its ring alone, and `Options`. Out: events. `stop` gives everything back.
Never: a file, a descriptor, a wait. What was there before (a signal's handler, a hook) is called as if we were not there; only
where the signal would have ended the program does it not, for that is what the signal is for now.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from types import FrameType, ModuleType
from typing import Any

from greentrace.errors import CannotRecord
from greentrace.record.imports import Watcher
from greentrace.record.recorder import Recorder

TRIGGERS: dict[str, str] = {
    "deadlock": "greenlets wait for each other for ever, or a hub can never turn again: proven",
    "hog": "a greenlet kept its thread for more than GREENTRACE_HOG_MS",
    "loop-exit": "gevent's hub has nothing left to wait for",
    "exception": "an exception that nobody handled",
    "signal": "the signal GREENTRACE_SIGNAL",
    "snapshot": "greentrace.snapshot()",
    "timeout": "a test's timeout (the pytest plugin)",
    "death": "the process ended without a word: killed, or crashed",
    "exit": "the process ended",
}
"""What a snapshot is saved for, and a few words on it."""
DEFAULT_TRIGGERS = tuple(name for name in TRIGGERS if name != "exit")
_PREFIX = "GREENTRACE_"
_ENDS = ("exit", "stay")
"""What is always told: that the process is about to end of its own accord, and that it did not."""


@dataclass(frozen=True)
class Options:
    """How a flight recorder behaves. Each is a variable too, in capitals behind `GREENTRACE_`.

    `snapshots` is the directory for what is saved; `hog_ms` 0 for no watchdog, `signal` "" for none; `before` and `after` a trigger,
    in seconds, is what a snapshot holds, as far as the ring reaches; `every` is the least number of seconds between two of a kind;
    `keep` and `keep_mb` are how many snapshots, and of what size together, stay in the directory.
    """

    triggers: tuple[str, ...] = DEFAULT_TRIGGERS
    snapshots: str = "greentrace-snapshots"
    hog_ms: int = 1000
    signal: str = "SIGUSR2"
    after: float = 1.0
    every: float = 30.0
    keep: int = 20
    keep_mb: int = 500

    def __post_init__(self) -> None:
        """Raises `CannotRecord` when a value means nothing."""
        for name in self.triggers:
            if name not in TRIGGERS:
                raise _meaningless("triggers", name, f"The triggers are: {', '.join(TRIGGERS)}; or all.")
        if self.signal and not isinstance(getattr(signal, self.signal, None), signal.Signals):
            raise _meaningless("signal", self.signal, "Give the name of a signal, such as SIGUSR2.")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value < 0:
                raise _meaningless(field.name, str(value), "Give a number that is not below 0.")

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Options:
        """Return the options that texts mean. Raises `CannotRecord`."""
        read: dict[str, Any] = {}
        for field in fields(cls):
            text = values.get(field.name)
            if text is None:
                continue
            if field.name == "triggers":
                names = tuple(name.strip() for name in text.split(",") if name.strip())
                read["triggers"] = tuple(TRIGGERS) if names == ("all",) else names
            elif isinstance(field.default, str):
                read[field.name] = text
            else:
                try:
                    read[field.name] = (float if isinstance(field.default, float) else int)(text)
                except ValueError:
                    raise _meaningless(field.name, text, "Give a number.") from None
        return cls(**read)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Options:
        """Return the options that the variables tell. Raises `CannotRecord`."""
        known = {field.name: _PREFIX + field.name.upper() for field in fields(cls)}
        return cls.of({name: environment[variable] for name, variable in known.items() if variable in environment})

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Options:
        values = json.loads(text)
        return cls(**{**values, "triggers": tuple(values["triggers"])})


def _meaningless(name: str, value: str, advice: str) -> CannotRecord:
    return CannotRecord(f"{name}={value} means nothing to the flight recorder.", "Nothing is recorded.", advice)


_ERROR_METHODS = (
    ("gevent.hub", "Hub", "handle_error"),
    ("eventlet.hubs.hub", "BaseHub", "squelch_exception"),
    ("eventlet.hubs.hub", "BaseHub", "squelch_generic_exception"),
    ("eventlet.hubs.hub", "BaseHub", "squelch_timer_exception"),
)
"""Where a runtime prints what nobody handled. The last or the only tuple among the arguments, or the second argument, tells the type."""


class Flight:
    """The inside half. `start` it once, in a session; `stop` it before that ends."""

    def __init__(self, recorder: Recorder, options: Options) -> None:
        self._recorder = recorder
        self.options = options
        self._undo: list[Callable[[], None]] = []
        self._watcher = Watcher()

    def start(self) -> None:
        """Hook in wherever something may call for a snapshot."""
        global _current
        _current = self
        wanted = self.options.triggers
        if "signal" in wanted and self.options.signal:
            self._on_signal(getattr(signal, self.options.signal))
        if "exception" in wanted or "loop-exit" in wanted:
            self._replace(sys, "excepthook", self._excepthook)
            self._replace(threading, "excepthook", self._thread_excepthook)
        if "exception" in wanted:
            for module, owner, method in _ERROR_METHODS:
                self._watcher.watch(module, functools.partial(self._watch_errors, owner=owner, method=method))
        if "loop-exit" in wanted:
            self._watcher.watch("gevent.exceptions", self._watch_loop_exit)
        self._watcher.install()
        atexit.register(self._exit)
        self._undo.append(lambda: atexit.unregister(self._exit))
        self._replace(os, "_exit", self._os_exit)
        for name in ("execv", "execve"):
            self._replace(os, name, self._os_exec)
        _register_fork_handlers()
        self.watch(True)

    def stop(self) -> None:
        """Give everything back. What somebody has put on top of ours stays, and ours below it is inert."""
        global _current
        if _current is not self:
            return
        _current = None
        self._recorder.watch_hogs(0)
        self._watcher.uninstall()
        while self._undo:
            self._undo.pop()()

    def watch(self, on: bool) -> None:
        """Have the watchdog, or not."""
        if on and "hog" in self.options.triggers and self.options.hog_ms and self._recorder.is_recording():
            self._recorder.watch_hogs(int(self.options.hog_ms) * 1_000_000)
        elif not on:
            self._recorder.watch_hogs(0)

    def say(self, trigger: str, text: str = "", path: str = "") -> None:
        """Call for a snapshot. Harmless once the flight is over."""
        if _current is self and trigger in (*self.options.triggers, *_ENDS):
            self._recorder.trigger(f"{trigger} {text}".strip() + (f"\n{path}" if path else ""))

    # ---- what calls for one

    def _replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        before = getattr(owner, name)
        own = name in vars(owner)
        ours = make(before)
        setattr(owner, name, ours)

        def undo() -> None:
            if getattr(owner, name) is ours:
                if own:
                    setattr(owner, name, before)
                else:
                    delattr(owner, name)

        self._undo.append(undo)

    def _on_signal(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        if before is None:
            # It was set by C code, and could not be given back.
            return

        def ours(signum: int, frame: FrameType | None) -> None:
            self.say("signal", number.name)
            if callable(before):
                before(signum, frame)

        try:
            signal.signal(number, ours)
        except ValueError:
            # Only the main thread may do it.
            return

        def undo() -> None:
            if signal.getsignal(number) is ours:
                try:
                    signal.signal(number, before)
                except ValueError:
                    pass

        self._undo.append(undo)

    def _unhandled(self, kind: type[BaseException], value: BaseException | None) -> None:
        if not issubclass(kind, Exception):
            return
        told = f"{kind.__qualname__}: {value}"[:200] if value is not None else kind.__qualname__
        self.say("loop-exit" if kind.__name__ == "LoopExit" else "exception", told.replace("\n", " "))

    def _excepthook(self, before: Any) -> Any:
        @functools.wraps(before)
        def excepthook(kind: Any, value: Any, traceback: Any) -> Any:
            _quietly(self._unhandled, kind, value)
            return before(kind, value, traceback)

        return excepthook

    def _thread_excepthook(self, before: Any) -> Any:
        @functools.wraps(before)
        def excepthook(args: Any) -> Any:
            # The type alone: there may be many, and each text that is new takes room in the ring for ever.
            _quietly(self._unhandled, args.exc_type, None)
            return before(args)

        return excepthook

    def _watch_errors(self, module: ModuleType, owner: str, method: str) -> None:
        hub = getattr(module, owner, None)
        if hub is None or method not in vars(hub):
            return

        def make(before: Any) -> Any:
            @functools.wraps(before)
            def told(hub: Any, *args: Any, **kwargs: Any) -> Any:
                _quietly(self._printed, args)
                return before(hub, *args, **kwargs)

            return told

        self._replace(hub, method, make)

    def _printed(self, args: tuple[Any, ...]) -> None:
        if _current is not self:
            return
        kind = next((arg[0] if isinstance(arg, tuple) else arg for arg in reversed(args) if _is_error_type(arg)), None)
        if kind is not None:
            self._recorder.error(kind.__qualname__)  # type: ignore[attr-defined]

    def _watch_loop_exit(self, module: ModuleType) -> None:
        def make(before: Any) -> Any:
            @functools.wraps(before)
            def __init__(error: Any, *args: Any) -> None:
                _quietly(self._loop_exit)
                before(error, *args)

            return __init__

        if hasattr(module, "LoopExit"):
            self._replace(module.LoopExit, "__init__", make)

    def _loop_exit(self) -> None:
        # gevent.wait() and Hub.join() end in this way and are content with it.
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_name != "run":
            frame = frame.f_back
        hub = frame.f_locals.get("self") if frame is not None else None
        waiting = getattr(getattr(hub, "parent", None), "gr_frame", None)
        while waiting is not None:
            if waiting.f_code.co_name == "join" and waiting.f_globals.get("__name__") == "gevent.hub":
                return
            waiting = waiting.f_back
        self.say("loop-exit", "LoopExit")

    def _exit(self) -> None:
        self._recorder.watch_hogs(0)
        self.say("exit")

    def _os_exit(self, before: Any) -> Any:
        @functools.wraps(before)
        def _exit(*args: Any, **kwargs: Any) -> Any:
            _quietly(self.say, "exit")
            return before(*args, **kwargs)

        return _exit

    def _os_exec(self, before: Any) -> Any:
        @functools.wraps(before)
        def exec_(*args: Any, **kwargs: Any) -> Any:
            # Another program takes over, and how that ends is not ours to say.
            _quietly(self.say, "exit")
            try:
                return before(*args, **kwargs)
            finally:
                _quietly(self.say, "stay")

        return exec_


def _is_error_type(value: Any) -> bool:
    first = value[0] if isinstance(value, tuple) and value else value
    return isinstance(first, type) and issubclass(first, Exception)


def _quietly(call: Callable[..., None], *args: Any) -> None:
    """Call; a fault of ours is nothing to the program."""
    try:
        call(*args)
    except Exception:
        pass


_current: Flight | None = None
_fork_handlers = False


def current() -> Flight | None:
    """Return the flight recorder of this process, if there is one."""
    return _current


def _register_fork_handlers() -> None:
    global _fork_handlers
    if _fork_handlers:
        return
    _fork_handlers = True

    def before() -> None:
        if _current is not None:
            _current.watch(False)

    def after() -> None:
        if _current is not None:
            _quietly(_current.watch, True)

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)
