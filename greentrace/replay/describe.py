"""Describe: one event, in words.

In:  a `History` and the number of an event.
Out: one line.
Never: the state of things; an event is told as it was recorded.
"""

from __future__ import annotations

from collections.abc import Callable

from greentrace.events import (
    FLAG_KEY,
    KEYFRAME_BEGIN,
    NAMES,
    NO_CAPACITY,
    RELEASE_FOREIGN,
    TIMER_CALLS,
    TIMER_THROWS,
    How,
    Kind,
    Mode,
    Op,
    State,
    Waker,
)  # fmt: skip
from greentrace.replay.history import History
from greentrace.replay.lives import FAR, Life, Told
from greentrace.replay.model import shown
from greentrace.replay.process import ProcessHistory
from greentrace.replay.state import ever, resource_of

_OPS = {
    Op.WAIT: "waits for", Op.ACQUIRE: "wants to acquire", Op.READ: "wants to read from", Op.WRITE: "wants to write to",
    Op.GET: "wants to get from", Op.PUT: "wants to put into", Op.JOIN: "waits for the", Op.SLEEP: "goes to", Op.READWRITE: "wants to use",
    Op.SWITCH: "waits for",
}  # fmt: skip
_HOW = {How.RETURNED: "returned", How.EXCEPTION: "ended with an exception", How.KILLED: "was killed", How.UNKNOWN: "ended"}


class _Teller:
    """Words for one record of one process."""

    def __init__(self, history: History, h: ProcessHistory, position: int) -> None:
        self.history, self.h, self.position = history, h, position
        self.r = h.record(position)

    def who(self, number: int | None = None) -> str:
        number = self.r.greenlet if number is None else number
        if not number:
            return "somebody"
        return ever(self.h, self.h.ages.greenlet(number) or Life(number, 0)).label

    def what(self, number: int | None = None) -> str:
        number = self.r.other if number is None else number
        return resource_of(self.h, number, self.h.ages.at(self.position).resource(number) or Told(), FAR - 1).label

    def at(self) -> str:
        frame = shown(self.h.names.stack(self.r.site))
        return f" at {frame}" if frame else ""

    def text(self) -> str:
        return self.h.names.string(self.r.arg & 0xFFFFFFFF)

    def moment(self, t_ns: int) -> str:
        return f"{(t_ns - self.history.start_ns) / 1e9:.6f} s"

    def duration(self, ns: int) -> str:
        return f"{ns / 1e9:.3g} s"

    # ---- a kind of event each

    def switch(self) -> str:
        left = self.r.flags & 7
        state = State(left).name.lower() if left < 7 else "unknown"
        of = f", {state}" + (f" on {self.what(self.r.arg & 0xFFFFFFFF)}" if left == State.PARKED and self.r.arg else "")
        how = " with an exception" if self.r.kind == Kind.THROW else ""
        return f"{self.who(self.r.other)} switched to {self.who()}{how} and is now{of[1:]}{self.at()}"

    def finish(self) -> str:
        how = self.r.flags & 0x3F
        return f"{self.who()} {_HOW.get(How(how), 'ended') if how <= max(How) else 'ended'}" + (f": {self.text()}" if self.text() else "")

    def park(self) -> str:
        op = self.r.flags & 0x3F
        until = f", until {self.moment(self.r.arg)} at most" if self.r.arg else ""
        return f"{self.who()} {_OPS[Op(op)] if op <= max(Op) else 'waits for'} {self.what()}{self.at()}{until}"

    def wake(self) -> str:
        what = self.r.flags & 0x3F
        by = {
            Waker.GREENLET: self.who(self.r.other), Waker.TIMER: "a timer", Waker.FD: self.what(),
            Waker.THREAD: f"thread {self.r.other}" if self.r.other else "another thread",
            Waker.CALLBACK: "a callback", Waker.PROCESS: f"the end of process {self.r.other}" if self.r.other else "the end of a process",
            Waker.SIGNAL: f"signal {self.r.other}" if self.r.other else "a signal",
        }.get(what, "somebody")  # type: ignore[call-overload]  # fmt: skip
        return f"{self.who()} was woken by {by}" + (
            f" through {self.what(self.r.arg & 0xFFFFFFFF)}" if self.r.arg and what != Waker.FD else ""
        )

    def timer(self) -> str:
        what = "calls a function" if self.r.flags & TIMER_CALLS else "throws" if self.r.flags & TIMER_THROWS else "wakes it"
        return f"a timer was armed for {self.who()}: at {self.moment(self.r.arg)} it {what}{self.at()}"

    def release(self) -> str:
        held = f", which {self.who(self.r.arg & 0xFFFFFFFF) if self.r.arg else 'nobody'} held" if self.r.flags & RELEASE_FOREIGN else ""
        return f"{self.who()} released {self.what()}{held}"

    def poll(self) -> str:
        return f"{self.who()} polls" + (f" for {self.duration(self.r.arg)} at most" if self.r.arg != NO_CAPACITY else "")

    def mode(self) -> str:
        mode = self.r.flags & 3
        return Mode(mode).name.lower() if mode else "something"

    def state(self) -> str:
        state = self.r.flags & 7
        return f"{self.who()} is {State(state).name.lower() if state < 7 else 'unknown'}{self.at()}"


_TELL: dict[int, Callable[[_Teller], str]] = {
    Kind.SPAWN: lambda s: f"{s.who(s.r.other)} created {s.who()}{s.at()}",
    Kind.START: lambda s: f"{s.who()} starts",
    Kind.SWITCH: _Teller.switch,
    Kind.THROW: _Teller.switch,
    Kind.FINISH: _Teller.finish,
    Kind.COLLECT: lambda s: f"{s.who()} is gone",
    Kind.NAME: lambda s: f"greenlet {s.r.greenlet} is called {s.text()}",
    Kind.HUB: lambda s: f"{s.who()} is the hub of its thread",
    Kind.PARK: _Teller.park,
    Kind.WAKE: _Teller.wake,
    Kind.RESOURCE: lambda s: f"{s.what()} became known",
    Kind.ACQUIRE: lambda s: f"{s.who()} holds {s.what()}{s.at()}",
    Kind.RELEASE: _Teller.release,
    Kind.PUT: lambda s: f"{s.who()} put something into {s.what()}",
    Kind.GET: lambda s: f"{s.who()} took something from {s.what()}",
    Kind.SET: lambda s: f"{s.who()} set {s.what()}",
    Kind.CLEAR: lambda s: f"{s.who()} cleared {s.what()}",
    Kind.DISPOSE: lambda s: f"{s.what()} is gone",
    Kind.POLL_BEGIN: _Teller.poll,
    Kind.POLL_END: lambda s: f"{s.who()} has polled" + (f": {s.r.arg - 1} ready" if s.r.arg else ""),
    Kind.FD_ADD: lambda s: f"{s.who()} listens to {s.what()} ({s.mode()})",
    Kind.FD_REMOVE: lambda s: f"{s.who()} listens no longer to {s.what()} ({s.mode()})",
    Kind.FD_READY: lambda s: f"{s.what()} is ready ({s.mode()}) for {s.who()}",
    Kind.FD_OPEN: lambda s: f"{s.what()} came into use",
    Kind.FD_CLOSE: lambda s: f"{s.what()} was closed by {s.who()}",
    Kind.TIMER_ADD: _Teller.timer,
    Kind.TIMER_CANCEL: lambda s: f"a timer of {s.who()} was cancelled",
    Kind.TIMER_FIRE: lambda s: f"a timer of {s.who()} fired",
    Kind.CALLBACK: lambda s: f"{s.who()} calls {s.text() or 'a function'}",
    Kind.THREAD: lambda s: f"thread {s.r.thread} was seen (native id {s.r.arg})",
    Kind.FORK: lambda s: f"{s.who()} forked" + (f"; the other side is process {s.r.arg}" if s.r.arg else ""),
    Kind.PATCH: lambda s: f"instrumented: {s.text()}",
    Kind.MARK: lambda s: f"note of {s.who()}: {s.text()}{s.at()}",
    Kind.ERROR: lambda s: f"{s.who()} printed an exception and went on: {s.text()}",
    Kind.HOG: lambda s: f"{s.who()} has been running for {s.duration(s.r.arg)} without a switch{s.at()}",
    Kind.TRIGGER: lambda s: f"a snapshot is called for: {s.text()}{s.at()}",
    Kind.KEYFRAME: lambda s: "a keyframe begins" if s.r.flags & KEYFRAME_BEGIN else "the keyframe ends",
    Kind.STATE: _Teller.state,
    Kind.GAP: lambda s: f"{s.r.arg:,} events were lost: everything is unknown until the next keyframe",
    Kind.DISPLACED: lambda s: f"another tracer took our place: {s.text()}",
    Kind.OVERHEAD: lambda s: f"recording has cost {s.duration(s.r.arg)}",
}


def describe_event(history: History, number: int) -> str:
    """Return one event in words. Raises `IndexError` when there is no such event."""
    process, position = history.find(number)
    teller = _Teller(history, history.histories[process], position)
    record = teller.r
    tell = _TELL.get(record.kind)
    if tell is None:
        return f"an event of a kind that is not known ({NAMES.get(record.kind, record.kind)})"
    words = tell(teller)
    return f"still so: {words}" if record.flags & FLAG_KEY and record.kind not in (Kind.KEYFRAME, Kind.STATE) else words
