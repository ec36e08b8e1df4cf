"""Facts: what was found, before it is told.

In:  what each runtime's structures say, and each greenlet's stack. Out: to the recorder, in an order in which no moment in between
looks more hopeless than it is: greenlets, holders, listeners and timers, and only then who is parked on what.
Never: a fact that two sources contradict, nor a reference to anything of the program once it is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from types import CodeType, FrameType
from typing import Any, NamedTuple

import greenlet

from greentrace import events as e
from greentrace.events import Op, ResourceKind, State
from greentrace.record.discovery.frames import Frames, Stack
from greentrace.record.recorder import Recorder

# greenlet's own answers: gevent's Greenlet has others of the same names.
is_dead = greenlet.greenlet.dead.__get__
is_active = greenlet.greenlet.__bool__
frame_of = greenlet.greenlet.gr_frame.__get__
parent_of = greenlet.greenlet.parent.__get__


class End(IntEnum):
    """Of an acquire: whether whoever comes out of it tells that it has acquired."""

    TOLD = 0
    UNTOLD = 1
    UNCERTAIN = 2


class Want(NamedTuple):
    """One alternative of a wait."""

    obj: Any
    kind: int
    op: int
    end: End = End.UNTOLD
    times: int = 1


@dataclass(eq=False)
class Seen:
    """One greenlet that lives."""

    g: Any
    main: Any
    frame: FrameType | None
    """Where it is suspended."""
    is_hub: bool = False
    is_runnable: bool = False
    stack: Stack = field(default_factory=Stack)
    wants: list[Want] = field(default_factory=list)
    """What the structures of a runtime say."""
    hears: list[tuple[int, int]] = field(default_factory=list)
    """(fd, mode) of its listeners."""
    sleeps: bool = False
    state: State = State.UNKNOWN


class Hold(NamedTuple):
    g: Any
    obj: Any
    kind: int
    times: int
    observed: bool


@dataclass
class Facts:
    """All that was found."""

    recorder: Recorder
    frames: Frames
    seen: dict[int, Seen] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    timers: list[tuple[Any, int, Any, int]] = field(default_factory=list)
    listeners: list[tuple[Any, int, int, Any]] = field(default_factory=list)
    hubs: list[tuple[Any, int]] = field(default_factory=list)
    """(a hub's greenlet, the ident of its thread, 0 if unknown)."""
    capacities: dict[int, int] = field(default_factory=dict)
    lifts: dict[int, Want] = field(default_factory=dict)
    """An object inside of another -> what whoever waits for it asked for."""
    threads: dict[int, Any] = field(default_factory=dict)
    """A threading.Thread -> the greenlet that runs it."""
    names: dict[int, tuple[str, bool]] = field(default_factory=dict)
    """A greenlet that its own stack would not name (by its id) -> its name, and whether it was given."""

    def meet(self, g: Any) -> Seen | None:
        """Return what is known of a greenlet that lives; None if it has ended."""
        known = self.seen.get(id(g))
        if known is None and isinstance(g, greenlet.greenlet) and not is_dead(g):
            main = g
            while (parent := parent_of(main)) is not None:
                main = parent
            known = self.seen[id(g)] = Seen(g, main, frame_of(g))
        return known

    def name(self, g: Any, text: Any, given: bool = False) -> None:
        if isinstance(text, str):
            self.names[id(g)] = text, given

    def runnable(self, g: Any) -> None:
        seen = self.meet(g)
        if seen is not None:
            seen.is_runnable = True

    def wants(self, g: Any, obj: Any, kind: int, op: int, end: End = End.UNTOLD) -> None:
        """It waits for this, by the look of a runtime's structures."""
        seen = self.meet(g)
        if seen is not None:
            seen.wants.append(Want(obj, kind, op, end))

    def hub(self, g: Any, ident: int = 0) -> None:
        seen = self.meet(g)
        if seen is not None:
            seen.is_hub = True
            self.hubs.append((g, ident))

    def timer(self, timer: Any, due_ns: int, g: Any, flags: int) -> None:
        seen = self.meet(g) if g is not None else None
        if seen is not None and not flags:
            seen.sleeps = True
        self.timers.append((timer, max(due_ns, 1), g if seen is not None else None, flags if seen is not None else e.TIMER_CALLS))

    def listener(self, listener: Any, fd: int, mode: int, g: Any) -> None:
        seen = self.meet(g) if g is not None else None
        if seen is not None:
            seen.hears.append((fd, mode))
        self.listeners.append((listener, fd, mode, g if seen is not None else None))

    def held(self, g: Any, obj: Any, kind: int, times: int = 1, observed: bool = True) -> None:
        if times > 0 and self.meet(g) is not None:
            self.holds.append(Hold(g, obj, kind, times, observed))

    def capacity(self, obj: Any, capacity: Any) -> None:
        if isinstance(capacity, int) and capacity >= 0:
            self.capacities[id(obj)] = capacity

    # ---- telling

    def tell(self, natives: dict[int, int]) -> None:
        """Tell it all. `natives`: the system's number of the thread of each main greenlet, by its id."""
        hubs = {id(g) for g, _ in self.hubs}
        order = sorted(self.seen.values(), key=lambda seen: (id(seen.g) not in hubs, seen.g is not seen.main))
        parked = []
        for seen in order:
            what = int(seen.state) | (_HUB if seen.is_hub else 0)
            new = self.recorder.found(seen.g, what, natives.get(id(seen.main), 0), seen.main)
            if new and seen.state == State.PARKED:
                parked.append(seen)
            if new and id(seen.g) in self.names:
                self.recorder.name(seen.g, *self.names[id(seen.g)])
            elif new and [code.co_qualname for code, _ in seen.stack.codes[-1:]] == ["GreenThread.main"] and len(seen.stack.codes) > 1:
                # eventlet's own function around the one that was spawned, which may be a runtime's too.
                self.recorder.name(seen.g, _outermost(seen.stack.codes[:-1]), False)
            elif seen.state == State.RUNNING and not seen.is_hub and seen.g is not seen.main and seen.stack.codes:
                # It may end before it parks, and would have no name.
                self.recorder.name(seen.g, _outermost(seen.stack.codes), False)
        for hold in self.holds:
            self.recorder.found_resource(hold.obj, hold.kind, self.capacities.get(id(hold.obj), -1), hold.g)
            self.recorder.found_hold(hold.g, hold.obj, hold.kind, hold.times, hold.observed)
        for listener in self.listeners:
            self.recorder.found_listener(*listener)
        for timer in self.timers:
            self.recorder.found_timer(*timer)
        for seen in parked:
            for want in seen.wants:
                if want.obj is not None and want.kind not in _NUMBERED:
                    self.recorder.found_resource(want.obj, want.kind, self.capacities.get(id(want.obj), -1), seen.g)
                self.recorder.found_wait(seen.g, want.obj, want.kind, want.op, want.end, want.times)
            self.recorder.found_parked(seen.g)


RUNTIMES = ("/eventlet/", "/gevent/", "/greentrace/hub/")
"""Parts of the paths of code that is a runtime's."""


def _outermost(codes: list[tuple[CodeType, int]]) -> str:
    """Return the name of the outermost function that is no runtime's, else of the outermost."""
    names = [code.co_qualname for code, _ in codes[:-5:-1] if not any(part in code.co_filename for part in RUNTIMES)]
    return names[0] if names else codes[-1][0].co_qualname


_HUB = 8
"""Recorder.found: it is a hub."""
_NUMBERED = {
    ResourceKind.FD, ResourceKind.GREENLET, ResourceKind.SLEEP, ResourceKind.SWITCH,
    ResourceKind.CALLBACK, ResourceKind.SIGNAL, ResourceKind.PROCESS, ResourceKind.THREAD,
}  # fmt: skip
"""Kinds that are told of by a number, by the greenlet, or only while somebody waits."""


def target(callback: Any) -> tuple[str, Any]:
    """Return ("switch" or "throw", the greenlet) of a callback that passes control to one; ("", None) of another."""
    owner, name = getattr(callback, "__self__", None), getattr(callback, "__name__", "")
    if owner is None or name not in ("switch", "throw"):
        return "", None
    g = owner if isinstance(owner, greenlet.greenlet) else getattr(owner, "greenlet", None)
    return (name, g) if isinstance(g, greenlet.greenlet) else ("", None)


def subclasses(types: Iterable[type]) -> set[type]:
    """Return the types and all that are made from them."""
    found: set[type] = set()
    work = list(types)
    while work:
        one = work.pop()
        if one not in found:
            found.add(one)
            work += type.__subclasses__(one)
    return found


IO_OPS = {1: Op.READ, 2: Op.WRITE, 3: Op.READWRITE}
