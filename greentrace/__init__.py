"""greentrace: execution tracer and visual debugger for green threads.

    with greentrace.record("out.gtrace"):   record this process into a trace
    greentrace.start() / stop()             the same, without a with block
    greentrace.mark("note")                 write a note into it
    greentrace.start(flight=True)           a flight recorder: the ring for ever, a trace when something happens
    greentrace.snapshot()                   such a trace now
    greentrace.open("out.gtrace")           a Trace: .at(t), .greenlets, .deadlocks(), .findings()

Importing greentrace loads nothing heavy: each name is fetched when it is first used. `greentrace.record` is a room too, and
importing from the room puts it in the place of the function: so the room can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greentrace.recording import mark, record, snapshot, start, stop
    from greentrace.replay.reader import open

__version__ = "0.1.0"
__all__ = ["__version__", "mark", "open", "record", "snapshot", "start", "stop"]

_HOMES = {
    "mark": "greentrace.recording",
    "open": "greentrace.replay.reader",
    "record": "greentrace.recording",
    "snapshot": "greentrace.recording",
    "start": "greentrace.recording",
    "stop": "greentrace.recording",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'greentrace' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Room(ModuleType):
    """The room `greentrace.record`, which is called like the function of that name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from greentrace.recording import record

        return record(*arguments, **options)


class _House(ModuleType):
    """This package: the import of a room sets it here as an attribute."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "record" and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _House
