"""Filter: which greenlets are shown, in the words of a small language.

    state:parked since>1s          parked for more than a second
    func:handle_* | name:hub       one or the other
    waits:lock,queue !(pid=4242)   lists, negation, parentheses
    alice                          a bare word is looked for in names and functions

In:  a line. Out: a predicate over a `Muster`: for everybody of the roster, whether they are meant; columns, for there may be many.
Never: an exception but `ValueError`, whose text says what was not understood. A greenlet that is not there at the cursor has no state and
waits for nothing.

    either := all ("|" all)*      all := one+      one := "!" one | "(" either ")" | WORD
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

import numpy as np

from greentrace.events import ResourceKind, State
from greentrace.export.looks import WORDS, look_of
from greentrace.replay.index import Array
from greentrace.replay.lives import NEVER_BORN
from greentrace.replay.roster import ABSENT, Muster, Texts

Predicate = Callable[[Muster], Array]
_TERM = re.compile(r"([a-z]+)(!=|<=|>=|[:=<>~])(.*)", re.S)
_UNITS = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "min": 60e9, "h": 3600e9}
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(ns|us|µs|ms|s|min|h|k|M)?")
_KIND_WORDS = [WORDS[look_of(State.PARKED, kind)].word for kind in ResourceKind]


def _states(m: Muster) -> Texts:
    return Texts(np.where(m.there, m.states, len(State)), [*(state.name.lower() for state in State), ""])


def _waits(m: Muster) -> Texts:
    return Texts(np.where(m.kinds != ABSENT, m.kinds, len(_KIND_WORDS)), [*_KIND_WORDS, ""])


def _elapsed(m: Muster, t_ns: Array) -> Array:
    """Return how long after the beginning of the trace moments are."""
    return t_ns.astype(np.int64) - m.world.start_ns


_TEXTS: dict[str, Callable[[Muster], Texts]] = {
    "state": _states,
    "waits": _waits,
    "name": lambda m: m.roster.labels,
    "func": lambda m: m.roster.runs,
    "at": lambda m: m.places,
}
_NUMBERS: dict[str, Callable[[Muster], Array]] = {
    "id": lambda m: m.roster.lives["id"],
    "pid": lambda m: m.roster.pids,
    "thread": lambda m: m.roster.lives["thread"],
    "holds": lambda m: m.holds,
    "since": lambda m: np.where(m.there, m.world.t_ns - m.since_ns.astype(np.int64), -1),
    "born": lambda m: _elapsed(m, m.roster.born_ns),
    "died": lambda m: np.where(m.roster.lives["died_ns"] != NEVER_BORN, _elapsed(m, m.roster.lives["died_ns"]), -1),
}
FIELDS = (*_TEXTS, "on", *_NUMBERS)
_COMPARE: dict[str, Callable[[Array, float], Array]] = {
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
        return parts[0] if len(parts) == 1 else lambda m: np.logical_or.reduce([part(m) for part in parts])

    def _all(self) -> Predicate:
        parts = [self._one()]
        while self.words and self.words[0] not in ("|", ")"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda m: np.logical_and.reduce([part(m) for part in parts])

    def _one(self) -> Predicate:
        if not self.words:
            raise ValueError("Something is missing at the end.")
        word = self.words.pop(0)
        if word == "!":
            inner = self._one()
            return lambda m: ~inner(m)
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
        return lambda m: m.roster.named(word)
    name, operator, value = match.groups()
    if name in _NUMBERS:
        number, compare = _NUMBERS[name], _number_test(operator, value)
        return lambda m: compare(number(m))
    if name not in FIELDS:
        raise ValueError(f"There is no field {name!r}; there are {', '.join(FIELDS)}.")
    test = _text_test(operator, value)
    if name == "on":
        return lambda m: m.waiting_for(test)
    texts = _TEXTS[name]
    return lambda m: texts(m).where(test)


def _number_test(operator: str, value: str) -> Callable[[Array], Array]:
    numbers = []
    for part in value.split(","):
        match = _NUMBER.fullmatch(part)
        if match is None or operator not in _COMPARE:
            raise ValueError(f"{part!r} is no number such as 5, 10k or 3ms.")
        unit = match[2] or ""
        numbers.append(float(match[1]) * {"k": 1e3, "M": 1e6, "": 1.0, **_UNITS}[unit])
    compare = _COMPARE[operator]
    if operator == "!=":
        return lambda found: np.logical_and.reduce([compare(found, number) for number in numbers])
    return lambda found: np.logical_or.reduce([compare(found, number) for number in numbers])


def _text_test(operator: str, value: str) -> Callable[[str], bool]:
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
