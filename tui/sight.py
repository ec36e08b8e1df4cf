"""Sight: what is known at the cursor, and of the whole trace: the graph, the verdict, where the time went.

In:  a replay.Trace and a `Selection`. Out: each made once for a place; what takes long is left to the errands, and is None until then.
Never: Textual. A live trace is judged anew at most as often as it takes a tenth of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from greentrace.export.cells import edges
from greentrace.replay.contention import Queues, queues
from greentrace.replay.measures import By, Measures, measures
from greentrace.replay.model import Deadlock, Finding, Graph, GreenletNow, World
from greentrace.replay.reader import Trace
from greentrace.replay.source import Told, untold

from .errands import Errands
from .state import Place, Selection

T = TypeVar("T")
QUICK_SECONDS, FEW = 0.004, 1000
"""A graph that takes longer, of more greenlets than that, is made when the cursor rests."""
LONG_EVENTS = 1 << 20
"""What looks at more events than this is done while the windows go on."""
FEW_EVENTS = 1 << 14
"""The same for what looks at whole moments of them, or at more than `FEW` greenlets at each."""
MOMENTS = 48
"""At so many moments of the window the queue of a resource is counted."""
COUNTED_BY: tuple[By, ...] = ("function", "resource", "site")
"""By what the statistics are counted."""


class Sight:
    """A trace, a cursor, and what follows from the two."""

    def __init__(self, trace: Trace, live: bool = False, moved: Callable[[], None] = lambda: None) -> None:
        """`moved` is called, in a thread, when work that takes long has got on."""
        self.trace = trace
        self.live = live
        self.errands = Errands(trace.path, moved)
        self.selection = Selection(trace.start_ns, trace.end_ns, following=live)
        self.counted_by: By = COUNTED_BY[0]
        self._made: dict[str, tuple[Hashable, Any]] = {}
        self._judged: tuple[float, float] = (0.0, 0.0)
        self._verdict: tuple[list[Deadlock], list[Finding]] = ([], [])
        self._judged_version = -1
        self._paces: dict[str, tuple[Hashable, float, float]] = {}
        self._graph_seconds: float | None = None
        """How long graphs took, the last ones above all; None before the first."""

    def _takes_long(self, events: int) -> bool:
        return not self.live and events > LONG_EVENTS

    @property
    def place(self) -> Place:
        return self.selection.place

    def _memo(self, name: str, key: Hashable, make: Callable[[], T]) -> T:
        known = self._made.get(name)
        if known is None or known[0] != key:
            known = self._made[name] = (key, make())
        return known[1]  # type: ignore[no-any-return]

    def _paced(self, name: str, key: Hashable, sort: Hashable, make: Callable[[], T]) -> T:
        """Return what `_memo` does; of a live trace something older of the same sort, so that it takes no more than a tenth of the time."""
        known = self._made.get(name)
        of, ended, cost = self._paces.get(name, (None, 0.0, 0.0))
        if known is not None and self.live and of == sort and time.monotonic() - ended < max(0.25, 10 * cost):
            return known[1]  # type: ignore[no-any-return]
        begun = time.monotonic()
        made = self._memo(name, key, make)
        self._paces[name] = (sort, time.monotonic(), time.monotonic() - begun)
        return made

    # ---- at the cursor

    @property
    def world(self) -> World:
        return self.graph.world

    @property
    def graph(self) -> Graph:
        t_ns = self.place.t_ns

        def make() -> Graph:
            begun = time.monotonic()
            made = self.trace.graph(t_ns)
            self._graph_seconds = max(time.monotonic() - begun, 0.8 * (self._graph_seconds or 0.0))
            return made

        return self._memo("graph", (self.trace.version, t_ns), make)

    @property
    def is_settled(self) -> bool:
        """Whether the graph at the cursor is known, or soon made: what takes long has to wait until the cursor rests."""
        known = self._made.get("graph")
        is_known = known is not None and known[0] == (self.trace.version, self.place.t_ns)
        is_quick = self._graph_seconds is not None and self._graph_seconds < QUICK_SECONDS
        return is_known or is_quick or self.greenlet_count < FEW

    @property
    def greenlet_count(self) -> int:
        """How many greenlets there ever were."""
        return self._memo("count", self.trace.version, lambda: self.trace.greenlet_count)

    @property
    def now(self) -> GreenletNow | None:
        """The current greenlet at the cursor, None when it is not there."""
        key = self.place.greenlet
        return self.world.greenlets.get(key) if key is not None else None

    # ---- of the whole trace

    def _judge(self) -> tuple[list[Deadlock], list[Finding]]:
        if self._judged_version == self.trace.version:
            return self._verdict
        if self._takes_long(self.trace.event_count):
            found = self.errands.ask("verdict", self.trace.version, lambda trace, told: (trace.deadlocks(), trace.findings(told=told)))
            if found is not None:
                self._verdict, self._judged_version = found, self.trace.version
            return self._verdict
        ended, cost = self._judged
        begun = time.monotonic()
        if self._judged_version < 0 or begun - ended > max(0.25, 10 * cost):
            self._verdict = (self.trace.deadlocks(), self.trace.findings())
            self._judged = (time.monotonic(), time.monotonic() - begun)
            self._judged_version = self.trace.version
        return self._verdict

    @property
    def is_judged(self) -> bool:
        """Whether the findings are those of the trace; they are being looked for, if not, or nobody wants them any more."""
        self._judge()
        return self._judged_version >= 0

    @property
    def deadlocks(self) -> list[Deadlock]:
        """The deadlocks that stand at the end of the trace."""
        return self._judge()[0]

    @property
    def findings(self) -> list[Finding]:
        return self._judge()[1]

    @property
    def measures(self) -> Measures | None:
        """Where the time of the window went; None while it is being counted, or once nobody wants that any more."""
        place, by, trace = self.place, self.counted_by, self.trace
        a_ns, b_ns = place.a_ns, place.b_ns
        if self._takes_long(trace.number_at(b_ns) - trace.number_at(a_ns)):
            key = (trace.version, a_ns, b_ns, by)
            found: Measures | None = self.errands.ask("measures", key, lambda own, told: measures(own, a_ns, b_ns, by, told))
            return found.named_by(trace) if found is not None else None
        return self._paced("measures", (trace.version, a_ns, b_ns, by), by, lambda: measures(trace, a_ns, b_ns, by))

    @property
    def queues(self) -> Queues | None:
        """Who waited for what at `MOMENTS` moments of the window; None while that is looked for, or once nobody wants it any more."""
        place, trace = self.place, self.trace
        a_ns, b_ns = place.a_ns, place.b_ns
        key = (trace.version, a_ns, b_ns)

        def count(own: Trace, told: Told = untold) -> Queues:
            return queues(own, edges(a_ns, b_ns, MOMENTS).tolist()[1:], told)

        if not self.live and (self.greenlet_count > FEW or trace.number_at(b_ns) - trace.number_at(a_ns) > FEW_EVENTS):
            found: Queues | None = self.errands.ask("queues", key, count)
            return found
        return self._paced("queues", key, None, lambda: count(trace))

    def activity(self, cells: int) -> npt.NDArray[np.int64]:
        """Return how many events there are in each of so many cells of the whole trace."""
        trace = self.trace

        def make() -> npt.NDArray[np.int64]:
            return np.diff(trace.activity(edges(trace.start_ns, trace.end_ns, cells))).astype(np.int64)

        return self._memo("activity", (trace.version, cells), make)

    def refresh(self) -> bool:
        """Read what a live trace has grown by; return whether there was anything."""
        if not self.trace.refresh():
            return False
        self.selection.grow(self.trace.start_ns, self.trace.end_ns)
        return True
