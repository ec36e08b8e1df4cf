"""Events: the only table of what can be recorded.

One row a kind: its code, its name, what each field means, who tells it, and a sentence. The C header of the
native recorder (`python -m greentrace.events --c`) and the table in the documentation (`--markdown`) are made
from these rows, and a test remakes both.

    t_ns u64 | kind u8 | flags u8 | thread u16 | greenlet u32 | other u32 | site u32 | arg u64

A record is 32 bytes, little-endian. It alone tells the new state of those it names, so that the state at t is a
function of records and never a replay of the program's logic. Here are words and numbers only: no input, no output.
One room, because it is one table.
"""

from __future__ import annotations

import struct
import sys
from enum import IntEnum
from typing import NamedTuple

RECORD = struct.Struct("<QBBHIIIQ")
"""One event; `RECORD.size` is 32."""

VERSION = 1
"""The version of the vocabulary; a ring or trace of a greater one is refused with advice."""

FLAG_KEY = 0x80
"""The record repeats, inside a keyframe, what was already so."""
FLAG_INFERRED = 0x40
"""What the record says was concluded from the look of things, not watched as it happened."""
STATE_MASK = 0x07
"""SWITCH, THROW and STATE: the bits of `flags` that hold a `State`."""


class State(IntEnum):
    """What a greenlet is doing. The legal changes are rows of `greentrace.lifecycle`."""

    UNKNOWN = 0
    CREATED = 1
    RUNNING = 2
    RUNNABLE = 3
    PARKED = 4
    FINISHED = 5
    COLLECTED = 6


class How(IntEnum):
    """How a greenlet finished: the flags of FINISH. Killed is whom a GreenletExit ended; UNKNOWN is one of all three."""

    RETURNED = 0
    EXCEPTION = 1
    KILLED = 2
    UNKNOWN = 3


class Op(IntEnum):
    """What a parked greenlet wants from the resource: the low flags of PARK."""

    WAIT = 0
    ACQUIRE = 1
    READ = 2
    WRITE = 3
    GET = 4
    PUT = 5
    JOIN = 6
    SLEEP = 7
    READWRITE = 8
    SWITCH = 9


class Waker(IntEnum):
    """What kind of thing made a greenlet runnable: the low flags of WAKE."""

    UNKNOWN = 0
    GREENLET = 1
    TIMER = 2
    FD = 3
    THREAD = 4
    CALLBACK = 5
    PROCESS = 6
    SIGNAL = 7


class Mode(IntEnum):
    """What a listener listens for: the low flags of FD_ADD, FD_REMOVE and FD_READY."""

    READ = 1
    WRITE = 2
    READWRITE = 3


class Kind(IntEnum):
    """The code of each kind of event; `EVENTS` says what its fields mean."""

    SPAWN = 1
    START = 2
    SWITCH = 3
    THROW = 4
    FINISH = 5
    COLLECT = 6
    NAME = 7
    HUB = 8
    PARK = 10
    WAKE = 11
    RESOURCE = 20
    ACQUIRE = 21
    RELEASE = 22
    PUT = 23
    GET = 24
    SET = 25
    CLEAR = 26
    DISPOSE = 27
    POLL_BEGIN = 30
    POLL_END = 31
    FD_ADD = 32
    FD_REMOVE = 33
    FD_READY = 34
    FD_OPEN = 35
    FD_CLOSE = 36
    TIMER_ADD = 40
    TIMER_CANCEL = 41
    TIMER_FIRE = 42
    CALLBACK = 43
    THREAD = 50
    FORK = 51
    PATCH = 52
    MARK = 53
    ERROR = 54
    HOG = 55
    TRIGGER = 56
    KEYFRAME = 60
    STATE = 61
    GAP = 62
    DISPLACED = 63
    OVERHEAD = 64


class ResourceKind(IntEnum):
    """What a resource is: the flags of RESOURCE (without FLAG_KEY)."""

    UNKNOWN = 0
    SWITCH = 1
    SLEEP = 2
    LOCK = 3
    SEMAPHORE = 4
    RLOCK = 5
    EVENT = 6
    RESULT = 7
    QUEUE = 8
    GREENLET = 9
    FD = 10
    POOL = 11
    CONDITION = 12
    CHANNEL = 13
    THREAD = 14
    PROCESS = 15
    SIGNAL = 16
    CALLBACK = 17
    BARRIER = 18


HELD = frozenset({ResourceKind.LOCK, ResourceKind.SEMAPHORE, ResourceKind.RLOCK})
"""Kinds whose possible wakers are their holders."""

RESOURCE_UNKNOWN = 0
RESOURCE_SWITCH = 1
RESOURCE_SLEEP = 2
FIRST_RESOURCE = 16
"""Resource ids below this one are the same in every process: nobody owns them and no RESOURCE tells them."""

RESOURCE_SIGNAL = 0x20
"""RESOURCE: somebody who did not hold it has released it, or it began at 0: a signal, not a lock."""
RELEASE_FOREIGN = 0x01
"""RELEASE: the greenlet that released did not hold the resource."""
TIMER_THROWS = 0x01
"""TIMER_ADD: firing throws into the greenlet (a Timeout); without it, firing switches to the greenlet."""
TIMER_CALLS = 0x02
"""TIMER_ADD: firing calls a plain function; `greenlet` is who armed it."""
NAME_GIVEN = 0x01
"""NAME: somebody named the greenlet; without it, it is the name of the function that it runs."""
KEYFRAME_BEGIN = 0x01
KEYFRAME_END = 0x02
KEYFRAME_PARTIAL = 0x04
"""KEYFRAME: not everything that is alive found room; what is missing is UNKNOWN."""
FD_GENERATION_SHIFT = 32
"""FD_OPEN, RESOURCE of an fd: `arg` is `fd | generation << 32`."""
NO_CAPACITY = (1 << 64) - 1
"""RESOURCE: `arg` of a resource that has no capacity."""


class Event(NamedTuple):
    """One row: what the fields of one kind of event mean ("" where the field is 0)."""

    kind: Kind
    told_by: str
    sentence: str
    greenlet: str = ""
    other: str = ""
    site: str = ""
    flags: str = ""
    arg: str = ""


EVENTS: tuple[Event, ...] = (
    Event(Kind.SPAWN, "recorder", "A greenlet was created.", "the new one", "its spawner", "where it was created"),
    Event(Kind.START, "recorder", "A greenlet is about to run for the first time.", "it", "the greenlet it came from"),
    Event(
        Kind.SWITCH,
        "recorder",
        "Control passed from origin to target.",
        "target",
        "origin",
        "where the origin left",
        "State of the origin from now on",
        "resource that the origin parked on",
    ),
    Event(
        Kind.THROW,
        "recorder",
        "Control passed from origin to target, as an exception.",
        "target",
        "origin",
        "where the origin left",
        "State of the origin from now on",
        "resource that the origin parked on",
    ),
    Event(Kind.FINISH, "recorder", "A greenlet ended.", "it", "", "", "How", "string: the exception's type"),
    Event(Kind.COLLECT, "recorder", "A greenlet's object is gone.", "it"),
    Event(Kind.NAME, "recorder", "A greenlet's name became known.", "it", "", "", "NAME_GIVEN", "string: the name"),
    Event(Kind.HUB, "runtime", "A greenlet is the hub of its thread.", "it", "", "", "", "string: its class"),
    Event(
        Kind.PARK,
        "recorder",
        "A greenlet waits on a resource; several PARKs before one SWITCH are alternatives.",
        "it",
        "resource",
        "where it waits",
        "Op",
        "deadline in ns of the trace's clock, 0 for none",
    ),
    Event(
        Kind.WAKE,
        "recorder",
        "A greenlet was made runnable.",
        "it",
        "waker: greenlet, timer, fd resource, thread, the pid of a child that ended, a signal's number; 0 if not known",
        "",
        "Waker",
        "resource through which it was woken",
    ),
    Event(
        Kind.RESOURCE,
        "recorder",
        "A resource was created, or seen for the first time.",
        "its creator",
        "resource",
        "where it was created, or first seen (FLAG_INFERRED)",
        "ResourceKind, RESOURCE_SIGNAL",
        "capacity; for a join the greenlet; for an fd its number and generation",
    ),
    Event(Kind.ACQUIRE, "runtime", "A greenlet holds a resource from now on.", "it", "resource", "where", "", "since, in ns (keyframe)"),
    Event(
        Kind.RELEASE,
        "runtime",
        "A greenlet gave a resource back.",
        "who released",
        "resource",
        "",
        "RELEASE_FOREIGN",
        "the holder that lost it",
    ),
    Event(Kind.PUT, "runtime", "Something was put into a queue.", "who", "resource", "", "", "size afterwards + 1, 0 if unknown"),
    Event(Kind.GET, "runtime", "Something was taken from a queue.", "who", "resource", "", "", "size afterwards + 1, 0 if unknown"),
    Event(Kind.SET, "runtime", "An Event object or result was set.", "who", "resource"),
    Event(Kind.CLEAR, "runtime", "An Event object was cleared.", "who", "resource"),
    Event(Kind.DISPOSE, "recorder", "A resource's object is gone.", "", "resource"),
    Event(Kind.POLL_BEGIN, "runtime", "The hub asks the system for ready fds.", "hub", "", "", "", "timeout in ns, 2^64-1 for none"),
    Event(Kind.POLL_END, "runtime", "The system answered.", "hub", "", "", "", "number of ready fds + 1, 0 if unknown"),
    Event(Kind.FD_ADD, "runtime", "A listener was registered.", "who waits, 0 for a callback", "fd resource", "", "Mode", "listener"),
    Event(Kind.FD_REMOVE, "runtime", "A listener was removed.", "who waited", "fd resource", "", "Mode", "listener"),
    Event(Kind.FD_READY, "runtime", "An fd is ready.", "who is told", "fd resource", "", "Mode"),
    Event(
        Kind.FD_OPEN, "runtime", "An fd came into use: a new generation of its number.", "who", "fd resource", "", "", "fd and generation"
    ),
    Event(Kind.FD_CLOSE, "runtime", "An fd was closed.", "who", "fd resource"),
    Event(
        Kind.TIMER_ADD,
        "runtime",
        "A timer was armed.",
        "whom it concerns",
        "timer",
        "where",
        "TIMER_THROWS, TIMER_CALLS",
        "due in ns of the trace's clock",
    ),
    Event(Kind.TIMER_CANCEL, "runtime", "A timer was cancelled.", "whom it concerned", "timer"),
    Event(Kind.TIMER_FIRE, "runtime", "A timer fired.", "whom it concerns", "timer"),
    Event(Kind.CALLBACK, "runtime", "The hub calls a plain function.", "hub", "", "", "", "string: its name"),
    Event(Kind.THREAD, "recorder", "An OS thread was seen for the first time.", "its main greenlet", "", "", "", "native thread id"),
    Event(
        Kind.FORK,
        "recorder",
        "The process forked; the child has a ring of its own.",
        "who forked",
        "",
        "",
        "",
        "pid of the other side, 0 if unknown",
    ),
    Event(Kind.PATCH, "runtime", "A runtime was instrumented or monkey-patched.", "", "", "", "", "string: what"),
    Event(Kind.MARK, "user", "A user's note.", "who", "", "where", "", "string: the note"),
    Event(Kind.ERROR, "runtime", "The hub printed an exception and went on.", "hub", "", "", "", "string: what"),
    Event(
        Kind.HOG,
        "recorder",
        "A greenlet keeps its thread, seen in the act; told again whenever that time has doubled.",
        "it",
        "",
        "where it is now",
        "",
        "how long it has been running, in ns",
    ),
    Event(
        Kind.TRIGGER,
        "recorder",
        "Something calls for a snapshot of the flight recorder.",
        "who",
        "",
        "where",
        "",
        "string: trigger and what",
    ),
    Event(
        Kind.KEYFRAME,
        "recorder",
        "Begin or end of a keyframe: all that is so at this moment.",
        "",
        "",
        "",
        "KEYFRAME_*",
        "number of records (end)",
    ),
    Event(
        Kind.STATE,
        "recorder",
        "In a keyframe: a greenlet and its state.",
        "it",
        "its spawner",
        "where it left last",
        "State",
        "since, in ns",
    ),
    Event(
        Kind.GAP, "follower", "Events were lost: the state of everything is UNKNOWN until the next keyframe.", "", "", "", "", "how many"
    ),
    Event(Kind.DISPLACED, "recorder", "Another tracer took our place in this thread.", "", "", "", "", "string: whose"),
    Event(Kind.OVERHEAD, "recorder", "What the recorder itself cost since it last said so.", "", "", "", "", "ns"),
)

NAMES: dict[int, str] = {int(kind): kind.name for kind in Kind}


def c_header() -> str:
    """Return the text of the native recorder's `events.h`."""
    lines = [
        "/* Made by `python -m greentrace.events --c`; a test remakes it. Do not edit. */",
        "#ifndef GREENTRACE_EVENTS_H",
        "#define GREENTRACE_EVENTS_H",
        "",
    ]
    lines.append(f"#define GT_VERSION {VERSION}")
    for prefix, members in (
        ("GT", Kind),
        ("GT_STATE", State),
        ("GT_HOW", How),
        ("GT_OP", Op),
        ("GT_WAKER", Waker),
        ("GT_MODE", Mode),
        ("GT_KIND", ResourceKind),
    ):
        lines.append("")
        lines += [f"#define {prefix}_{member.name} {int(member)}" for member in members]
    lines.append("")
    for name in (
        "FLAG_KEY", "FLAG_INFERRED", "RESOURCE_UNKNOWN", "RESOURCE_SWITCH", "RESOURCE_SLEEP", "FIRST_RESOURCE", "RESOURCE_SIGNAL",
        "RELEASE_FOREIGN", "TIMER_THROWS", "TIMER_CALLS", "NAME_GIVEN", "KEYFRAME_BEGIN", "KEYFRAME_END", "KEYFRAME_PARTIAL",
    ):  # fmt: skip
        lines.append(f"#define GT_{name} {globals()[name]}")
    return "\n".join([*lines, "", "#endif", ""])


def markdown_table() -> str:
    """Return the table of the documentation."""
    lines = ["| code | event | what it says | greenlet | other | site | flags | arg | told by |", "|---|---|---|---|---|---|---|---|---|"]
    for e in EVENTS:
        lines.append(
            f"| {int(e.kind)} | {e.kind.name} | {e.sentence} | {e.greenlet} | {e.other} | {e.site} | {e.flags} | {e.arg} | {e.told_by} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(c_header() if "--c" in sys.argv else markdown_table())
