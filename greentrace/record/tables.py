"""Tables: what the Python recorder knows of what lives, mirrors of the structures in native/core.h.

Nothing here owns an object of the traced program: a `Tag` sits in a greenlet's __dict__ and tells when it goes; a
resource is known by a weak reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greentrace.events import NO_CAPACITY, Kind, State

TAG = "__greentrace__"
"""The key of the tag in a greenlet's __dict__."""
MAX_WAITS = 64
"""So many alternatives of one wait are told; of more than that, a few, and that there are others: such a wait proves nothing."""
FEW_WAITS = 8
MAX_FEEDS = 4


def fd_key(fd: int, mode: int) -> int:
    """Return the key of a listener that has no object: the built-in hub tells fd and mode. Negative: no object's address."""
    return -(fd << 2 | mode) - 1


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
    """How it will have ended should it pass control on as after a return."""
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
    waits_inferred: bool = False
    """They were found, not watched."""
    pending: int = 0
    """It was found inside of an acquire that no hook saw begin: what it will hold."""
    pending_times: int = 0
    pending_held: bool = False
    passing: Resource | None = None
    """It was found waiting for something that has a number only while it does."""
    timers: list[Timer] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    forgotten: bool = False
    """Recording has ended since: what still leads here means nothing."""


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
    holds: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(greenlet, site, since_ns, FLAG_INFERRED or 0), oldest first."""
    dues: list[tuple[int, int, int]] | None = None
    """Eventlet's queues, from the moment that the hub was asked to look at them: (Op, Waker, who) of what was done, oldest first."""
    reference: Any = None
    aliases: dict[int, Any] = field(default_factory=dict)
    """Addresses of the objects that stand for it, and weak references to them."""
    forgotten: bool = False


@dataclass(slots=True, eq=False)
class Thread:
    index: int
    native_id: int
    ident: int = 0
    main: int = 0
    told: bool = False
    current: Node | None = None
    met: bool = True
    """It has spoken itself; else only its greenlets were found."""
    main_address: int = 0
    """Of the greenlet that it began in; compared, never used."""
    chained: Callable[..., Any] | None = None
    below: Callable[..., Any] | None = None
    """What was there before us, while somebody from an earlier recording sits on top of ours and calls it."""
    owed: Callable[[], Any] | None = None
    """Weak: our function was replaced by this one from outside, perhaps while it was about to call it."""
    calling: bool = False
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
    turn: tuple[int, int, int] = (Kind.POLL_BEGIN, 0, 0)
    """(kind, t_ns, greenlet) of the last event that says who has the thread, or that its hub polls."""
    hub: int = 0
    polls: bool = False
    hog: tuple[int, int] = (0, 0)
    """(t_ns of the turn, ns) of the long run that was told last."""

    def note_turn(self, kind: int, t_ns: int, greenlet: int) -> None:
        """Keep what the watchdog asks of a thread."""
        if kind == Kind.HUB:
            self.hub = greenlet
            return
        self.polls |= kind == Kind.POLL_BEGIN
        self.turn = (kind, t_ns, greenlet)


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
