"""Catalogue: what is recorded of each primitive, as a table for people.

In:  the adapters' own tables: a method that has no row there has none here. Out: Markdown for the README; a test remakes it.
Never: imported inside a traced program, or a word about a runtime that its adapter does not say.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from greentrace.events import ResourceKind
from greentrace.record.runtimes import eventlet, gevent, standard
from greentrace.record.runtimes.adapter import Hook

_PARKS = {
    "wait", "join", "composite", "acquire", "enter", "acquire_again", "put", "get", "pool_enter", "thread_join", "ge_wait", "ge_threads",
    "ge_select", "ev_execute", "ev_waitpid",
}  # fmt: skip
_HOLDS = {"acquire", "enter", "pool_enter", "pool_run"}
_WAKES = {"release", "release_all", "set", "put", "get", "pool_leave", "work", "work_by", "ge_result", "ge_async_send"}
_FDS = {"ev_add", "ev_add_called", "ev_remove", "ev_forget", "ev_ready", "fd_opened", "fd_closed", "ge_io_start"}
_TIMERS = {"ev_timer", "ev_timer_cancel", "ev_timer_call", "ge_timer_start"}
_POLLS = {"ev_poll", "ev_wait", "ev_select"}
_FROM_OUTSIDE = {"ge_child_start", "ge_signal_start"}
_JOINS = {"join", "thread_join"}
_OUTSIDE = {ResourceKind.PROCESS: "the system", ResourceKind.THREAD: "a native thread"}


class Row(NamedTuple):
    """One primitive: the public methods in which one parks, who can end that wait, those that end waits, what else is seen."""

    runtime: str
    primitive: str
    kind: str
    parks: tuple[str, ...]
    enders: str
    wakes: tuple[str, ...]
    also: tuple[str, ...]


def rows() -> list[Row]:
    """Return the catalogue: eventlet, gevent, then the standard library's modules, which both monkey-patch.

    Only a wait of which it is known who can end it can be proven to be for ever: where it is `anybody`, nothing is.
    """
    shared = {id(hook) for hook in (*standard.THREADING, *standard.QUEUE)}
    sources = (
        ("eventlet", [hook for hook in eventlet.ADAPTER.hooks if id(hook) not in shared]),
        ("gevent", [hook for hook in gevent.ADAPTER.hooks if id(hook) not in shared]),
        ("monkey-patched", [*standard.THREADING, *standard.QUEUE]),
    )
    told = {
        adapter.name: [Row(adapter.name, t.owner, t.kind.name.lower(), t.parks, t.enders, t.wakes, ()) for t in adapter.told]
        for adapter in (eventlet.ADAPTER, gevent.ADAPTER)
    }
    return [row for runtime, hooks in sources for row in (*_rows(runtime, hooks), *told.get(runtime, ()))]


def _enders(roles: set[str], kinds: set[ResourceKind]) -> str:
    if roles & _HOLDS:
        return "its holders"
    if roles & _JOINS:
        return "that greenlet"
    return next((who for kind, who in _OUTSIDE.items() if kind in kinds), "anybody") if roles & _PARKS else ""


def _rows(runtime: str, hooks: list[Hook]) -> list[Row]:
    by_owner: dict[str, list[Hook]] = {}
    for hook in hooks:
        # A function of a module is a primitive of its own.
        name = hook.owner or f"{hook.module.removeprefix(f'{runtime}.')}.{hook.method}"
        by_owner.setdefault(f"{hook.module}.{name}" if runtime == "monkey-patched" else name, []).append(hook)
    made = []
    for owner, mine in by_owner.items():
        roles = {hook.role for hook in mine}
        kinds = dict.fromkeys(hook.kind.name.lower() for hook in mine if hook.kind != ResourceKind.UNKNOWN)
        also = [
            word
            for word, some in (("fds", _FDS), ("timers", _TIMERS), ("polls", _POLLS), ("ends of processes, signals", _FROM_OUTSIDE))
            if roles & some
        ]
        seen = [hook for hook in mine if hook.method.startswith("__") or not hook.method.startswith("_")]
        parks = tuple(dict.fromkeys(hook.method for hook in seen if hook.role in _PARKS))
        wakes = tuple(dict.fromkeys(hook.method for hook in seen if hook.role in _WAKES))
        if parks or wakes or also:
            made.append(
                Row(runtime, owner.lstrip("_"), ", ".join(kinds), parks, _enders(roles, {hook.kind for hook in mine}), wakes, tuple(also))
            )
    return made


def markdown_table() -> str:
    """Return the table of the documentation."""
    lines = ["| runtime | primitive | kind | one parks in | who can end that | what ends a wait | also |", "|---|---|---|---|---|---|---|"]
    for row in rows():
        parks, wakes = (", ".join(f"`{method}`" for method in methods) for methods in (row.parks, row.wakes))
        lines.append(f"| {row.runtime} | `{row.primitive}` | {row.kind} | {parks} | {row.enders} | {wakes} | {', '.join(row.also)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown_table())
