"""Tables: what the Python recorder knows of what lives, mirrors of the structures in native/core.h.

Nothing here owns an object of the traced program: a `Tag` sits in a greenlet's __dict__ and tells when it goes; a
resource is known by a weak reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greentrace.events import NO_CAPACITY, State

TAG = "__greentrace__"
"""The key of the tag in a greenlet's __dict__."""
MAX_WAITS = 64
"""So many alternatives of one wait are told; of more than that, a few, and that there are others: such a wait proves nothing."""
FEW_WAITS = 8
MAX_FEEDS = 4


@dataclass(slots=True, eq=False)
class Timer:
    number: int
    flags: int
    silent: bool
    due_ns: int
    site: int
    key: int
    node: Node | None = None
    cause: tuple[int, int, int] | None = None
    """A silent one: (Waker, who, resource) that asked for the call, in the place of the hub that makes it."""
    thread: Thread | None = None
    unlocks: int = 0
    """The queue whose waiters it wakes."""


@dataclass(slots=True, eq=False)
class Listener:
    number: int
    resource: int
    fd: int
    mode: int
    key: int
    node: Node | None = None


@dataclass(slots=True, eq=False)
class Node:
    """A greenlet. `address` is compared, never used."""

    number: int
    address: int
    thread: int
    state: State = State.UNKNOWN
    started: bool = False
    is_hub: bool = False
    named: bool = False
    name: int = 0
    woken: bool = False
    timed: bool = False
    is_main: bool = False
    how: int = 0
    """How it will have ended should it pass control on as after a return: endings.py."""
    witness: int = 0
    """The address of the frame object that may know better, while that lives."""
    spawner: int = 0
    spawn_site: int = 0
    site: int = 0
    since_ns: int = 0
    deadline_ns: int = 0
    last_name: int = 0
    """Its function is a runtime's: its name, if no better one shows itself until it ends."""
    waits: list[tuple[int, int]] = field(default_factory=list)
    joined: dict[int, int] = field(default_factory=dict)
    """Resource of a join among the waits -> the greenlet, which may be gone by the time that its end is noticed."""
    intents: list[tuple[int, int]] = field(default_factory=list)
    intent_depth: int = 0
    acquire_depth: int = 0
    release_depth: int = 0
    links: list[tuple[int, int]] = field(default_factory=list)
    links_lost: int = 0
    otherwise: int = 0
    """What it waits for if nothing else is known."""
    feeds: list[int] = field(default_factory=list)
    """Results that its end sets."""
    join_resource: int = 0
    matched: int = 0
    """The queue of which it was woken for something."""
    worker: int = 0
    """The native thread that does, or has done, its last job."""
    selecting: bool = False
    """Inside of a select: whatever it begins to listen for is one more alternative."""
    creating: int = 0
    """The address of the pool or semaphore inside of whose __init__ it is."""
    making_places: bool = False
    timers: list[Timer] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Resource:
    number: int
    kind: int
    creator: int
    site: int
    key: int
    inferred: bool
    capacity: int = NO_CAPACITY
    signal: bool = False
    toucher: int = 0
    toucher_kind: int = 0
    touched_ns: int = 0
    fed_by: int = 0
    """The greenlet that has finished and whose result it takes over, until then 0."""
    holds: list[tuple[int, int, int]] = field(default_factory=list)
    """(greenlet, site, since_ns), oldest first."""
    dues: list[tuple[int, int, int]] | None = None
    """Eventlet's queues, from the moment that the hub was asked to look at them: (Op, Waker, who) of what was done, oldest first."""
    reference: Any = None
    aliases: dict[int, Any] = field(default_factory=dict)
    """Addresses of the objects that stand for it, and weak references to them."""


@dataclass(slots=True, eq=False)
class Thread:
    index: int
    native_id: int
    main: int = 0
    told: bool = False
    current: Node | None = None
    chained: Callable[..., Any] | None = None
    tracing: bool = False
    displaced: bool = False
    polling: bool = False
    earliest_ns: int = 0
    """When the earliest of the timers that were armed here is due; stale once that timer is gone."""
    earliest_stale: bool = False
    cause: tuple[int, int, int] | None = None
    """(Waker, who, resource): why the hub is about to switch."""
    unlocking: int = 0
    """The queue whose waiters the hub is waking."""


@dataclass(slots=True)
class FdEntry:
    resource: int = 0
    generation: int = 0
    listeners: list[Listener] = field(default_factory=list)


class Tag:
    """The mark in a greenlet's __dict__; its end is the greenlet's."""

    __slots__ = ("gone", "node")

    def __init__(self, node: Node, gone: Callable[[Node], None]) -> None:
        self.node = node
        self.gone = gone

    def __del__(self) -> None:
        self.gone(self.node)
