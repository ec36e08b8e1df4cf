"""Words: times, counts and places as people read them.

In:  ns, counts, frames. Out: short strings, the same in every window.
"""

from __future__ import annotations

from greentrace.events import Op, ResourceKind, State
from greentrace.replay.model import GreenletNow, ResourceNow, Wait, World


def duration(ns: int) -> str:
    """Return a length of time with three digits and its unit: `1.25 s`, `340 ms`, `12.0 us`."""
    value = abs(ns)
    sign = "-" if ns < 0 else ""
    if value >= 3_600_000_000_000:
        hours, rest = divmod(value // 1_000_000_000, 3600)
        return f"{sign}{hours} h {rest // 60:02d} min"
    if value >= 60_000_000_000:
        minutes, seconds = divmod(value // 1_000_000_000, 60)
        return f"{sign}{minutes} min {seconds:02d} s"
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if value >= size:
            number = value / size
            digits = 0 if number >= 100 else 1 if number >= 10 else 2
            return f"{sign}{number:.{digits}f} {unit}"
    return f"{sign}{value} ns"


def count(number: int, thing: str, things: str = "") -> str:
    """Return `1 greenlet`, `2,000 greenlets`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def clipped(text: str, width: int) -> str:
    """Return `text` in at most `width` characters, its middle left out."""
    if len(text) <= width:
        return text
    left = (width - 1) // 2
    return f"{text[:left]}…{text[len(text) - (width - 1 - left) :]}"


_OP_WORDS = {
    Op.WAIT: "waits for",
    Op.ACQUIRE: "waits to acquire",
    Op.READ: "waits to read from",
    Op.WRITE: "waits to write to",
    Op.READWRITE: "waits to read from or write to",
    Op.GET: "waits to get from",
    Op.PUT: "waits to put into",
    Op.JOIN: "waits for the end of",
    Op.SLEEP: "sleeps",
    Op.SWITCH: "waits to be switched to",
}

STATE_WORDS = {
    State.UNKNOWN: "unknown",
    State.CREATED: "created",
    State.RUNNING: "running",
    State.RUNNABLE: "runnable",
    State.PARKED: "parked",
    State.FINISHED: "finished",
    State.COLLECTED: "collected",
}


def resource_words(world: World, resource: ResourceNow | None) -> str:
    """Return what a resource is called in a sentence."""
    if resource is None:
        return "something unknown"
    if resource.kind == ResourceKind.GREENLET and resource.greenlet is not None:
        return world.label(resource.greenlet)
    return resource.label


def wait_words(world: World, wait: Wait) -> str:
    """Return `waits to acquire lock created at bank.py:12 (main)`."""
    if wait.op in (Op.SLEEP, Op.SWITCH):
        return _OP_WORDS[wait.op]
    return f"{_OP_WORDS.get(wait.op, 'waits for')} {resource_words(world, world.resources.get(wait.resource))}"


def state_words(world: World, greenlet: GreenletNow) -> str:
    """Return the state of a greenlet in a few words, its wait included."""
    if greenlet.state == State.PARKED and greenlet.waits:
        return " or ".join(dict.fromkeys(wait_words(world, wait) for wait in greenlet.waits))
    if greenlet.state == State.FINISHED and greenlet.how is not None:
        return f"finished ({greenlet.how.name.lower()})"
    return STATE_WORDS[greenlet.state]
