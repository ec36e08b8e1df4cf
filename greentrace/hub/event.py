"""Event: one result, for everybody who waits for it.

    waiting --send(result)--> sent: every waiter gets the result, and so does whoever asks later
        ^------reset()----------'

In:  one `send` (or `send_exception`). Out: the result in every `wait`. Never: a second `send` before a `reset`, nor a switch in
`send`: whoever is woken runs when the sender waits.
"""

from __future__ import annotations

from typing import Any

from greentrace.hub import instrument as _instrument
from greentrace.hub.hubs import get_hub
from greentrace.hub.instrument import KIND_EVENT, OP_WAIT
from greentrace.hub.waiter import EXPIRED, Line


class _NotUsed:
    def __repr__(self) -> str:
        return "NOT_USED"


NOT_USED = _NotUsed()
"""The result of an event that was not sent."""


class Event:
    """Any number of green threads wait for what one of them sends."""

    def __init__(self) -> None:
        self._result: Any = NOT_USED
        self._error: BaseException | None = None
        self._line = Line()
        observer = _instrument.observer
        if observer is not None:
            observer.resource(self, KIND_EVENT, -1)

    def wait(self, timeout: float | None = None) -> Any:
        """Return what was sent, or raise it. After `timeout` seconds return None."""
        if self._result is NOT_USED:
            value = self._line.wait(get_hub(), OP_WAIT, self, KIND_EVENT, timeout)
            if value is EXPIRED:
                return None
            # The event may have been reset on the way here: what was sent to this waiter still holds.
            result, error = value
        else:
            result, error = self._result, self._error
        if error is not None:
            raise error
        return result

    def send(self, result: Any = None, exc: Any = None) -> None:
        """Give the result to everybody, or raise `exc` in them: an exception, or the arguments of a raise.

        Raises AssertionError when it was sent already.
        """
        if self._result is not NOT_USED:
            raise AssertionError(f"{self!r} was sent already. It keeps its first result. Make a new Event, or reset this one.")
        error = None if exc is None else exception_of(exc if isinstance(exc, tuple) else (exc,))
        self._result = result
        self._error = error
        observer = _instrument.observer
        if observer is not None:
            observer.set(self)
        self._line.wake_all((result, error))

    def send_exception(self, *args: Any) -> None:
        """Raise in everybody who waits; the arguments are those of a raise."""
        self.send(None, args)

    def reset(self) -> None:
        """Let it be sent again. Raises AssertionError when it was not sent."""
        if self._result is NOT_USED:
            raise AssertionError(f"{self!r} was not sent. Nothing has changed. There is nothing to reset.")
        self._result = NOT_USED
        self._error = None
        observer = _instrument.observer
        if observer is not None:
            observer.clear(self)

    def ready(self) -> bool:
        """Whether `wait` returns at once."""
        return self._result is not NOT_USED

    def has_exception(self) -> bool:
        return self._error is not None

    def has_result(self) -> bool:
        return self._result is not NOT_USED and self._error is None

    def poll(self, notready: Any = None) -> Any:
        """What `wait` returns or raises if it was sent, else `notready`."""
        return self.wait() if self.ready() else notready

    def poll_result(self, notready: Any = None) -> Any:
        """The result if one was sent, else `notready`."""
        return self.wait() if self.has_result() else notready

    def poll_exception(self, notready: Any = None) -> Any:
        """Raise the exception if one was sent, else return `notready`."""
        return self.wait() if self.has_exception() else notready

    def __repr__(self) -> str:
        return f"<Event at {id(self):#x} result={self._result!r} error={self._error!r} waiting={len(self._line)}>"


def exception_of(args: tuple[Any, ...]) -> BaseException:
    """Return what a raise with these arguments would raise: (exception,), (class, value) or (class, value, traceback)."""
    error = args[0]
    if isinstance(error, BaseException):
        return error
    value = args[1] if len(args) > 1 else None
    made: BaseException = value if isinstance(value, error) else error() if value is None else error(value)
    return made.with_traceback(args[2]) if len(args) > 2 else made
