"""Greenthread: functions that run beside each other, in turns, in one OS thread.

    spawn(f, x)  --> GreenThread, runnable --> f(x) runs until it waits or ends --> its result is there for `wait` and `link`

In:  functions. Out: GreenThreads. An exception goes to whoever waits for the green thread or is linked to it; when there is
nobody at its end, it is printed, once, and still raised by a later `wait`.
Never: a reference to the function or its arguments after the end, nor from the hub to a green thread that is not runnable.

Different from Eventlet: an exception that somebody waits for is not printed as well; `kill` of a green thread that has
finished does nothing at all; `GreenThread.name` can be read and given; a function may have arguments of any name, for ours are
positional only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from greentrace.hub import instrument as _instrument
from greentrace.hub.event import exception_of
from greentrace.hub.hubs import get_hub
from greentrace.hub.instrument import KIND_GREENLET, KIND_SLEEP, OP_JOIN, OP_SLEEP
from greentrace.hub.loop import Hub
from greentrace.hub.timers import Timer
from greentrace.hub.waiter import Line, Waiter

_RUNNING = object()
"""The result of a green thread that has none yet."""


class GreenThread(greenlet):
    """A green thread whose result can be waited for. Made by `spawn` and its like."""

    __slots__ = ("_args", "_error", "_function", "_kwargs", "_line", "_links", "_name", "_result", "_timer")

    def __init__(self, hub: Hub, function: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> None:
        super().__init__(parent=hub.greenlet)
        self._function: Callable[..., Any] | None = function
        self._args = args
        self._kwargs = kwargs
        self._result: Any = _RUNNING
        self._error: BaseException | None = None
        self._links: list[tuple[Any, ...]] | None = None
        self._line: Line | None = None
        self._timer: Timer | None = None
        self._name: str | None = None
        observer = _instrument.observer
        if observer is not None:
            observer.name(self, _name_of(function))

    # ---- its life

    def run(self) -> Any:
        """The greenlet's own function: call what was spawned, then tell whoever waits."""
        function, args, kwargs = self._function, self._args, self._kwargs
        if function is None:
            # It was killed before it began.
            return None
        try:
            result = function(*args, **kwargs) if kwargs else function(*args)
        except BaseException as error:
            # The frames of the function hold what they hold; nothing of it shall live longer than they.
            del function, args, kwargs
            self._finish(None, error)
            raise
        del function, args, kwargs
        self._finish(result, None)
        return result

    def start(self) -> Any:
        """Make it runnable for the first time."""
        observer = _instrument.observer
        if observer is not None:
            observer.wake(self)
        hub = get_hub()
        hub.ready.append(self.switch)
        if hub.polling:
            hub.poller.alarm()
        return self

    def run_here(self) -> Any:
        """Call its function in the current greenlet; this one never runs, but has the result."""
        try:
            self.run()
        except Exception as error:
            get_hub().report(error)
        return self

    def _finish(self, result: Any, error: BaseException | None) -> None:
        self._function = self._kwargs = self._timer = None
        self._args = ()
        self._result = result
        self._error = error
        line, self._line = self._line, None
        if error is not None and (line or self._links) and not isinstance(error, (GreenletExit, KeyboardInterrupt, SystemExit)):
            get_hub().silenced = error
        if line is not None:
            line.wake_all()
        while self._links:
            function, args, kwargs = self._links.pop(0)
            try:
                function(self, *args, **kwargs)
            except Exception as wrong:
                get_hub().report(wrong)

    # ---- what others ask of it

    @property
    def finished(self) -> bool:
        """Whether its result is there."""
        return self._result is not _RUNNING

    @property
    def name(self) -> str:
        """The name that somebody gave it, or that of its function; "" at its end if it was never given one."""
        if self._name is not None:
            return self._name
        return "" if self._function is None else _name_of(self._function)

    @name.setter
    def name(self, text: str) -> None:
        self._name = text
        observer = _instrument.observer
        if observer is not None:
            observer.name(self, text, True)

    def wait(self) -> Any:
        """Wait until it has ended. Return what its function returned, or raise what it raised."""
        if not self.finished:
            if self._line is None:
                self._line = Line()
            self._line.wait(get_hub(), OP_JOIN, self, KIND_GREENLET)
        if self._error is not None:
            raise self._error
        return self._result

    def link(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Have `function(self, *args, **kwargs)` called at the end, in this green thread; at once when it has ended."""
        if self.finished:
            function(self, *args, **kwargs)
            return
        if self._links is None:
            self._links = []
        self._links.append((function, args, kwargs))

    def unlink(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> bool:
        """Take a link back. False when there is no such link."""
        try:
            (self._links or []).remove((function, args, kwargs))
        except ValueError:
            return False
        return True

    def kill(self, *throw_args: Any) -> None:
        """End it: see the function `kill`."""
        kill(self, *throw_args)

    def cancel(self, *throw_args: Any) -> None:
        """End it if it has not begun: see the function `cancel`."""
        cancel(self, *throw_args)


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    name: str = getattr(function, "__qualname__", None) or type(function).__qualname__
    return name


def spawn(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> GreenThread:
    """Let `function(*args, **kwargs)` run in a green thread of its own, which gets its first turn when the caller waits."""
    thread: GreenThread = GreenThread(get_hub(), function, args, kwargs).start()
    return thread


def spawn_n(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> greenlet:
    """The same, cheaper: a plain greenlet, whose result nobody gets. An exception is printed."""
    hub = get_hub()
    made = greenlet(function, hub.greenlet)
    observer = _instrument.observer
    if observer is not None:
        observer.name(made, _name_of(function))
        observer.wake(made)
    hub.append(partial(made.switch, *args, **kwargs) if args or kwargs else made.switch)
    return made


def spawn_after(seconds: float, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> GreenThread:
    """Spawn after so many seconds. Until then `cancel` or `kill` prevents it."""
    hub = get_hub()
    thread = GreenThread(hub, function, args, kwargs)
    thread._timer = hub.call_later(seconds, thread.switch, concerning=thread)
    return thread


def spawn_after_local(seconds: float, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> GreenThread:
    """Spawn after so many seconds, unless the greenlet that asks for it has ended by then."""
    hub = get_hub()
    asker = getcurrent()
    thread = GreenThread(hub, function, args, kwargs)

    def begin() -> None:
        if asker.dead:
            thread.cancel()
        else:
            thread.switch()

    thread._timer = hub.call_later(seconds, begin, concerning=thread)
    return thread


def sleep(seconds: float = 0) -> None:
    """Let others run for at least so many seconds; with 0, let everybody who is runnable have one turn."""
    hub = get_hub()
    current = getcurrent()
    observer = _instrument.observer
    if seconds <= 0:
        if current is hub.greenlet:
            # There is nobody to give the turn to: the hub is on its way to the others anyway.
            return
        if observer is not None:
            observer.wake(current)
        hub.ready.append(current.switch)
        try:
            hub.switch()
        except BaseException:
            hub.withdraw(current.switch)
            raise
        return
    waiter = Waiter(hub)
    waiter.wait(OP_SLEEP, None, KIND_SLEEP, seconds)


def kill(thread: greenlet, /, *throw_args: Any) -> None:
    """Throw GreenletExit, or the given exception, into a green thread, which sees it at once; the caller goes on afterwards.

    One that has not begun never begins; `wait` raises the exception all the same. One that has finished is left alone.
    """
    if thread.dead or (isinstance(thread, GreenThread) and thread.finished):
        return
    current = getcurrent()
    if current is thread:
        raise exception_of(throw_args or (GreenletExit,))
    hub = get_hub()
    if not thread:
        if isinstance(thread, GreenThread):
            if thread._timer is not None:
                thread._timer.cancel()
            thread._finish(None, exception_of(throw_args or (GreenletExit,)))
            hub.silenced = None
        throw_args = ()
    if current is hub.greenlet:
        thread.throw(*throw_args)
        return
    observer = _instrument.observer
    if observer is not None:
        observer.wake(thread)
        observer.wake(current)
    # Through the hub, for an exception that the green thread does not catch must end up there.
    hub.ready.appendleft(partial(thread.throw, *throw_args))
    hub.ready.append(current.switch)
    try:
        hub.switch()
    except BaseException:
        hub.withdraw(current.switch)
        raise


def cancel(thread: greenlet, /, *throw_args: Any) -> None:
    """Like `kill`, but a green thread that has begun goes on."""
    if not thread and not thread.dead:
        kill(thread, *throw_args)
