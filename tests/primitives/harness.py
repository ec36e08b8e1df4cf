"""Harness: every primitive that a greenlet can wait on, one `Row` each, recorded and looked at in the moment of the wait.

    mark "begin NAME"    releaser: setup
                         waiter:   block                      <- spawned by the releaser, which then gives way three times
    mark "parked NAME"   <- `Found` is the world just after this record
                         releaser: release
    mark "end NAME"      both have finished, or PATIENCE seconds are over

In:  rows, and the prelude of a runtime: imports, and what `spawn`, `sleep` and `wait_for(greenlet, seconds)` are there.
Out: `Recorded`, one recorded process in which every row had its turn; `check` says whether a row came out as it claims.
Never: a trace that was made by hand, or a row that waits for a moment that may not come.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from greentrace.events import Kind, Op, ResourceKind, State, Waker
from greentrace.record.launch import environment
from greentrace.replay import reader, waits
from greentrace.replay.model import GreenletNow, World
from greentrace.ring import MIN_BYTES
from tests.record.reading import Record, Ring, rings

RING_BYTES = 32 << 20
PATIENCE = 10
"""Seconds after which a row that nothing ends is told to have failed; the others go on."""


@dataclass(frozen=True)
class Row:
    """One primitive. `block`, `release` and `setup` are Python text with one namespace; `waiter`, the greenlet, is in it."""

    name: str
    block: str
    release: str
    kind: ResourceKind | tuple[ResourceKind, ...]
    """What is waited for: the alternatives in any order when there are several."""
    op: Op | tuple[Op, ...]
    deadline: bool = False
    wakers: tuple[str, ...] | None = None
    """The names of all greenlets that could end the wait, None when anybody could."""
    woken_by: str = "greenlet:releaser"
    """`greenlet:NAME`, or in lower case another `Waker`: what ended the wait."""
    setup: str = ""
    """Runs in the releaser before the waiter is made: what the releaser has to hold, it takes here."""
    again: ResourceKind | None = None
    """What the waiter parks on next, if that matters: a condition's lock."""
    holds: tuple[ResourceKind, ...] = ()
    """What the waiter holds meanwhile: nothing that the primitive is made of."""
    who: str = "waiter"
    """The greenlet to look at, when it is not the waiter itself but one that the runtime made."""
    nowhere: bool = False
    """It has no frame of Python, so it stands at no site."""
    unknown_in_twin: bool = False
    """The Python recorder cannot see what it waits for, and says so."""

    @property
    def kinds(self) -> tuple[ResourceKind, ...]:
        return self.kind if isinstance(self.kind, tuple) else (self.kind,)

    @property
    def ops(self) -> tuple[Op, ...]:
        return self.op if isinstance(self.op, tuple) else (self.op,)


_DRIVER = r"""
import json as _json, sys as _sys, traceback as _traceback
import greentrace as _greentrace

def _one(name, setup, block, release):
    scope = dict(globals())
    errors = []

    def run(what, text):
        try:
            exec(compile(text, f"<{name}: {what}>", "exec"), scope)
        except BaseException:
            errors.append(_traceback.format_exc())

    def waiter():
        run("block", block)

    def releaser():
        run("setup", setup)
        scope["waiter"] = spawn(waiter)
        for _ in range(3):
            sleep(0)
        _greentrace.mark("parked " + name)
        run("release", release)

    _greentrace.mark("begin " + name)
    first = spawn(releaser)
    for who in (lambda: first, lambda: scope.get("waiter")):
        if not errors and not wait_for(who(), PATIENCE):
            errors.append("it never ended")
    _greentrace.mark("end " + name)
    print(_json.dumps([name, errors]), flush=True)

for _row in _json.loads(ROWS):
    _one(*_row)
_sys.stdout.flush()
"""


_LATE_DRIVER = r"""
import json as _json, sys as _sys, traceback as _traceback
from pathlib import Path as _Path
from greentrace.record.session import Session as _Session

def _one(number, name, setup, block, release):
    scope = dict(globals())
    errors = []
    session = _Session(_Path(DIRECTORY) / str(number), RING_BYTES)

    def run(what, text):
        try:
            exec(compile(text, f"<{name}: {what}>", "exec"), scope)
        except BaseException:
            errors.append(_traceback.format_exc())

    def waiter():
        run("block", block)

    def releaser():
        run("setup", setup)
        scope["waiter"] = spawn(waiter)
        for _ in range(3):
            sleep(0)
        try:
            session.start()
        except BaseException:
            errors.append(_traceback.format_exc())
        session.mark("begin " + name)
        session.mark("parked " + name)
        run("release", release)

    first = spawn(releaser)
    for who in (lambda: first, lambda: scope.get("waiter")):
        if not errors and not wait_for(who(), PATIENCE):
            errors.append("it never ended")
    session.mark("end " + name)
    left = session.stop()
    if left:
        errors.append(f"left behind: {left}")
    print(_json.dumps([name, errors]), flush=True)

for _number, _row in enumerate(_json.loads(ROWS)):
    _one(_number, *_row)
_sys.stdout.flush()
"""
"""The same, but nobody records until the waiter is parked: then a session begins, for this row alone."""


@dataclass
class Found:
    """What one row's wait looks like in the trace."""

    errors: list[str]
    now: GreenletNow | None
    """The waiter, just after the mark."""
    kinds: tuple[ResourceKind, ...] = ()
    ops: tuple[Op, ...] = ()
    wakers: tuple[str, ...] | None = None
    woken_by: str = ""
    next_kinds: tuple[ResourceKind, ...] = ()
    tell: Callable[[], str] = str

    @property
    def story(self) -> str:
        """All that happened between the row's marks, in words."""
        return self.tell()


@dataclass
class Recorded:
    """One process that went through its rows."""

    path: Path
    errors: Mapping[str, list[str]]
    output: str
    is_late: bool = False
    """It began to record when the waiter was parked already."""
    _found: dict[str, Found] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of what was opened; before Python 3.13 each mapping keeps a descriptor, and there are a thousand rows."""
        for name in ("ring", "trace"):
            opened = self.__dict__.pop(name, None)
            if opened is not None:
                opened.close()

    @cached_property
    def ring(self) -> Ring:
        return Ring(self.path)

    @cached_property
    def trace(self) -> reader.Trace:
        return reader.open(self.path)

    @cached_property
    def marks(self) -> dict[str, int]:
        return {self.ring.strings[r.arg]: r.at for r in self.ring.of(Kind.MARK)}

    def found(self, name: str, who: str = "waiter") -> Found:
        """Return what became of a row."""
        if name not in self._found:
            self._found[name] = self._find(name, who)
        return self._found[name]

    def _find(self, name: str, who: str) -> Found:
        errors = self.errors.get(name, [f"the program ended before:\n{self.output}"])
        if errors or f"end {name}" not in self.marks:
            return Found(errors or ["there is no mark"], None)
        begin, parked, end = (self.marks[f"{when} {name}"] for when in ("begin", "parked", "end"))
        mine = [r for r in self.ring.records[0 if self.is_late else begin : end] if not r.key]
        names = {r.greenlet: self.ring.strings[r.arg].rpartition(".")[2] for r in mine if r.kind == Kind.NAME}
        waiters = [number for number, text in names.items() if text == who]
        if len(waiters) != 1:
            return Found([f"{len(waiters)} greenlets are named {who}"], None)
        world = self.trace.at_position(0, parked)
        now = next((now for now in world.greenlets.values() if now.id == waiters[0]), None)
        if now is None:
            return Found(["the waiter is not in the world"], None)
        resources = [world.resources[wait.resource] for wait in now.waits]
        wakers = [waits.wakers(world, wait) for wait in now.waits]
        return Found(
            [],
            now,
            tuple(sorted(r.kind for r in resources)),
            tuple(sorted(wait.op for wait in now.waits)),
            None if None in wakers else tuple(sorted({world.label(key).rpartition(".")[2] for one in wakers for key in one or ()})),
            self._woken_by(world, [r for r in mine if r.at > parked], waiters[0]),
            self._next_kinds([r for r in mine if r.at > parked], waiters[0]),
            lambda: "\n".join(self.ring.say(r) for r in mine),
        )

    def _woken_by(self, world: World, after: Iterable[Record], waiter: int) -> str:
        for r in after:
            if r.kind == Kind.WAKE and r.greenlet == waiter:
                what = Waker(r.flags & 7)
                if what != Waker.GREENLET:
                    return what.name.lower()
                return f"greenlet:{self.ring.names().get(r.other, str(r.other)).rpartition('.')[2]}"
            if r.kind in (Kind.SWITCH, Kind.THROW) and r.greenlet == waiter:
                return "nobody"
        return "never"

    def _next_kinds(self, after: Iterable[Record], waiter: int) -> tuple[ResourceKind, ...]:
        woken = False
        for r in after:
            woken = woken or (r.kind in (Kind.SWITCH, Kind.THROW) and r.greenlet == waiter)
            if woken and r.kind == Kind.PARK and r.greenlet == waiter:
                return (ResourceKind[self.ring.what(r.other).upper()],)
        return ()


def record(directory: Path, core: str, prelude: str, rows: Iterable[Row], **variables: str) -> Recorded:
    """Record a process that goes through the rows. `variables` are added to its environment."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = json.dumps([[row.name, row.setup, row.block, row.release] for row in rows])
    program = f"{prelude}\nROWS = {told!r}\nPATIENCE = {PATIENCE}\n{_DRIVER}"
    env = {**environment(directory, RING_BYTES), "GREENTRACE_CORE": core, **variables}
    child = subprocess.Popen(
        [sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    output, errors = _said(child)
    path = next(ring.path for ring in rings(directory) if ring.meta["pid"] == child.pid)
    return Recorded(path, errors, output)


def record_late(directory: Path, core: str, prelude: str, rows: Iterable[Row], **variables: str) -> dict[str, Recorded]:
    """Let a process go through the rows that records each of them only from the moment on at which its waiter is parked."""
    rows = list(rows)
    for number in range(len(rows)):
        (directory / str(number)).mkdir(mode=0o700, parents=True, exist_ok=True)
    told = json.dumps([[row.name, row.setup, row.block, row.release] for row in rows])
    head = f"ROWS = {told!r}\nPATIENCE = {PATIENCE}\nDIRECTORY = {str(directory)!r}\nRING_BYTES = {MIN_BYTES * 4}"
    env = {**os.environ, "GREENTRACE_CORE": core, **variables}
    child = subprocess.Popen(
        [sys.executable, "-c", f"{prelude}\n{head}\n{_LATE_DRIVER}"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    output, errors = _said(child)
    found = {}
    for number, row in enumerate(rows):
        path = next((ring.path for ring in rings(directory / str(number))), directory)
        found[row.name] = Recorded(path, errors, output, is_late=True)
    return found


def _said(child: subprocess.Popen[str]) -> tuple[str, dict[str, list[str]]]:
    try:
        output, _ = child.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        child.kill()
        output, _ = child.communicate()
        output += "\nit hung"
    if child.returncode:
        output += f"\nexit code {child.returncode}"
    errors: dict[str, list[str]] = {}
    for line in output.splitlines():
        told_of: Any = json.loads(line) if line.startswith("[") and line.endswith("]]") else None
        if isinstance(told_of, list) and len(told_of) == 2:
            errors[told_of[0]] = told_of[1]
    return output, errors


def check(row: Row, recorded: Recorded, core: str) -> None:
    """Assert that the trace says of the row's wait what the row says of it."""
    found = recorded.found(row.name, row.who)
    assert not found.errors, "\n".join(found.errors)
    now = found.now
    assert now is not None
    assert now.state == State.PARKED, f"{now.state!r}\n{found.story}"
    if row.unknown_in_twin and core == "python" and found.kinds == (ResourceKind.UNKNOWN,):
        return
    assert found.kinds == tuple(sorted(row.kinds)), f"{[kind.name for kind in found.kinds]}\n{found.story}"
    assert found.ops == tuple(sorted(row.ops)), f"{[op.name for op in found.ops]}\n{found.story}"
    assert (now.deadline_ns is not None) == row.deadline, f"deadline {now.deadline_ns}\n{found.story}"
    held = tuple(sorted(ResourceKind[recorded.ring.what(hold.resource & 0xFFFFFFFF).upper()] for hold in now.holds))
    assert held == tuple(sorted(row.holds)), f"it holds {held}\n{found.story}"
    assert found.wakers == (None if row.wakers is None else tuple(sorted(row.wakers))), found.story
    assert found.woken_by == row.woken_by, found.story
    if row.again is not None:
        assert found.next_kinds == (row.again,), found.story
    assert now.stack or row.nowhere, "it has no site"
    assert row.who != "waiter" or any("block" in frame.file for frame in now.stack), [str(frame) for frame in now.stack]
