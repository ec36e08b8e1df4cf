"""Frames: what the stack of a greenlet tells: what it is inside of, and what it has in its hands.

In:  the rows of the adapters (a method of Python that was entered before its hook was there is known by its code object), frames.
Out: for one stack, a `Stack`: the primitive that it waits in, and what it holds.
Never: `f_locals`, which leaves a dict in the frame that keeps objects alive; nor a frame object for what does not matter.

What holds is read off in two ways. A `with` block is exact: the exception table covers the instruction with a handler that calls
`__exit__`, and that bound method lies on the frame's own stack, at a depth which the table names. `x.acquire(); try: ... finally:
x.release()` is a candidate: the handler that covers the instruction begins with `x.release()`, and `x` is looked up as it would.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, NamedTuple

from greentrace.events import Op
from greentrace.record.recorder import Recorder
from greentrace.record.runtimes.adapter import Hook

_KEEPS_SELF = sys.version_info >= (3, 14)
"""From 3.14 on `with` keeps on the stack the function `__exit__` and what it is called with, if that is not bound to it already."""

_WAITS = {"wait", "join", "composite", "acquire", "enter", "put", "get", "pool_enter", "thread_join", "ge_select", "ev_waitpid"}
_OPS = {"acquire": Op.ACQUIRE, "enter": Op.ACQUIRE, "put": Op.PUT, "get": Op.GET, "join": Op.JOIN, "thread_join": Op.JOIN}
_MOST_BLOCKS = 40


class Chain(NamedTuple):
    """`first.attribute.attribute.method()`: `slot` of the frame for a variable, -1 for a global of that name."""

    slot: int
    name: str
    attributes: tuple[str, ...]
    method: str


class Plan(NamedTuple):
    """What matters of a frame that stands at one instruction of one code object."""

    code: CodeType
    at: int
    row: Hook | None
    maker: int
    """The kind of what is made in here and waited for, whatever its type; 0 for what it is."""
    exits: tuple[int, ...]
    """Where on the stack the `__exit__` methods of its with blocks lie, innermost first; from 3.14 on, each with its object behind it."""
    releases: tuple[Chain, ...]

    @property
    def matters(self) -> bool:
        return self.row is not None or bool(self.exits or self.releases or self.maker)


@dataclass
class Wait:
    """What a greenlet is inside of: `obj` is the primitive, or None."""

    obj: Any
    kind: int
    op: int
    row: Hook
    times: int = 1


@dataclass
class Stack:
    """What one stack tells."""

    wait: Wait | None = None
    maker: int = 0
    inside: list[tuple[Hook, Any]] = field(default_factory=list)
    """(row, self) of each method with a row, outermost first."""
    holds: list[tuple[Any, bool]] = field(default_factory=list)
    """(object, whether it is certain), innermost first; with blocks of anything that has an `__exit__`."""
    codes: list[tuple[CodeType, int]] = field(default_factory=list)
    """Innermost first."""


class Frames:
    """Reads stacks. `rows` and `makers` are keyed by id(code); `releases` names the methods that give something back."""

    def __init__(self, recorder: Recorder, rows: dict[int, Hook], makers: dict[int, int], releases: set[str]) -> None:
        self._recorder = recorder
        self._rows = rows
        self._makers = makers
        self._releases = releases
        self._plans: dict[tuple[int, int], Plan] = {}

    def plan(self, code: CodeType, at: int) -> Plan:
        # By identity: hashing a code object hashes its contents. The plan keeps it alive, so the identity stays its own.
        plan = self._plans.get((id(code), at))
        if plan is None:
            # Python's own frozen modules (the import of a module, most of all) hold nothing that a greenlet waits for.
            looks = bool(code.co_exceptiontable) and not code.co_filename.startswith("<frozen ")
            exits, releases = _blocks(code, at, self._releases) if looks else ((), ())
            plan = Plan(code, at, self._rows.get(id(code)), self._makers.get(id(code), 0), exits, releases)
            self._plans[id(code), at] = plan
        return plan

    def read(self, frame: FrameType) -> Stack:
        """Return what a stack tells, which begins (innermost) with this frame."""
        found = Stack(codes=self._recorder.stack(frame))
        matter = []
        for depth, (code, at) in enumerate(found.codes):
            plan = self.plan(code, at)
            if plan.matters:
                matter.append((depth, plan))
                found.holds += self._held(frame, depth, plan)
                found.maker = found.maker or plan.maker
        level = 0
        given_up = []
        for depth, plan in reversed(matter):
            row = plan.row
            if row is None:
                continue
            (me,) = self._recorder.slots(frame, depth, (0,), plan.code, plan.at)
            found.inside.append((row, me))
            if row.role == "afresh":
                # Inside of a Condition's wait: what happens to its lock is that lock's affair.
                level, found.wait = 0, None
            elif row.role == "acquire_again":
                (state,) = self._recorder.slots(frame, depth, (1,), plan.code, plan.at)
                times = state[0] if isinstance(state, tuple) and state and isinstance(state[0], int) else 1
                found.wait = Wait(me, row.kind, Op.ACQUIRE, row, times)
                level = 1
            elif row.role == "hub_wait":
                op, obj, kind = self._recorder.slots(frame, depth, (1, 2, 3), plan.code, plan.at)
                found.wait = Wait(obj, kind, op, row)
            elif row.role in _WAITS or (row.role == "release" and row.op != Op.WAIT):
                if level == 0:
                    found.wait = Wait(me, row.kind, _OPS.get(row.role, row.op) if row.role != "pool_enter" else Op.ACQUIRE, row)
                level += 1
            if row.owner == "Condition" and row.method == "wait":
                given_up.append(me)
        for condition in given_up:
            # Its lock was given up on the way in.
            lock = getattr(condition, "_lock", None)
            found.holds = [(obj, certain) for obj, certain in found.holds if obj is not condition and obj is not lock]
        return found

    def _held(self, frame: FrameType, depth: int, plan: Plan) -> Iterator[tuple[Any, bool]]:
        for manager in self._managers(frame, depth, plan):
            yield from self._managed(manager)
        for chain in plan.releases:
            obj = self._looked_up(frame, depth, plan, chain)
            if obj is not None:
                yield obj, False

    def _managers(self, frame: FrameType, depth: int, plan: Plan) -> list[Any]:
        """Return the objects of the with blocks, innermost first."""
        if not plan.exits:
            return []
        kept = self._recorder.slots(frame, depth, plan.exits, plan.code, plan.at)
        if not _KEEPS_SELF:
            return [getattr(method, "__self__", None) for method in kept]
        return [getattr(function, "__self__", None) if me is None else me for function, me in zip(kept[::2], kept[1::2], strict=True)]

    def _managed(self, manager: Any, level: int = 0) -> Iterator[tuple[Any, bool]]:
        """Yield the object of a with block, or what a context manager in Python has in its hands for it."""
        if manager is None or level > 8:
            return
        generator = getattr(manager, "gen", None)
        callbacks = getattr(manager, "_exit_callbacks", None)
        if inspect.isgenerator(generator) and generator.gi_frame is not None:
            yield from self.read_one(generator.gi_frame, level)
        elif callbacks is not None and type(manager).__module__ == "contextlib":
            for _, callback in reversed(callbacks):
                wrapped = getattr(callback, "__wrapped__", None)
                if wrapped is None:
                    yield from self._managed(getattr(callback, "__self__", None), level + 1)
                elif getattr(wrapped, "__name__", "") in self._releases and getattr(wrapped, "__self__", None) is not None:
                    yield wrapped.__self__, False
        else:
            yield manager, True

    def read_one(self, frame: FrameType, level: int) -> Iterator[tuple[Any, bool]]:
        """Yield what the frame of a suspended generator holds."""
        (code, at), *_ = self._recorder.stack(frame)
        plan = self.plan(code, at)
        for manager in self._managers(frame, 0, plan):
            yield from self._managed(manager, level + 1)
        for chain in plan.releases:
            obj = self._looked_up(frame, 0, plan, chain)
            if obj is not None:
                yield obj, False

    def _looked_up(self, frame: FrameType, depth: int, plan: Plan, chain: Chain) -> Any:
        if chain.slot >= 0:
            (obj,) = self._recorder.slots(frame, depth, (chain.slot,), plan.code, plan.at)
        else:
            outer: FrameType | None = frame
            while outer is not None and depth > 0:
                outer, depth = outer.f_back, depth - 1
            if outer is None or outer.f_code is not plan.code:
                return None
            obj = outer.f_globals.get(chain.name)
        for name in chain.attributes:
            obj = static(obj, name)
        return obj


def static(obj: Any, name: str) -> Any:
    """Return an attribute without running any code of the program's; None if there is none."""
    found = inspect.getattr_static(obj, name, None)
    if inspect.ismemberdescriptor(found):
        try:
            return found.__get__(obj, type(obj))
        except AttributeError:
            return None
    return None if isinstance(found, (property, classmethod, staticmethod)) else found


def variable_names(code: CodeType) -> list[str]:
    """Return the names of a frame's variables, in the order in which they lie there."""
    return [*code.co_varnames, *(name for name in code.co_cellvars if name not in code.co_varnames), *code.co_freevars]


def _entries(code: CodeType) -> Iterator[tuple[int, int, int, int]]:
    """Yield (begin, end, handler, depth) of each row of the exception table, counted in instructions."""
    table = iter(code.co_exceptiontable)

    def number() -> int:
        byte = next(table)
        value = byte & 63
        while byte & 64:
            byte = next(table)
            value = value << 6 | byte & 63
        return value

    while True:
        try:
            begin = number()
        except StopIteration:
            return
        size, handler, depth = number(), number(), number()
        yield begin, begin + size, handler, depth >> 1


def _blocks(code: CodeType, at: int, releases: set[str]) -> tuple[tuple[int, ...], tuple[Chain, ...]]:
    """Return (stack entries of the __exit__ methods, chains of `finally` releases) of the blocks around an instruction, innermost first."""
    import opcode

    push, calls_exit = opcode.opmap["PUSH_EXC_INFO"], opcode.opmap["WITH_EXCEPT_START"]
    entries, raw = list(_entries(code)), code.co_code
    first_entry = len(variable_names(code))
    exits: list[int] = []
    chains: list[Chain] = []
    may_release = not releases.isdisjoint(code.co_names)
    for _ in range(_MOST_BLOCKS):
        covering = next(((handler, depth) for begin, end, handler, depth in entries if begin <= at < end), None)
        if covering is None:
            break
        at, depth = covering
        if raw[2 * at] == push and raw[2 * at + 2] == calls_exit:
            if depth > _KEEPS_SELF:
                exits += range(first_entry + depth - 1 - _KEEPS_SELF, first_entry + depth)
        elif raw[2 * at] == push and may_release:
            chains += _released_by(code, 2 * at, releases)
    return tuple(exits), tuple(chains)


_listings: dict[int, tuple[CodeType, list[Any]]] = {}
_calls: dict[tuple[int, int, frozenset[str]], str] = {}
"""What was listed and found, by the identity of code objects, which the first of the two keeps alive."""


def listing(code: CodeType) -> list[Any]:
    """Return the instructions of a code object."""
    import dis

    known = _listings.get(id(code))
    if known is None:
        known = _listings[id(code)] = code, list(dis.get_instructions(code))
    return known[1]


def forget() -> None:
    """Let go of every code object."""
    _listings.clear()
    _calls.clear()


def _released_by(code: CodeType, handler: int, releases: set[str]) -> Iterator[Chain]:
    """Yield what the handler of a `finally` releases without asking anything first."""
    names = variable_names(code)
    chain: Chain | None = None
    for instruction in listing(code):
        if instruction.offset <= handler:
            continue
        name, value = instruction.opname, instruction.argval
        if name.startswith("LOAD_FAST") or name in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
            chain = Chain(names.index(value), value, (), "") if isinstance(value, str) and value in names else None
        elif name in ("LOAD_GLOBAL", "LOAD_NAME"):
            chain = Chain(-1, value, (), "")
        elif name in ("LOAD_ATTR", "LOAD_METHOD") and chain is not None:
            if value in releases:
                yield chain._replace(method=value)
                chain = None
            else:
                chain = chain._replace(attributes=(*chain.attributes, value))
        elif "JUMP" in name or name in ("RERAISE", "RETURN_VALUE", "CHECK_EXC_MATCH", "WITH_EXCEPT_START"):
            return


def called(code: CodeType, at: int, names: set[str]) -> str:
    """Return which of these methods the instruction calls, "" if it cannot be told: the nearest that was loaded before it."""
    key = id(code), at, frozenset(names)
    known = _calls.get(key)
    if known is None:
        known = _calls[key] = _called(code, at, names)
    return known


def _called(code: CodeType, at: int, names: set[str]) -> str:
    instructions = listing(code)
    here = next((number for number, instruction in enumerate(instructions) if instruction.offset == 2 * at), -1)
    if here < 0:
        return ""
    if instructions[here].opname in ("BEFORE_WITH", "LOAD_SPECIAL"):
        return "__enter__" if "__enter__" in names else ""
    if instructions[here].opname == "FOR_ITER":
        return "__next__" if "__next__" in names else ""
    for instruction in reversed(instructions[max(0, here - 40) : here]):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and instruction.argval in names:
            return str(instruction.argval)
        if instruction.opname.startswith("CALL") or "JUMP" in instruction.opname:
            return ""
    return ""
