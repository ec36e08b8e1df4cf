"""Moment: when a deadlock closed, and which event closed it.

In:  a `History` and the deadlocks that stand at the last event of a process.
Out: the same, with the first moment from which on they were proven.
Never: a scan. Once closed, a set stays closed, so it is a binary search over positions, and nearly always the first look,
at the switch of the last member that parked, hits.
"""

from __future__ import annotations

from greentrace.replay import waits
from greentrace.replay.history import History
from greentrace.replay.model import Deadlock, Graph, Key, split_key

Known = dict[tuple[tuple[Key, ...], int], tuple[int, int | None]]


def standing(history: History, known: Known) -> list[Deadlock]:
    """Return the deadlocks that stand at the last event of each process, by the moment they closed; `known` is kept between calls."""
    found: list[Deadlock] = []
    for h in history.histories:
        if h.count:
            graph = waits.graph(history.last_world(h.index))
            found += timed(history, graph, h.count - 1, known)
    return sorted(found, key=lambda deadlock: (deadlock.closed_ns, deadlock.greenlets))


def timed(history: History, graph: Graph, position: int, known: Known) -> list[Deadlock]:
    """Return the deadlocks of a graph of one process, as it is at `position`, with the moment at which each closed."""
    timed = []
    for deadlock in graph.deadlocks:
        key = (tuple(sorted(deadlock.greenlets)), max(graph.world.greenlets[member].since_ns for member in deadlock.greenlets))
        if key not in known:
            known[key] = _closing(history, graph, deadlock, position)
        closed_ns, event = known[key]
        plain = Deadlock(deadlock.greenlets, deadlock.resources, deadlock.victims, closed_ns, event, "", "")
        timed.append(waits.describe(graph.world, plain))
    return timed


def _closing(history: History, graph: Graph, deadlock: Deadlock, position: int) -> tuple[int, int | None]:
    """Return (when, event number) of the event that closed a deadlock which stands at `position`."""
    process = split_key(deadlock.greenlets[0])[0]
    h = history.histories[process]
    members = [graph.world.greenlets[key] for key in deadlock.greenlets]
    segment, _ = h.at_position(position)
    parked_at = max(now.since_at if now.since_at is not None else -1 for now in members)
    low = max(parked_at, segment.key_until)

    def is_closed(at: int) -> bool:
        return waits.are_doomed(history.at_position(process, at), deadlock.greenlets)

    if is_closed(low):
        if low == parked_at:
            return h.record(low).t_ns, history.number(process, low)
        # It was so already when the keyframe told everything: which event closed it was not recorded.
        return max(now.since_ns for now in members), None
    high = position
    while high - low > 1:
        middle = (low + high) // 2
        if is_closed(middle):
            high = middle
        else:
            low = middle
    return h.record(high).t_ns, history.number(process, high)
