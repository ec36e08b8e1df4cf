"""Roster: everybody that there ever was, as columns, and how they are at a moment.

    keys      3    7    8    12   ...     ascending: by process, then by id
    lives     row  row  row  row          of each, what is so for all its life (`LIVES`)
    labels    0    1    1    1            of each, which of the few texts is its own
    states    2    255  3    3            of each at a moment; ABSENT, who is not there

In:  a History; the world at a moment. Out: a `Roster`; a `Muster`, whose columns stand in the order of the roster.
Never: an object for each: a list of a hundred thousand is sorted, searched and filtered by its columns, and shows fifty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from greentrace.events import State
from greentrace.replay.history import History
from greentrace.replay.index import Array
from greentrace.replay.lives import LIVES, NEVER_BORN
from greentrace.replay.model import Key, World, key_of, label_of, shown, split_key
from greentrace.replay.present import Present
from greentrace.replay.process import ProcessHistory
from greentrace.replay.rows import place

ABSENT = 255
"""The state of who is not there."""
_32 = np.uint64(32)
USE = np.dtype([("key", "<u8"), ("waiters", "<i8"), ("holders", "<i8")])
"""A resource: how many greenlets wait for it, and how many holds of it there are."""


class Texts(NamedTuple):
    """A column of texts: `codes` says which of the `words` stands in each row."""

    codes: Array
    words: list[str]

    def where(self, test: Callable[[str], bool]) -> Array:
        """Return in which rows a text is one that passes a test."""
        return np.array([test(word) for word in self.words], bool)[self.codes] if len(self.words) else np.zeros(len(self.codes), bool)

    @property
    def ranks(self) -> Array:
        """Return numbers that sort the rows as their texts do."""
        order = sorted(range(len(self.words)), key=lambda at: self.words[at])
        ranks = np.empty(len(self.words), np.int64)
        ranks[order] = np.arange(len(self.words))
        return ranks[self.codes]


def texts_of(parts: Iterable[tuple[Array, Callable[[int], str]]]) -> Texts:
    """Return the texts of rows that are given part by part, as numbers that are equal where the texts are, and what makes a row's text."""
    codes: list[Array] = [np.empty(0, np.int64)]
    words: list[str] = []
    for numbers, make in parts:
        _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        codes.append(inverse + len(words))
        words += map(make, first.tolist())
    return Texts(np.concatenate(codes), words)


class Roster:
    """Everybody."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._lives = [(h, h.ages.rows()) for h in history.histories]
        self.lives = np.concatenate([np.empty(0, LIVES), *(rows for _, rows in self._lives)])
        self.process = np.repeat(np.arange(len(self._lives)), [len(rows) for _, rows in self._lives])
        self.keys = self.process.astype(np.uint64) << _32 | self.lives["id"]
        self._first = np.cumsum([0, *(len(rows) for _, rows in self._lives)])

    def __len__(self) -> int:
        return len(self.keys)

    def indices(self, keys: Collection[Key]) -> Array:
        """Return where some greenlets stand; those that are not here are left out."""
        at, is_there = place(self.keys, np.fromiter(keys, np.uint64, len(keys)))
        return at[is_there]

    def placed(self, process: int, ids: Array) -> tuple[Array, Array]:
        """Return (where each greenlet of a process stands, whether it does)."""
        at, is_there = place(self._lives[process][1]["id"], ids)
        return at + self._first[process], is_there

    def parts(self, column: Array) -> list[tuple[ProcessHistory, Array]]:
        """Return what of a column is each process's."""
        return [(h, column[self._first[h.index] : self._first[h.index + 1]]) for h, _ in self._lives]

    @cached_property
    def labels(self) -> Texts:
        """What each is called."""

        def numbers(rows: Array) -> Array:
            # Only who has no other name is called by its number.
            named = (rows["name"] != 0) | (rows["function"] != 0) | rows["is_hub"] | rows["is_main"]
            called, pair = np.where(named, 0, rows["id"]).astype(np.uint64), rows["name"].astype(np.uint64) << _32 | rows["function"]
            is_what = rows["is_hub"] + np.uint64(2) * rows["is_main"]
            return np.unique(pair, return_inverse=True)[1].astype(np.uint64) << np.uint64(34) | called << np.uint64(2) | is_what

        def text(h: ProcessHistory, rows: Array) -> Callable[[int], str]:
            string, columns = h.names.string, rows[["name", "function", "id", "is_hub", "is_main"]]

            def make(at: int) -> str:
                name, function, number, is_hub, is_main = columns[at].item()
                return label_of(string(name), string(function), number, is_hub, is_main)

            return make

        return texts_of((numbers(rows), text(h, rows)) for h, rows in self._lives)

    @cached_property
    def functions(self) -> Texts:
        """The function that each runs."""
        return texts_of((rows["function"], _strings(h, rows["function"])) for h, rows in self._lives)

    def named(self, text: str) -> Array:
        """Return who has a text in its name or in that of what it runs."""
        wanted = text.casefold()

        def is_in(found: str) -> bool:
            return wanted in found.casefold()

        return self.labels.where(is_in) | self.functions.where(is_in)

    @cached_property
    def runs(self) -> Texts:
        """The function that each runs; its own name, where nobody knows that. Each text is there once."""
        function, label = self.functions, self.labels
        codes = np.where(function.where(bool), function.codes, label.codes + len(function.words))
        words = [*function.words, *label.words]
        first: dict[str, int] = {}
        merged = np.array([first.setdefault(word, len(first)) for word in words], np.int64)
        return Texts(merged[codes] if len(merged) else codes, list(first))

    @cached_property
    def spawned_at(self) -> Texts:
        """Where each was made, "" where nobody knows."""

        def text(h: ProcessHistory, sites: Array) -> Callable[[int], str]:
            return lambda at: str(shown(h.names.stack(int(sites[at]))) or "")

        return texts_of((rows["spawn_site"], text(h, rows["spawn_site"])) for h, rows in self._lives)

    @cached_property
    def pids(self) -> Array:
        return np.array([h.feed.pid for h, _ in self._lives], np.int64)[self.process]

    @cached_property
    def born_ns(self) -> Array:
        """When each was made, or first seen, where nobody saw that."""
        return np.where(self.lives["born_ns"] == NEVER_BORN, self.lives["seen_ns"], self.lives["born_ns"])

    def alive(self, a_ns: int, b_ns: int) -> Array:
        """Return who lived in a part of [a, b], as far as is known."""
        died_ns = self.lives["died_ns"]
        return (self.born_ns <= np.uint64(max(b_ns, 0))) & ((died_ns == NEVER_BORN) | (died_ns >= np.uint64(max(a_ns, 0))))

    def made_by(self, maker: Key) -> Array:
        """Return the keys of those whom a greenlet made."""
        process, number = split_key(maker)
        return self.keys[(self.process == process) & (self.lives["spawner"] == number)]

    def family(self, members: Array) -> tuple[Array, Array]:
        """Return (some of the roster's indices, each behind who made it and those in the order of the roster; how deep each stands).

        Whose maker is not among them stands at the top.
        """
        makers = np.where(self.lives["spawner"] != 0, self.process.astype(np.uint64) << _32 | self.lives["spawner"], 0)[members]
        at, has_maker = place(self.keys[members], makers)
        parent = np.where(has_maker & (at != np.arange(len(members))), at, -1)
        depth, rounds = np.zeros(len(members), np.int64), parent
        # As many rounds as the tree is deep; who made each other in a circle, as nobody can, is cut off after them.
        while (rounds >= 0).any() and int(depth.max(initial=0)) < _DEEPEST:
            depth[rounds >= 0] += 1
            rounds = np.where(rounds >= 0, parent[rounds], -1)
        parent[rounds >= 0], depth[rounds >= 0] = -1, 0
        return _in_order(parent, depth), depth


_DEEPEST = 200


def _in_order(parent: Array, depth: Array) -> Array:
    """Return the order in which a tree is read: everybody before their children, and those before the next sibling."""
    size = np.ones(len(parent), np.int64)
    for level in range(int(depth.max(initial=0)), 0, -1):
        mine = depth == level
        np.add.at(size, parent[mine], size[mine])
    at = np.zeros(len(parent), np.int64)
    for level in range(int(depth.max(initial=0)) + 1):
        mine = np.flatnonzero(depth == level)
        mine = mine[np.argsort(parent[mine], kind="stable")]
        before = np.cumsum(size[mine]) - size[mine]
        _, first, family = np.unique(parent[mine], return_index=True, return_inverse=True)
        at[mine] = before - before[first][family] + np.where(parent[mine] >= 0, at[parent[mine]] + 1, 0)
    order = np.empty(len(parent), np.int64)
    order[at] = np.arange(len(parent))
    return order


def _strings(h: ProcessHistory, numbers: Array) -> Callable[[int], str]:
    return lambda at: h.names.string(int(numbers[at]))


class Muster:
    """How everybody is at a moment: columns in the order of the roster."""

    def __init__(self, roster: Roster, world: World) -> None:
        self.roster = roster
        self.world = world
        self.rows: dict[int, Present] = roster.history.rows_at(world.t_ns)
        count = len(roster)
        self.states = np.full(count, ABSENT, np.uint8)
        self.since_ns = np.zeros(count, np.uint64)
        self.sites = np.zeros(count, np.uint32)
        for process, rows in self.rows.items():
            at, is_there = roster.placed(process, rows.greenlets["id"])
            at, mine = at[is_there], rows.greenlets[is_there]
            self.states[at], self.since_ns[at], self.sites[at] = mine["state"], mine["since_ns"], mine["site"]

    @property
    def there(self) -> Array:
        """Who is there."""
        return self.states != ABSENT

    @cached_property
    def kinds(self) -> Array:
        """The `ResourceKind` of what each is parked on, the first if it is several; ABSENT for who is not parked or says nothing of it."""
        kinds = np.full(len(self.roster), ABSENT, np.uint8)
        for process, rows in self.rows.items():
            ids, first = np.unique(rows.waits["greenlet"], return_index=True)
            at, is_there = self.roster.placed(process, ids)
            kinds[at[is_there]] = rows.lives.kinds(rows.waits["resource"][first[is_there]])
        kinds[self.states != State.PARKED] = ABSENT
        return kinds

    @cached_property
    def holds(self) -> Array:
        """How many things each holds."""
        counts = np.zeros(len(self.roster), np.int64)
        for process, rows in self.rows.items():
            at, is_there = self.roster.placed(process, rows.held_by)
            np.add.at(counts, at[is_there], 1)
        return np.where(self.there, counts, 0)

    @cached_property
    def places(self) -> Texts:
        """Where each left last: `app.py:30`; "" where nobody knows, or who is not there."""

        def text(h: ProcessHistory, sites: Array) -> Callable[[int], str]:
            return lambda at: frame.place if (frame := shown(h.names.stack(int(sites[at])))) is not None else ""

        return texts_of((sites, text(h, sites)) for h, sites in self.roster.parts(self.sites))

    def waiting_for(self, test: Callable[[str], bool]) -> Array:
        """Return who is parked on something whose label passes a test."""
        found = np.zeros(len(self.roster), bool)
        for process, rows in self.rows.items():
            ids, inverse = np.unique(rows.waits["resource"], return_inverse=True)
            labels = (self.world.resources[key_of(process, number)].label for number in ids.tolist())
            passes = np.array([test(label) for label in labels], bool)
            at, is_there = self.roster.placed(process, rows.waits["greenlet"])
            found[at[is_there & passes[inverse]]] = True
        return found

    def resources(self, kinds: Array) -> Array:
        """Return the resources of some kinds, `USE`, what most wait for first, then what has most holders.

        `kinds`: whether a `ResourceKind` is one of them, by its number.
        """
        found = [np.empty(0, USE)]
        for process, rows in self.rows.items():
            ids = rows.resources[kinds[rows.lives.kinds(rows.resources)]]
            use = np.zeros(len(ids), USE)
            use["key"] = np.uint64(process) << _32 | ids
            held = np.unique(rows.held[0], return_counts=True)
            for name, (which, counts) in (("waiters", rows.queues), ("holders", held)):
                at, is_there = place(ids, which)
                use[name][at[is_there]] = counts[is_there]
            found.append(use)
        every = np.concatenate(found)
        return every[np.lexsort((every["key"], -every["holders"], -every["waiters"]))]
