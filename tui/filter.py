"""Filter: which greenlets are shown, in the words of a small language.

    state:parked since>1s          parked for more than a second
    func:handle_* | name:hub       one or the other
    waits:lock,queue !(pid=4242)   lists, negation, parentheses
    alice                          a bare word is looked for in names and functions

In:  a line. Out: a predicate over a greenlet as the whole trace knows it and as it is at the cursor.
Never: an exception but `ValueError`, whose text says what was not understood. A greenlet that is not there at the cursor has no state and
waits for nothing.

    either := all ("|" all)*      all := one+      one := "!" one | "(" either ")" | WORD
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from greentrace.events import State
from greentrace.export.looks import WORDS, look_of
from greentrace.replay.model import GreenletEver, GreenletNow, World

Predicate = Callable[[GreenletEver, World], bool]
_TERM = re.compile(r"([a-z]+)(!=|<=|>=|[:=<>~])(.*)", re.S)
_UNITS = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "min": 60e9, "h": 3600e9}
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(ns|us|µs|ms|s|min|h|k|M)?")


def _waits(now: GreenletNow | None, world: World) -> str:
    if now is None or now.state != State.PARKED or not now.waits:
        return ""
    resource = world.resources.get(now.waits[0].resource)
    return WORDS[look_of(now.state, resource.kind if resource is not None else None)].word


def _on(now: GreenletNow | None, world: World) -> str:
    found = [world.resources[wait.resource].label for wait in now.waits if wait.resource in world.resources] if now is not None else []
    return " ".join(found)


def _place(now: GreenletNow | None) -> str:
    return now.site.place if now is not None and now.site is not None else ""


_FIELDS: dict[str, Callable[[GreenletEver, GreenletNow | None, World], Any]] = {
    "state": lambda g, now, world: now.state.name.lower() if now is not None else "",
    "waits": lambda g, now, world: _waits(now, world),
    "on": lambda g, now, world: _on(now, world),
    "name": lambda g, now, world: g.label,
    "func": lambda g, now, world: g.function,
    "at": lambda g, now, world: _place(now),
    "id": lambda g, now, world: g.id,
    "pid": lambda g, now, world: g.pid,
    "thread": lambda g, now, world: g.thread,
    "holds": lambda g, now, world: len(now.holds) if now is not None else 0,
    "since": lambda g, now, world: world.t_ns - now.since_ns if now is not None else -1,
    "born": lambda g, now, world: (g.born_ns if g.born_ns is not None else g.seen_ns) - world.start_ns,
    "died": lambda g, now, world: g.died_ns - world.start_ns if g.died_ns is not None else -1,
}
FIELDS = tuple(_FIELDS)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b, ":": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b,
}  # fmt: skip


def parse(line: str) -> Predicate:
    """Return the predicate that a line means.

    Raises `ValueError` when it means none.
    """
    words = re.findall(r"[()|!]|[^\s()|!][^\s()|]*", line)
    parser = _Parser(words)
    predicate = parser.either()
    if parser.words:
        raise ValueError(f"{parser.words[0]!r} is not expected there.")
    return predicate


class _Parser:
    def __init__(self, words: list[str]) -> None:
        self.words = words

    def either(self) -> Predicate:
        parts = [self._all()]
        while self.words and self.words[0] == "|":
            self.words.pop(0)
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda g, world: any(part(g, world) for part in parts)

    def _all(self) -> Predicate:
        parts = [self._one()]
        while self.words and self.words[0] not in ("|", ")"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda g, world: all(part(g, world) for part in parts)

    def _one(self) -> Predicate:
        if not self.words:
            raise ValueError("Something is missing at the end.")
        word = self.words.pop(0)
        if word == "!":
            inner = self._one()
            return lambda g, world: not inner(g, world)
        if word == "(":
            inner = self.either()
            if not self.words or self.words.pop(0) != ")":
                raise ValueError("A parenthesis is not closed.")
            return inner
        if word in (")", "|"):
            raise ValueError(f"{word!r} is not expected there.")
        return _term(word)


def _term(word: str) -> Predicate:
    match = _TERM.fullmatch(word)
    if match is None:
        wanted = word.casefold()
        return lambda g, world: wanted in f"{g.label} {g.function}".casefold()
    name, operator, value = match.groups()
    if name not in _FIELDS:
        raise ValueError(f"There is no field {name!r}; there are {', '.join(FIELDS)}.")
    field = _FIELDS[name]
    test = (
        _number_test(operator, value) if name in ("id", "pid", "thread", "holds", "since", "born", "died") else _text_test(operator, value)
    )
    return lambda g, world: test(field(g, world.greenlets.get(g.key), world))


def _number_test(operator: str, value: str) -> Callable[[Any], bool]:
    numbers = []
    for part in value.split(","):
        match = _NUMBER.fullmatch(part)
        if match is None or operator not in _COMPARE:
            raise ValueError(f"{part!r} is no number such as 5, 10k or 3ms.")
        unit = match[2] or ""
        numbers.append(float(match[1]) * {"k": 1e3, "M": 1e6, "": 1.0, **_UNITS}[unit])
    compare = _COMPARE[operator]
    if operator == "!=":
        return lambda found: all(compare(found, number) for number in numbers)
    return lambda found: any(compare(found, number) for number in numbers)


def _text_test(operator: str, value: str) -> Callable[[Any], bool]:
    wanted = [part.casefold() for part in value.split(",")]
    if operator == "~":
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no pattern: {error}.") from None
        return lambda found: pattern.search(found) is not None
    if operator in ("=", ":"):
        # `:` is content with a part, or with what * and ? stand for; `=` wants the whole.
        if operator == "=":
            return lambda found: found.casefold() in wanted
        return lambda found: any(_holds(found.casefold(), part) for part in wanted)
    if operator == "!=":
        return lambda found: found.casefold() not in wanted
    raise ValueError(f"{operator} compares numbers; texts are compared with : = != ~.")


def _holds(found: str, part: str) -> bool:
    return fnmatchcase(found, part) if "*" in part or "?" in part else part in found and bool(found)
