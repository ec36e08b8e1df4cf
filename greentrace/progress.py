"""Progress: a bar on stderr for what takes longer than a second.

In:  fractions, as the work goes on. Out: a bar on a terminal, and nothing where stderr is none or the work was quick.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import click

_PATIENCE_SECONDS = 1.0
_STEPS = 200


class Progress:
    """`with Progress("reading x") as progress: work(progress)`; the work calls it with what is done, from 0 to 1."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._begun = time.monotonic()
        self._shown = 0
        self._bar: Any = None

    def __call__(self, done: float) -> None:
        if self._bar is None and sys.stderr.isatty() and time.monotonic() - self._begun > _PATIENCE_SECONDS:
            self._bar = click.progressbar(length=_STEPS, label=self._label, file=sys.stderr)
            self._bar.__enter__()
        if self._bar is not None:
            step = int(min(max(done, 0.0), 1.0) * _STEPS)
            self._bar.update(step - self._shown)
            self._shown = step

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, traceback)
