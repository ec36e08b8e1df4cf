"""Heap: one pass over all objects, for all runtimes at once.

In:  the types that any runtime wants to see. Out: `of(type)`: the objects of it. Objects that gc.freeze() has put away do not
show themselves; `frozen` says how many there are. Never: an unfreeze, which would undo what the program wanted.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import greenlet

from greentrace.record.discovery.facts import subclasses
from greentrace.record.recorder import Recorder


def lives(recorder: Recorder) -> int:
    """Return how many greenlets live."""
    return recorder.how_many(tuple(subclasses([greenlet.greenlet])))


class Heap:
    """The objects of some types."""

    def __init__(self, recorder: Recorder, wanted: Iterable[type]) -> None:
        self.frozen = gc.get_freeze_count()
        self._by_type: dict[type, list[Any]] = defaultdict(list)
        for obj in recorder.instances(tuple(subclasses(wanted))):
            self._by_type[type(obj)].append(obj)

    def of(self, *bases: type) -> list[Any]:
        """Return all objects of these types, and of types made from them."""
        return [obj for kind, objects in self._by_type.items() if issubclass(kind, bases) for obj in objects]
