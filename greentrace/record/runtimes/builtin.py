"""builtin: greentrace's own hub, which speaks the vocabulary itself.

Nothing is patched: the recorder becomes the observer that the hub calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from greentrace.record.recorder import Recorder
from greentrace.record.runtimes.adapter import Adapter


class _Both:
    """Two observers, for a program that has one of its own: what the hub tells, it tells to both."""

    def __init__(self, first: Any, second: Any) -> None:
        self._first, self._second = first, second

    def __getattr__(self, word: str) -> Callable[..., None]:
        first, second = getattr(self._first, word), getattr(self._second, word)

        def tell(*arguments: Any) -> None:
            first(*arguments)
            second(*arguments)

        self.__dict__[word] = tell
        return tell


_ours: Any = None
_before: Any = None


def _observe(recorder: Recorder) -> None:
    global _ours, _before
    instrument = sys.modules["greentrace.hub.instrument"]
    _before = instrument.observer
    _ours = recorder if _before is None else _Both(_before, recorder)
    instrument.install(_ours)


def unobserve() -> list[str]:
    """Give the hub the observer back that it had, if it was ever imported; return the name of what somebody put there after us."""
    global _ours, _before
    instrument = sys.modules.get("greentrace.hub.instrument")
    ours, before, _ours, _before = _ours, _before, None, None
    if instrument is None or ours is None:
        return []
    if instrument.observer is not ours:
        return ["greentrace.hub.instrument.observer"] if instrument.observer is not None else []
    if before is None:
        instrument.uninstall()
    else:
        instrument.install(before)
    return []


ADAPTER = Adapter(name="greentrace.hub", package="greentrace.hub.instrument", on_package=_observe)
