"""Lazy: things by key, and things in a row, each made when somebody asks for it.

    ids, ascending    3   7   8   12 ...        a moment may have a hundred thousand greenlets, and a verdict looks at a few of them

In:  the ids of one process; who makes the things of some of them, or all.
Out: a mapping of keys, a sequence.
Never: a thing that is made twice and is not the same.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from typing import Any, TypeVar, overload

import numpy as np

from greentrace.replay.index import Array
from greentrace.replay.model import Key, key_of, split_key

T = TypeVar("T")
Make = Callable[[Array], Iterator[T]]
"""Takes indices into the ids; yields the thing of each."""


class Lazy(Mapping[Key, T]):
    """The things of one process, in the order of their ids."""

    def __init__(self, process: int, ids: Array, make: Make[T]) -> None:
        self._process, self._ids, self._make = process, ids, make
        self._made: dict[Key, T] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Key]:
        return (key_of(self._process, number) for number in self._ids.tolist())

    def _index(self, key: object) -> int:
        """Return where a key stands, -1 if it is not here."""
        if not isinstance(key, int) or key < 0:
            return -1
        process, number = split_key(key)
        at = int(np.searchsorted(self._ids, np.uint32(number))) if process == self._process else len(self._ids)
        return at if at < len(self._ids) and int(self._ids[at]) == number else -1

    def __contains__(self, key: object) -> bool:
        return key in self._made or self._index(key) >= 0

    def __getitem__(self, key: Key) -> T:
        made = self._made.get(key)
        if made is None:
            at = self._index(key)
            if at < 0:
                raise KeyError(key)
            made = self._made[key] = next(self._make(np.array([at])))
        return made

    def _all(self) -> dict[Key, T]:
        if len(self._made) < len(self._ids):
            keys = list(self)
            missing = np.array([at for at, key in enumerate(keys) if key not in self._made])
            made = self._made | {keys[at]: thing for at, thing in zip(missing.tolist(), self._make(missing), strict=True)}
            self._made = {key: made[key] for key in keys}
        return self._made

    def values(self) -> ValuesView[T]:
        return self._all().values()

    def items(self) -> ItemsView[Key, T]:
        return self._all().items()


class Joined(Mapping[Key, T]):
    """The things of several processes."""

    def __init__(self, parts: Mapping[int, Lazy[T]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))

    def __iter__(self) -> Iterator[Key]:
        for part in self._parts.values():
            yield from part

    def _part(self, key: Key) -> Lazy[T]:
        part = self._parts.get(split_key(key)[0])
        if part is None:
            raise KeyError(key)
        return part

    def __contains__(self, key: object) -> bool:
        return any(key in part for part in self._parts.values())

    def __getitem__(self, key: Key) -> T:
        return self._part(key)[key]

    def values(self) -> ValuesView[T]:
        return {key: thing for part in self._parts.values() for key, thing in part.items()}.values()

    def items(self) -> ItemsView[Key, T]:
        return {key: thing for part in self._parts.values() for key, thing in part.items()}.items()


class LazyRow(Sequence[T]):
    """Things in a row, made all at once when somebody looks at one."""

    def __init__(self, count: int, make: Callable[[], list[T]]) -> None:
        self._count, self._make = count, make
        self._made: list[T] | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return iter(self[:])

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if self._made is None:
            self._made = self._make()
        return self._made[index]

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class LazyEach(Sequence[T]):
    """Things in a row, each made when somebody looks at it: there may be as many as there are locks."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make
        self._made: dict[int, T] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        at = range(self._count)[index]
        if at not in self._made:
            self._made[at] = self._make(at)
        return self._made[at]


class Listing(LazyEach[T]):
    """The things of some keys, in the order of the keys."""

    def __init__(self, keys: Array, make: Callable[[Key], T]) -> None:
        super().__init__(len(keys), lambda at: make(int(keys[at])))
        self.keys = keys

    def index_of(self, key: Key | None) -> int:
        """Return where a key stands, -1 if it does not."""
        if key is None:
            return -1
        at = np.flatnonzero(self.keys == np.uint64(key))
        return int(at[0]) if len(at) else -1
