"""Errands: what takes long, done in a thread of its own while the windows stay alive.

    ask("measures", key, work) ...  progress 0.4 ...  answer        the same question again gives the answer; another one of
    ask("measures", other, work)                                    that name takes its place, and the work on the old one stops

In:  questions, each a function of a trace and of somebody who hears how far it is. Out: answers.
Never: the trace of the windows: a saved file is opened once more, for a trace that is read by two threads is read wrongly by both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greentrace.errors import BadInput
from greentrace.replay import reader
from greentrace.replay.reader import Trace
from greentrace.replay.source import Told

Work = Callable[[Trace, Told], Any]


class _Stopped(Exception):
    """Nobody wants the answer any more."""


@dataclass
class _Errand:
    key: Hashable
    work: Work
    done: float = 0.0
    is_over: bool = False
    answer: Any = None


class Errands:
    """`moved` is called, in the thread that works, whenever there is something new to show. Nothing is worked on before `begin`."""

    def __init__(self, path: Path, moved: Callable[[], None]) -> None:
        self._path = path
        self._moved = moved
        self._errands: dict[str, _Errand] = {}
        self.fault = ""
        """What went wrong, if that is not the trace's fault."""
        self._lock = threading.Condition()
        self._closed = False

    def ask(self, name: str, key: Hashable, work: Work) -> Any:
        """Return the answer to a question, None while it is not known; then it is being worked on."""
        with self._lock:
            errand = self._errands.get(name)
            if errand is None or errand.key != key:
                self._errands[name] = errand = _Errand(key, work)
                self._lock.notify()
        return errand.answer

    def begin(self) -> None:
        """Let the thread go about what was asked and will be: the windows have been drawn for the first time."""
        threading.Thread(target=self._run, name="greentrace-errands", daemon=True).start()

    def progress(self, name: str) -> float | None:
        """Return how far the work on a question is, 0 to 1; None when there is none."""
        errand = self._errands.get(name)
        return errand.done if errand is not None and not errand.is_over else None

    def was_stopped(self, name: str) -> bool:
        """Whether a question will have no answer until it is asked `again`."""
        errand = self._errands.get(name)
        return errand is not None and errand.is_over and errand.answer is None

    def again(self, name: str) -> None:
        """Let a question that was stopped be asked once more."""
        with self._lock:
            self._errands.pop(name, None)

    def cancel(self) -> bool:
        """Stop whatever is being worked on; return whether there was anything."""
        with self._lock:
            stopped = [errand for errand in self._errands.values() if not errand.is_over]
            for errand in stopped:
                errand.is_over = True
        return bool(stopped)

    def close(self) -> None:
        """Stop, and wait for nobody."""
        with self._lock:
            self._closed = True
            self._lock.notify()

    def _next(self) -> _Errand | None:
        return next((errand for errand in self._errands.values() if not errand.is_over), None)

    def _run(self) -> None:
        try:
            with reader.open(self._path, at_once=True) as trace:
                while True:
                    with self._lock:
                        self._lock.wait_for(lambda: self._closed or self._next() is not None)
                        errand = self._next()
                        if self._closed or errand is None:
                            return
                    self._do(errand, trace)
        except BadInput:
            # The file has gone since the windows opened it: nothing is answered.
            self.cancel()

    def _do(self, errand: _Errand, trace: Trace) -> None:
        shown = 0.0

        def told(done: float) -> None:
            nonlocal shown
            if self._closed or errand.is_over or errand not in self._errands.values():
                raise _Stopped
            errand.done = done
            if done - shown >= 0.01:
                shown = done
                self._moved()

        try:
            errand.answer = errand.work(trace, told)
        except _Stopped:
            pass
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"
        errand.is_over = True
        self._moved()
