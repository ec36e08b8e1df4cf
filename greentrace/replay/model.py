"""Model: the nouns of a replay, as the windows see them.

In:  nothing; `state`, `spans`, `waits` and `lints` fill these objects in.
Out: frozen values. A window that has one of them needs no trace, no index and no event to draw it.
Never: a query. Time is always in ns of the trace's clock; a `Key` is unique in a whole trace.

    Key     0 ... 31 bits process | 32 bits id          greenlets and resources have separate spaces of keys
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from greentrace.events import FIRST_RESOURCE, How, Mode, Op, ResourceKind, State

Key = int
"""`process << 32 | id` of a greenlet or of a resource."""

NO_KEY = -1


def key_of(process: int, number: int) -> Key:
    """Return the key of the greenlet or resource `number` of process `process`."""
    return process << 32 | number


def split_key(key: Key) -> tuple[int, int]:
    """Return (process index, id) of a key."""
    return key >> 32, key & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a site."""

    file: str
    line: int
    function: str
    runtime: bool = False
    library: bool = False

    @property
    def place(self) -> str:
        """`app.py:12`: the file without its folders."""
        return f"{self.file.rsplit('/', 1)[-1]}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place} ({self.function})" if self.function else self.place


Stack = tuple[Frame, ...]
"""Frames, innermost first."""


def shown(stack: Stack) -> Frame | None:
    """Return the frame that people are shown: the first that is neither runtime nor library, else not runtime, else the first."""
    for frame in stack:
        if not frame.runtime and not frame.library:
            return frame
    for frame in stack:
        if not frame.runtime:
            return frame
    return stack[0] if stack else None


def label_of(name: str, function: str, number: int, is_hub: bool, is_main: bool) -> str:
    """Return what a greenlet is called."""
    return name or ("hub" if is_hub else "") or function or ("main" if is_main else f"greenlet {number}")


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a trace. `exit` is `{"pid", "code" | "signal"}` when the follower saw it end."""

    index: int
    pid: int
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)
    exit: Mapping[str, Any] | None = field(default=None, hash=False)
    start_ns: int = 0
    end_ns: int = 0
    event_count: int = 0

    @property
    def label(self) -> str:
        """`bank.py 4242`: its script or module and its PID; the options of the interpreter are skipped."""
        argv = self.meta.get("argv")
        words = [word for word in argv if isinstance(word, str)] if isinstance(argv, list) else []
        while words and words[0].startswith("-") and words[0] != "-c":
            words = words[2 if words[0] in ("-W", "-X") else 1 :]
        return f"{words[0].rsplit('/', 1)[-1] if words and words[0] != '-c' else 'python'} {self.pid}"


@dataclass(frozen=True, slots=True)
class Wait:
    """One alternative of a wait. `told` is False when no PARK said so: the switch alone did, and the wait may have others."""

    resource: Key
    op: Op
    deadline_ns: int | None
    observed: bool
    told: bool = True


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold, seen from the greenlet. An RLock that was entered twice is held twice."""

    resource: Key
    since_ns: int
    site: Stack
    observed: bool


@dataclass(frozen=True, slots=True)
class Holder:
    """One hold, seen from the resource."""

    greenlet: Key
    since_ns: int
    site: Stack
    observed: bool


@dataclass(frozen=True, slots=True)
class GreenletEver:
    """A greenlet of which the trace says anything at all. `name` is "" unless somebody gave it one.

    `born_ns` is None when it existed before the trace began, `died_ns` when it was not seen to finish.
    """

    key: Key
    id: int
    process: int
    pid: int
    thread: int
    name: str
    function: str
    born_ns: int | None
    died_ns: int | None
    seen_ns: int
    how: How | None
    spawner: Key | None
    spawned_at: Stack
    is_hub: bool
    is_main: bool = False
    error: str = ""

    @property
    def label(self) -> str:
        return label_of(self.name, self.function, self.id, self.is_hub, self.is_main)


@dataclass(frozen=True, slots=True)
class GreenletNow:
    """A greenlet at one moment. `stack` is where it left last; `timeout_ns` the earliest pending timer that will enter or wake it;
    `since_at` the position in its process of the event that gave it its state (`Trace.number` makes an event number of it)."""

    key: Key
    id: int
    process: int
    pid: int
    thread: int
    name: str
    function: str
    state: State
    since_ns: int
    stack: Stack
    waits: tuple[Wait, ...] = ()
    holds: tuple[Hold, ...] = ()
    spawner: Key | None = None
    spawned_at: Stack = ()
    is_hub: bool = False
    started: bool = True
    how: How | None = None
    timeout_ns: int | None = None
    is_main: bool = False
    since_at: int | None = None
    born_seen: bool = True

    @property
    def label(self) -> str:
        """`alice`: its given name, else the function that it runs, else its number."""
        return label_of(self.name, self.function, self.id, self.is_hub, self.is_main)

    @property
    def site(self) -> Frame | None:
        """The frame that people are shown."""
        return shown(self.stack)

    @property
    def deadline_ns(self) -> int | None:
        """The earliest moment at which time alone wakes it, or None."""
        known = [wait.deadline_ns for wait in self.waits if wait.deadline_ns is not None]
        if self.timeout_ns is not None:
            known.append(self.timeout_ns)
        return min(known, default=None)


_KIND_WORDS = {
    ResourceKind.UNKNOWN: "something unknown",
    ResourceKind.SWITCH: "a switch",
    ResourceKind.SLEEP: "sleep",
    ResourceKind.RLOCK: "rlock",
    ResourceKind.EVENT: "event object",
    ResourceKind.GREENLET: "join",
}


@dataclass(frozen=True, slots=True)
class ResourceNow:
    """A resource at one moment. `waiters` stand in order of arrival; `target` is the label of the greenlet that a join waits for."""

    key: Key
    id: int
    process: int
    kind: ResourceKind
    site: Stack = ()
    site_observed: bool = True
    capacity: int | None = None
    holders: tuple[Holder, ...] = ()
    waiters: tuple[Key, ...] = ()
    signal: bool = False
    greenlet: Key | None = None
    fd: int | None = None
    generation: int | None = None
    target: str = ""
    disposed: bool = False

    @property
    def word(self) -> str:
        """`lock`, `semaphore`, `fd`: what it is, in one or two words."""
        return _KIND_WORDS.get(self.kind, self.kind.name.lower())

    @property
    def label(self) -> str:
        """`lock created at app.py:12 (main)`, `fd 17`, `join of alice`."""
        if self.kind == ResourceKind.FD:
            return f"fd {self.fd}"
        if self.kind == ResourceKind.GREENLET:
            return f"join of {self.target or 'a greenlet'}"
        if self.id < FIRST_RESOURCE:
            return self.word
        frame = shown(self.site)
        if frame is None:
            return f"{self.word} {self.id}"
        return f"{self.word} {'created' if self.site_observed else 'first seen'} at {frame}"

    @property
    def short(self) -> str:
        """`lock app.py:12`: for a narrow column."""
        frame = shown(self.site)
        if self.kind in (ResourceKind.FD, ResourceKind.GREENLET) or self.id < FIRST_RESOURCE or frame is None:
            return self.label
        return f"{self.word} {frame.place}"


@dataclass(frozen=True, slots=True)
class TimerNow:
    """An armed timer. `throws`: a Timeout; `calls`: it calls a plain function and `greenlet` merely armed it."""

    key: Key
    due_ns: int
    greenlet: Key | None
    throws: bool
    site: Stack
    calls: bool = False


@dataclass(frozen=True, slots=True)
class ListenerNow:
    """A registered listener; `greenlet` is None when it calls a function."""

    key: Key
    fd: int | None
    generation: int | None
    resource: Key
    mode: Mode
    greenlet: Key | None


@dataclass(frozen=True, slots=True)
class World:
    """Everything at one moment.

    `unknown` when nothing may be claimed at all: no process has told its first keyframe, or all are inside a gap.
    `whole` are the processes of which everything is known; only there anything can be proven.
    `polling` are the hubs that ask the system for ready fds right now, and for how many ns at most. `ended` are the
    processes that had gone by then: they stand as they were at their last event. `threads`: how many each process has.
    `start_ns` is when the trace began: people count from there. `suspects` are all who may be doomed (None: anybody); the hubs in the
    processes `busy` will turn again.
    """

    t_ns: int
    greenlets: Mapping[Key, GreenletNow]
    resources: Mapping[Key, ResourceNow]
    timers: Sequence[TimerNow] = ()
    listeners: Sequence[ListenerNow] = ()
    unknown: bool = False
    whole: frozenset[int] = frozenset()
    polling: Mapping[Key, int] = field(default_factory=dict)
    threads: Mapping[int, int] = field(default_factory=dict)
    ended: frozenset[int] = frozenset()
    start_ns: int = 0
    suspects: Callable[[], Iterable[Key]] | None = field(default=None, compare=False)
    busy: frozenset[int] = field(default=frozenset(), compare=False)

    def label(self, key: Key) -> str:
        """Return the label of a greenlet, known or not."""
        now = self.greenlets.get(key)
        return now.label if now else f"greenlet {split_key(key)[1]}"


@dataclass(frozen=True, slots=True)
class Span:
    """One greenlet in one state from t0 to t1 (both clipped to the window asked for). `event` began it; `waker` ended a wait."""

    t0_ns: int
    t1_ns: int
    state: State
    resource: Key | None
    site: int
    event: int | None
    waker: str = ""

    @property
    def ns(self) -> int:
        return self.t1_ns - self.t0_ns


@dataclass(frozen=True, slots=True)
class Edge:
    """One line of the wait-for graph: the greenlet waits for the resource, or the resource is held by (for a join: is) the greenlet."""

    greenlet: Key
    resource: Key
    kind: Literal["waits", "held_by"]
    observed: bool
    since_ns: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Deadlock:
    """A proven deadlock. `greenlets` in ring order, `resources[i]` is what `greenlets[i]` waits for.

    `closed_ns` is when the set closed and `closed_event` the number of the event (nearly always a SWITCH) that closed it.
    The first line of `text` says it all; details follow, a line each.
    """

    greenlets: tuple[Key, ...]
    resources: tuple[Key, ...]
    victims: tuple[Key, ...]
    closed_ns: int
    closed_event: int | None
    assumption: str
    text: str

    @property
    def process(self) -> int:
        return split_key(self.greenlets[0])[0]

    @property
    def line(self) -> str:
        """The first line of the text."""
        return self.text.split("\n", 1)[0]


@dataclass(frozen=True, slots=True)
class Graph:
    """Who waits for whom at one moment. `exhausted` are the processes whose hub can never turn again."""

    world: World
    doomed: frozenset[Key]
    deadlocks: tuple[Deadlock, ...]
    exhausted: tuple[int, ...] = ()


Level = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a lint found. `events` are numbers to jump to; the first line of `text` says it all."""

    lint: str
    level: Level
    t_ns: int
    text: str
    greenlets: tuple[Key, ...] = ()
    resources: tuple[Key, ...] = ()
    victims: tuple[Key, ...] = ()
    events: tuple[int, ...] = ()

    @property
    def line(self) -> str:
        return self.text.split("\n", 1)[0]
