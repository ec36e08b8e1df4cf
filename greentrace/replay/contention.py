"""Contention: how many waited for each resource, moment by moment.

In:  a `History`, moments, ns, ascending.
Out: `Queues`: for any resource how many greenlets waited for it at each of the moments, exact there.
Never: a word on what was between two moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from greentrace.replay.history import History
from greentrace.replay.index import Array
from greentrace.replay.model import Key
from greentrace.replay.source import Told, untold

WAITED = np.dtype([("key", "<u8"), ("moment", "<u4"), ("waiters", "<u4")])


class Queues(NamedTuple):
    """`rows`: `WAITED`, by key; where somebody waited at the moment of that index. `moments`: how many there are."""

    rows: Array
    moments: int

    def of(self, key: Key) -> Array:
        """Return how many waited for a resource at each moment."""
        low, high = np.searchsorted(self.rows["key"], np.uint64(key)), np.searchsorted(self.rows["key"], np.uint64(key), "right")
        found = np.zeros(self.moments, np.int64)
        found[self.rows["moment"][low:high]] = self.rows["waiters"][low:high]
        return found


def queues(history: History, moments: Sequence[int], told: Told = untold) -> Queues:
    """Count who waits for what at each moment; `told` hears how much is done, from 0 to 1."""
    parts = [np.empty(0, WAITED)]
    for index, t_ns in enumerate(moments):
        told(index / len(moments))
        for process, present in history.rows_at(t_ns).items():
            resources, waiters = present.queues
            rows = np.zeros(len(resources), WAITED)
            rows["key"] = np.uint64(process) << np.uint64(32) | resources
            rows["moment"], rows["waiters"] = index, waiters
            parts.append(rows)
    every = np.concatenate(parts)
    return Queues(every[np.argsort(every["key"], kind="stable")], len(moments))
