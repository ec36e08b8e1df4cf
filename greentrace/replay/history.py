"""History: all processes of a trace on one line of time.

In:  a `Source`.
Out: the world at any moment, events in merged order, who and what there ever was.
Never: a verdict; those are made of worlds, in `waits` and `lints`.

The number of an event is its rank by (time, process, position). It is found by counting, not by sorting the whole trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from greentrace.replay import filing, shelf
from greentrace.replay.index import Array
from greentrace.replay.indexing import WORTH
from greentrace.replay.lives import Life, life_of
from greentrace.replay.model import GreenletEver, Key, Process, Stack, World, split_key
from greentrace.replay.present import Present
from greentrace.replay.process import Gap, ProcessHistory, Record
from greentrace.replay.shelf import Shelf, Volume
from greentrace.replay.source import EVENT_DTYPE, Source, TraceSource
from greentrace.replay.state import Part, ever, part_at, world_of

MERGED_DTYPE = np.dtype([*((name, EVENT_DTYPE[name]) for name in EVENT_DTYPE.names or ()), ("process", "<u2")])
"""A record and the index of its process."""
_CACHED = 8
_EXACT = 4
"""In so few segments events are counted."""
MAY_MISS = 1 << 22
"""So many events that are not in an index are rather read than the index made anew."""


class History:
    """A trace without opinions."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.live = source.live
        self.shelf: Shelf | None = None
        self.histories: list[ProcessHistory] = []
        self.version = 0
        """Grows whenever something new was read."""
        self._parts: dict[tuple[int, int], tuple[int, Part]] = {}
        self._ever: tuple[int, list[GreenletEver]] = (-1, [])
        self._begin()

    def _begin(self) -> None:
        """Take in what there is."""
        if isinstance(self.source, TraceSource) and self.source.event_count >= WORTH:
            self._use_index(self.source)
        elif self.live:
            # One may look on for days: what is indexed leaves the memory.
            with suppress(OSError):
                self.shelf = shelf.make_nameless()
        self._refresh()
        if self.source.ended:
            for history in self.histories:
                history.finish()
        if self.shelf is not None:
            self.shelf.finish()

    def is_sure(self) -> bool:
        """Look whether the index is as it was written; what is large of it is believed until then. In any thread, while windows ask."""
        return self.shelf is None or self.shelf.is_sure()

    def begin_again(self) -> None:
        """Throw the index away and make a new one."""
        assert self.shelf is not None
        if self.shelf.path is not None:
            self.shelf.path.unlink(missing_ok=True)
        self.shelf.close()
        self.shelf = None
        for feed in self.source.feeds:
            feed.rewind()
        self.histories = []
        self._parts.clear()
        self._begin()
        self.version += 1

    def _use_index(self, source: TraceSource) -> None:
        """Begin with the index of a trace, as far as it goes; where there is none, or too little, make one."""
        assert source.saved is not None
        found = shelf.find(source.saved, filing.LARGE)
        if found is not None:
            fitting = [filing.fitting([one for one in found.volumes if one.process == feed.number], feed) for feed in source.feeds]
            missing = source.event_count - sum(count for _, count in fitting)
            if missing <= MAY_MISS and source.is_whole():
                self.shelf = found
                for volumes, _ in fitting:
                    self._meet(volumes)
                return
            found.close()
        # Without an index everything is kept in memory.
        with suppress(OSError):
            self.shelf = shelf.make(source.saved)

    def _meet(self, volumes: Sequence[Volume] = ()) -> None:
        """Take in the next process, with what the index knows of it."""
        index = len(self.histories)
        history = ProcessHistory(index, self.source.feeds[index], self.live, self.shelf)
        if volumes:
            try:
                history.restore(volumes)
            except (ValueError, KeyError, TypeError, OverflowError):
                # Whoever made this file had something else in mind.
                history = ProcessHistory(index, self.source.feeds[index], self.live)
        self.histories.append(history)

    def refresh(self) -> bool:
        """Read what is new; return whether there was anything."""
        self.source.refresh()
        return self._refresh()

    def _refresh(self) -> bool:
        while len(self.histories) < len(self.source.feeds):
            self._meet()
        # Every process is asked, in any case.
        new = any([history.refresh() for history in self.histories])
        self.version += new
        return new

    def close(self) -> None:
        """Let go of the files; what was read stays readable."""
        self.source.close()
        if self.shelf is not None:
            self.shelf.close()

    # ---- what there is

    @property
    def processes(self) -> list[Process]:
        return [Process(h.index, h.feed.pid, h.feed.meta, h.feed.exit, h.start_ns, h.last_ns, h.count) for h in self.histories]

    @property
    def start_ns(self) -> int:
        return min((h.start_ns for h in self.histories if h.count), default=0)

    @property
    def end_ns(self) -> int:
        return max((h.last_ns for h in self.histories if h.count), default=0)

    @property
    def event_count(self) -> int:
        return sum(h.count for h in self.histories)

    @property
    def gaps(self) -> list[Gap]:
        """All gaps, in order of time."""
        return sorted((gap for h in self.histories for gap in h.gaps), key=lambda gap: gap.t_ns)

    @property
    def lost(self) -> int:
        """How many events were lost in gaps."""
        return sum(gap.lost for h in self.histories for gap in h.gaps)

    @property
    def index_bytes(self) -> int | None:
        """How large the index is that is kept of the trace, None if none is."""
        return self.shelf.kept_bytes if self.shelf is not None else None

    @property
    def damage(self) -> list[str]:
        """What is wrong with the file, a sentence each."""
        lines = list(self.source.damage)
        for h in self.histories:
            if h.disorder:
                lines.append(f"Process {h.feed.pid}: {h.disorder} stretches of events are not in order of time.")
            if h.contradictions:
                lines.append(f"Process {h.feed.pid}: {h.contradictions} events cannot follow what was recorded before them.")
        return lines

    @property
    def greenlets(self) -> list[GreenletEver]:
        """Every greenlet that the trace knows of, by process and number."""
        if self._ever[0] != self.version:
            made = [ever(h, life_of(row)) for h in self.histories for row in h.ages.rows().tolist()]
            self._ever = (self.version, made)
        return self._ever[1]

    @property
    def greenlet_count(self) -> int:
        """How many greenlets the trace knows of."""
        return sum(len(h.ages) for h in self.histories)

    def greenlet(self, key: Key) -> GreenletEver:
        """Return one greenlet; one of which nothing is known has a number and no more."""
        process, number = split_key(key)
        history = self.histories[process]
        return ever(history, history.ages.greenlet(number) or Life(number, history.start_ns))

    def stack(self, process: int, site: int) -> Stack:
        """Return the frames of a site, innermost first."""
        return self.histories[process].names.stack(site)

    def string(self, process: int, number: int) -> str:
        """Return a string of a process."""
        return self.histories[process].names.string(number)

    # ---- numbers of events

    def number(self, process: int, position: int) -> int:
        """Return the number of the event that stands at a position of a process."""
        if len(self.histories) == 1:
            return position
        t_ns = self.histories[process].record(position).t_ns
        return position + sum(h.count_until(t_ns, "right" if h.index < process else "left") for h in self.histories if h.index != process)

    def find(self, number: int) -> tuple[int, int]:
        """Return (process, position) of an event.

        Raises `IndexError` when there is no such event.
        """
        if not 0 <= number < self.event_count:
            raise IndexError(number)
        boundaries = self._boundaries(number)
        after = self._boundaries(number + 1)
        process = next(i for i in range(len(boundaries)) if boundaries[i] != after[i])
        return process, boundaries[process]

    def _boundaries(self, number: int) -> list[int]:
        """Return how many records of each process are among the first `number` events."""
        if len(self.histories) == 1:
            return [number]
        if number >= self.event_count:
            return [h.count for h in self.histories]
        # The first moment up to which there are more than `number` events.
        low, high = self.start_ns, self.end_ns
        while low < high:
            middle = (low + high) // 2
            if sum(h.count_until(middle, "right") for h in self.histories) > number:
                high = middle
            else:
                low = middle + 1
        counts = [h.count_until(low, "left") for h in self.histories]
        missing = number - sum(counts)
        for h in self.histories:
            take = min(missing, h.count_until(low, "right") - counts[h.index])
            counts[h.index] += take
            missing -= take
        return counts

    def number_at(self, t_ns: int) -> int:
        """Return how many events there are up to a moment, those of the moment itself included."""
        return sum(h.count_until(t_ns, "right") for h in self.histories)

    def activity(self, edges: Array) -> Array:
        """Return about how many events came before each moment: exact at the ends of segments, as if evenly spread within long ones."""
        counts = np.zeros(len(edges))
        for h in self.histories:
            segments = h.segments
            if len(segments) <= _EXACT:
                counts += [h.count_until(t_ns, "left") for t_ns in edges.tolist()]
            else:
                t_ns = np.array([[segment.first_ns, max(segment.last_ns, segment.first_ns + 1)] for segment in segments], np.float64)
                first = np.array([[segment.first, segment.first + segment.count] for segment in segments], np.float64)
                counts += np.interp(edges.astype(np.float64), t_ns.ravel(), first.ravel())
        return counts

    def event(self, number: int) -> tuple[int, Record]:
        """Return (process, record) of an event. Raises `IndexError` when there is none."""
        process, position = self.find(number)
        return process, self.histories[process].record(position)

    def events(self, start: int = 0, stop: int | None = None) -> Array:
        """Return the events [start, stop) as an array of `MERGED_DTYPE`."""
        total = self.event_count
        stop = total if stop is None else max(0, min(stop, total))
        start = max(0, min(start, stop))
        if start == stop:
            return np.empty(0, MERGED_DTYPE)
        parts: list[Array] = []
        for h, low, high in zip(self.histories, self._boundaries(start), self._boundaries(stop), strict=True):
            columns = h.columns(low, high)
            part = np.empty(len(columns), MERGED_DTYPE)
            for name, column in zip(columns._fields, columns, strict=True):
                part[name] = column
            part["process"] = h.index
            parts.append(part)
        merged = np.concatenate(parts)
        if len(parts) > 1:
            # Stable, and the parts come by process: equal times stay in the order of (process, position).
            merged = merged[np.argsort(np.ascontiguousarray(merged["t_ns"]), kind="stable")]
        return merged

    # ---- worlds

    def at(self, t_ns: int) -> World:
        """Return everything as it was just after the events of a moment."""
        return world_of(t_ns, self._parts_at(t_ns), self.start_ns, self._ended(t_ns))

    def rows_at(self, t_ns: int) -> dict[int, Present]:
        """Return the same as rows, by process; a process that has not begun has none."""
        return {index: part.rows for index, part in self._parts_at(t_ns).items()}

    def _parts_at(self, t_ns: int) -> dict[int, Part]:
        parts = {}
        for h in self.histories:
            found = h.at_time(t_ns)
            if found is not None:
                segment, p = found
                parts[h.index] = self._part(h, segment.first + p) if p >= 0 else part_at(h, segment, p)
        return parts

    def states_at(self, t_ns: int) -> dict[int, tuple[Array, Array]]:
        """Return, of each process, (ids of its greenlets, ascending; their `State`s, u8) just after the events of a moment."""
        return {h.index: h.states_at(t_ns) for h in self.histories}

    def at_position(self, process: int, position: int) -> World:
        """Return one process just after one of its records."""
        h = self.histories[process]
        t_ns = h.record(position).t_ns
        return world_of(t_ns, {process: self._part(h, position)}, self.start_ns)

    def last_world(self, process: int) -> World:
        """Return one process as its last event left it."""
        return self.at_position(process, self.histories[process].count - 1)

    def last_rows(self, process: int) -> Present:
        """Return one process as its last event left it, as rows."""
        h = self.histories[process]
        return self._part(h, h.count - 1).rows

    def _part(self, h: ProcessHistory, position: int) -> Part:
        made = self._parts.get((h.index, position))
        # Names may come later than what they name.
        if made is not None and made[0] == h.names.version:
            return made[1]
        part = part_at(h, *h.at_position(position))
        while len(self._parts) >= _CACHED * max(1, len(self.histories)):
            del self._parts[next(iter(self._parts))]
        self._parts[h.index, position] = (h.names.version, part)
        return part

    def _ended(self, t_ns: int) -> frozenset[int]:
        return frozenset(h.index for h in self.histories if h.feed.exit is not None and h.count and h.last_ns <= t_ns)


def meta_of(history: History, process: int) -> dict[str, Any]:
    """Return what a process said of itself."""
    return history.histories[process].feed.meta
