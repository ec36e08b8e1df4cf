"""Timeout: an exception that comes when the time is over.

    with Timeout(2):                    raises the Timeout itself after two seconds
    with Timeout(2, ValueError("late")) raises that instead
    with Timeout(2, False) as t:        leaves the block silently; `t.expired` tells that it did

They nest: each is thrown into its green thread when its own moment comes, wherever that green thread waits, and a silent one
swallows none but itself. It cannot interrupt a green thread that computes.

In:  seconds. Out: an exception in the green thread that made it. A BaseException, so that `except Exception` does not eat it.
Never: a timeout that strikes after its block was left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from greentrace.hub.hubs import get_hub
from greentrace.hub.timers import Timer

_NOTHING = object()


class Timeout(BaseException):
    """Raises `exception`, or itself, in the current greenlet after so many seconds. None seconds never come."""

    def __init__(self, seconds: float | None = None, exception: Any = None) -> None:
        super().__init__()
        self.seconds = seconds
        self.exception = exception
        self.timer: Timer | None = None
        self.expired = False
        self.start()

    def start(self) -> Timeout:
        """Arm it again after `cancel`. The constructor has armed it already."""
        if self.pending:
            raise AssertionError(f"{self!r} is armed already; cancel it first")
        if self.seconds is not None:
            current = getcurrent()
            self.timer = get_hub().call_later(self.seconds, self._strike, current, concerning=current, throws=True)
        return self

    def _strike(self, greenlet: Any) -> None:
        self.expired = True
        if not greenlet.dead:
            greenlet.throw(self if self.exception is None or isinstance(self.exception, bool) else self.exception)

    @property
    def pending(self) -> bool:
        """Whether it is armed."""
        return self.timer is not None and self.timer.pending

    def cancel(self) -> None:
        """Disarm it. Without a `with`, do this in a `finally`, or it strikes later, somewhere else."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def __enter__(self) -> Timeout:
        if self.timer is None:
            self.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        self.cancel()
        return error is self and self.exception is False

    def __str__(self) -> str:
        if self.seconds is None:
            return ""
        text = f"{self.seconds} second{'' if self.seconds == 1 else 's'}"
        if self.exception is None or self.exception is True:
            return text
        return f"{text} (silent)" if self.exception is False else f"{text} ({self.exception})"

    def __repr__(self) -> str:
        pending = " pending" if self.pending else ""
        wrapped = "" if self.exception is None else f" exception={self.exception!r}"
        return f"<{type(self).__name__} at {id(self):#x} seconds={self.seconds}{pending}{wrapped}>"

    @property
    def is_timeout(self) -> bool:
        return True


def with_timeout(seconds: float | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call the function and let it have so many seconds. With `timeout_value=`, return that instead of raising."""
    otherwise = kwargs.pop("timeout_value", _NOTHING)
    timeout = Timeout(seconds)
    try:
        return function(*args, **kwargs)
    except Timeout as struck:
        if struck is timeout and otherwise is not _NOTHING:
            return otherwise
        raise
    finally:
        timeout.cancel()


def is_timeout(error: Any) -> bool:
    """Whether an exception says that the time was over."""
    return bool(getattr(error, "is_timeout", False)) or isinstance(error, TimeoutError)
