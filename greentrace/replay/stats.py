"""Stats: how much of what.

In:  a `History`.
Out: counts of events, total time in each state.
Never: anything about one moment.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from greentrace.events import NAMES, State
from greentrace.replay.history import History
from greentrace.replay.spans import time_in_states


def events_by_kind(history: History, process: int | None = None) -> dict[str, int]:
    """Return how many events there are of each kind, by name, the most frequent first. An unknown code reads `KIND 99`."""
    total = np.zeros(256, np.int64)
    for h in history.histories:
        if process is None or h.index == process:
            for segment in h.segments:
                total += h.counts(segment)
    counts = Counter({NAMES.get(code, f"KIND {code}"): int(count) for code, count in enumerate(total) if count})
    return dict(counts.most_common())


def time_by_state(history: History, process: int | None = None) -> dict[State, int]:
    """Return the ns that all greenlets together spent in each state, from the begin of the trace to its end."""
    keys = [g.key for g in history.greenlets if process is None or g.process == process]
    sums = time_in_states(history, keys, np.array([history.start_ns, history.end_ns]))
    totals = sums.sum(axis=(0, 1)) if len(keys) else np.zeros(8, np.uint64)
    return {state: int(totals[state]) for state in State}
