"""greentrace: execution tracer and visual debugger for green threads.

    with greentrace.record("out.gtrace"):   record this process into a trace
    greentrace.start() / stop()             the same, without a with block
    greentrace.mark("note")                 write a note into it
    greentrace.open("out.gtrace")           a Trace: .at(t), .greenlets, .deadlocks(), .findings()

Importing greentrace loads nothing heavy: each name is fetched when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greentrace.recording import mark, record, start, stop
    from greentrace.replay.reader import open

__version__ = "0.1.0"
__all__ = ["__version__", "mark", "open", "record", "start", "stop"]

_HOMES = {
    "mark": "greentrace.recording",
    "open": "greentrace.replay.reader",
    "record": "greentrace.recording",
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
