"""Reading: what the tests of the recorder see of a ring, and the language in which they say what they expect.

In:  the path of a ring. Out: `Ring`, its records with their words; `expect(ring).greenlet("alice").parks_on("lock").then.runs()`.

An expectation follows one greenlet. Each word looks for the next event of its own sort (parks_on: the next PARK that a switch
confirmed, acquires: the next ACQUIRE, ...) after the last one that was found, and that event must be the one described: nothing of
the same sort may come between. A failure shows the greenlet's whole story.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from greentrace import events as e
from greentrace.events import RECORD, How, Kind, Mode, Op, ResourceKind, State, Waker
from greentrace.ring import CODE_LIBRARY, CODE_RUNTIME, Follower, NameKind, name_entries


class Record(NamedTuple):
    """One event and its position."""

    at: int
    t_ns: int
    kind: Kind
    flags: int
    thread: int
    greenlet: int
    other: int
    site: int
    arg: int

    @property
    def key(self) -> bool:
        return bool(self.flags & e.FLAG_KEY)

    @property
    def left(self) -> State:
        """SWITCH, THROW: what the origin turned into; STATE: what it is."""
        return State(self.flags & e.STATE_MASK)


class Frame(NamedTuple):
    file: str
    line: int
    function: str
    flags: int


class Ring:
    """Everything that a ring holds; `refresh` takes in what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.follower = Follower(path)
        self.records: list[Record] = []
        self.lost = 0
        self.strings: dict[int, str] = {0: ""}
        self.codes: dict[int, tuple[int, int, int, int]] = {}
        self.sites: dict[int, tuple[tuple[int, int], ...]] = {0: ()}
        self.meta = self.follower.meta()
        self.refresh()

    @property
    def per_generation(self) -> int:
        return self.follower.layout.generation_records

    def close(self) -> None:
        """Let go of the file; what was read stays."""
        self.follower.close()

    def refresh(self) -> list[Record]:
        """Return what is new."""
        before = len(self.records)
        while True:
            chunk = self.follower.read()
            self.lost += chunk.lost
            if not chunk.records:
                break
            for i, (t_ns, kind, *rest) in enumerate(RECORD.iter_unpack(chunk.records)):
                self.records.append(Record(chunk.first + i, t_ns, Kind(kind), *rest))
        for kind, flags, number, payload in name_entries(self.follower.read_names()):
            if kind == NameKind.STRING:
                self.strings[number] = payload.decode()
            elif kind == NameKind.CODE:
                self.codes[number] = (*struct.unpack("<III", payload), flags)
            elif kind == NameKind.SITE:
                self.sites[number] = tuple(struct.iter_unpack("<II", payload))
        return self.records[before:]

    # ---- names

    def stack(self, site: int) -> list[Frame]:
        frames = []
        for code, line in self.sites[site]:
            file, function, _, flags = self.codes[code]
            frames.append(Frame(self.strings[file], line, self.strings[function], flags))
        return frames

    def functions(self, site: int) -> list[str]:
        """Return the user's own functions of a site, innermost first."""
        return [frame.function for frame in self.stack(site) if not frame.flags & (CODE_RUNTIME | CODE_LIBRARY)]

    def names(self) -> dict[int, str]:
        """Return the name of each greenlet that has one."""
        return {r.greenlet: self.strings[r.arg] for r in self.records if r.kind == Kind.NAME}

    def number(self, name: str) -> int:
        """Return the number of the one greenlet of that name (the end of its qualified name counts)."""
        found = self.numbers(name)
        assert len(found) == 1, f"{len(found)} greenlets are named {name}: {sorted(set(self.names().values()))}"
        return found[0]

    def numbers(self, name: str) -> list[int]:
        return [number for number, text in self.names().items() if text.rpartition(".")[2] == name]

    def resources(self) -> dict[int, Record]:
        """Return what was told last of each resource."""
        return {r.other: r for r in self.records if r.kind == Kind.RESOURCE}

    def what(self, resource: int) -> str:
        """Return a resource's kind in lower case."""
        if resource < e.FIRST_RESOURCE:
            return {e.RESOURCE_UNKNOWN: "unknown", e.RESOURCE_SWITCH: "switch", e.RESOURCE_SLEEP: "sleep"}[resource]
        return ResourceKind(self.resources()[resource].flags & 0x1F).name.lower()

    # ---- looking

    def of(self, *kinds: Kind, **fields: int) -> list[Record]:
        """Return the records of these kinds whose fields are so, without what keyframes repeat."""
        return [
            r for r in self.records if r.kind in kinds and not r.key and all(getattr(r, name) == value for name, value in fields.items())
        ]

    def say(self, r: Record) -> str:
        """Return a record in words."""
        names = self.names()

        def who(number: int) -> str:
            return f"{number}:{names[number]}" if number in names else str(number)

        words = [f"#{r.at}", f"t{r.thread}", r.kind.name, who(r.greenlet)]
        if r.kind in (Kind.SWITCH, Kind.THROW):
            words += ["from", who(r.other), r.left.name, f"on {r.arg}" if r.arg else ""]
        elif r.kind == Kind.PARK:
            words += [Op(r.flags & 0x3F).name, f"{r.other}:{self.what(r.other)}", f"until {r.arg}" if r.arg else ""]
        elif r.kind == Kind.WAKE:
            words += ["by", Waker(r.flags & 7).name, who(r.other) if r.flags & 7 == Waker.GREENLET else str(r.other), f"through {r.arg}"]
        elif r.kind in (Kind.NAME, Kind.HUB, Kind.PATCH, Kind.MARK, Kind.CALLBACK, Kind.ERROR, Kind.DISPLACED):
            words += [self.strings[r.arg]]
        else:
            words += [f"flags {r.flags:#x} other {r.other} arg {r.arg}"]
        return " ".join(word for word in words if word)

    def story(self, greenlet: int = 0) -> str:
        """Return all records, or those that concern one greenlet, in words."""
        told = [
            r for r in self.records if not r.key and (not greenlet or greenlet == r.greenlet or (self._switch(r) and greenlet == r.other))
        ]
        return "\n".join(self.say(r) for r in told)

    @staticmethod
    def _switch(r: Record) -> bool:
        return r.kind in (Kind.SWITCH, Kind.THROW)


def expect(ring: Ring) -> Expect:
    """Begin an expectation."""
    return Expect(ring)


@dataclass
class Expect:
    """Whose story is it?"""

    ring: Ring

    def greenlet(self, name: str | int) -> Life:
        return Life(self.ring, self.ring.number(name) if isinstance(name, str) else name)


@dataclass
class Life:
    """What one greenlet is expected to live through, in order."""

    ring: Ring
    number: int
    at: int = -1
    found: Record | None = None
    _heard: list[str] = field(default_factory=list)

    @property
    def then(self) -> Life:
        return self

    def _fail(self, text: str) -> AssertionError:
        heard = " ".join(self._heard)
        return AssertionError(f"{text}\nuntil #{self.at}: {heard or 'nothing'}\nits story:\n{self.ring.story(self.number)}")

    def _next(self, word: str, *kinds: Kind, when: Callable[[Record], bool] = lambda r: True, other: bool = False) -> Record:
        for r in self.ring.records:
            if r.at > self.at and r.kind in kinds and not r.key and (r.other if other else r.greenlet) == self.number and when(r):
                self.at, self.found = r.at, r
                self._heard.append(word)
                return r
        raise self._fail(f"{self.ring.names().get(self.number, self.number)} never {word}")

    def _must(self, so: bool, text: str) -> Life:
        if not so:
            assert self.found is not None
            raise self._fail(f"{text}, but: {self.ring.say(self.found)}")
        return self

    # ---- life

    def is_spawned(self, by: str | None = None, where: str | None = None) -> Life:
        r = self._next("is spawned", Kind.SPAWN)
        if where is not None:
            self._must(self.ring.functions(r.site)[:1] == [where], f"is spawned in {where}, and not in {self.ring.functions(r.site)}")
        return self._must(by is None or r.other in self.ring.numbers(by), f"is spawned by {by}")

    def starts(self) -> Life:
        self._next("starts", Kind.START)
        return self

    def runs(self, after: str | None = None) -> Life:
        r = self._next("runs", Kind.SWITCH, Kind.THROW)
        return self._must(r.kind == Kind.SWITCH and (after is None or r.other in self.ring.numbers(after)), f"runs after {after}")

    def is_thrown_into(self, by: str | None = None) -> Life:
        r = self._next("is thrown into", Kind.SWITCH, Kind.THROW)
        return self._must(r.kind == Kind.THROW and (by is None or r.other in self.ring.numbers(by)), f"is thrown into by {by}")

    def gives_way(self) -> Life:
        r = self._next("gives way", Kind.SWITCH, Kind.THROW, other=True)
        return self._must(r.left == State.RUNNABLE, "gives way")

    def finishes(self, how: How = How.RETURNED) -> Life:
        r = self._next("finishes", Kind.FINISH)
        self._must(How(r.flags & 3) == how, f"finishes {how.name}")
        r = self._next("leaves", Kind.SWITCH, Kind.THROW, other=True)
        return self._must(r.left == State.FINISHED, "leaves FINISHED")

    def is_collected(self) -> Life:
        self._next("is collected", Kind.COLLECT)
        return self

    # ---- waits

    def parks_on(
        self, *what: str, op: Op | None = None, deadline: bool | None = None, resource: int | None = None, where: str | None = None
    ) -> Life:
        """Park on one resource of that kind, or on several alternatives of these kinds; the switch says so too."""
        parks: list[Record] = []
        for r in self.ring.records:
            if r.at <= self.at or r.key:
                continue
            if r.kind == Kind.PARK and r.greenlet == self.number:
                parks.append(r)
            elif r.kind in (Kind.SWITCH, Kind.THROW) and self.number in (r.greenlet, r.other):
                if r.other == self.number and r.left == State.PARKED:
                    break
                parks = []
        else:
            raise self._fail(f"never parks on {what}")
        self.at, self.found = r.at, r
        self._heard.append("parks")
        kinds = tuple(sorted(self.ring.what(park.other) for park in parks))
        self._must(kinds == tuple(sorted(what)), f"parks on {what}, and not on {kinds}")
        self._must(r.arg == parks[0].other, "the switch names the resource")
        self._must(op is None or all(park.flags & 0x3F == op for park in parks), f"wants to {op!r}: {[park.flags for park in parks]}")
        self._must(resource is None or parks[0].other == resource, f"parks on {resource}")
        if deadline is not None:
            self._must(all(bool(park.arg) == deadline for park in parks), f"has {'a' if deadline else 'no'} deadline")
        if where is not None:
            functions = self.ring.functions(r.site)
            self._must(functions[:1] == [where], f"waits in {where}, and not in {functions}")
        return self

    @property
    def resource(self) -> int:
        """The resource of the event that was found last."""
        assert self.found is not None
        return self.found.arg if self.found.kind in (Kind.SWITCH, Kind.THROW) else self.found.other

    def is_woken_by(self, who: str) -> Life:
        """`who`: a greenlet's name, or timer, fd, thread, callback."""
        r = self._next("is woken", Kind.WAKE)
        waker = Waker(r.flags & 7)
        if who in ("timer", "fd", "thread", "callback"):
            return self._must(waker.name.lower() == who, f"is woken by a {who}")
        return self._must(waker == Waker.GREENLET and r.other in self.ring.numbers(who), f"is woken by {who}")

    # ---- what it does to things

    def _touches(self, word: str, kind: Kind, what: str) -> Record:
        r = self._next(word, kind)
        self._must(self.ring.what(r.other) == what, f"{word} a {what}")
        return r

    def acquires(self, what: str) -> Life:
        self._touches("acquires", Kind.ACQUIRE, what)
        return self

    def releases(self, what: str, *, foreign: bool = False, loser: str | None = None) -> Life:
        r = self._touches("releases", Kind.RELEASE, what)
        self._must(bool(r.flags & e.RELEASE_FOREIGN) == foreign, f"its release is {'' if foreign else 'not '}foreign")
        if loser is not None:
            self._must(r.arg in (self.ring.numbers(loser) if loser else [0]), f"{loser} loses its hold")
        elif not foreign:
            self._must(r.arg == self.number, "it loses its own hold")
        return self

    def puts(self, what: str = "queue") -> Life:
        self._touches("puts", Kind.PUT, what)
        return self

    def gets(self, what: str = "queue") -> Life:
        self._touches("gets", Kind.GET, what)
        return self

    def sets(self, what: str = "event") -> Life:
        self._touches("sets", Kind.SET, what)
        return self

    # ---- timers and listeners

    def arms(self, throws: bool = False) -> Life:
        r = self._next("arms a timer", Kind.TIMER_ADD)
        return self._must(bool(r.flags & e.TIMER_THROWS) == throws, f"its timer {'throws' if throws else 'switches'}")

    def its_timer_fires(self) -> Life:
        r = self._next("has its timer end", Kind.TIMER_FIRE, Kind.TIMER_CANCEL)
        return self._must(r.kind == Kind.TIMER_FIRE, "its timer fires")

    def its_timer_is_cancelled(self) -> Life:
        r = self._next("has its timer end", Kind.TIMER_FIRE, Kind.TIMER_CANCEL)
        return self._must(r.kind == Kind.TIMER_CANCEL, "its timer is cancelled")

    def listens(self, mode: Mode) -> Life:
        r = self._next("listens", Kind.FD_ADD)
        return self._must(r.flags & 3 == mode, f"listens for {mode.name}")

    def hears(self, mode: Mode) -> Life:
        r = self._next("hears", Kind.FD_READY)
        return self._must(r.flags & 3 == mode, f"hears {mode.name}")

    def stops_listening(self) -> Life:
        self._next("stops listening", Kind.FD_REMOVE)
        return self


def holders(ring: Ring) -> Iterator[tuple[Record, dict[int, list[int]]]]:
    """Yield each ACQUIRE and RELEASE with who holds what after it."""
    held: dict[int, list[int]] = {}
    for r in ring.of(Kind.ACQUIRE, Kind.RELEASE):
        now = held.setdefault(r.other, [])
        if r.kind == Kind.ACQUIRE:
            now.append(r.greenlet)
        elif r.arg in now:
            now.remove(r.arg)
        yield r, held


def rings(directory: Path) -> list[Any]:
    """Return the rings of a directory, the oldest process first."""
    found = [Ring(path) for path in directory.glob("*.ring")]
    return sorted(found, key=lambda ring: ring.meta["mono_ns"])
