"""Reader: the door of the east wing.

In:  a path: a .gtrace file, a .ring file, or a directory of rings.
Out: a `Trace`: the world at any moment, deadlocks, findings, moments as people write them.
Never: numpy types in what it returns for people; times are Python integers, in ns of the trace's clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from greentrace import ring
from greentrace.errors import BadTime
from greentrace.replay import describe, lints, moment, waits
from greentrace.replay.history import History
from greentrace.replay.model import Deadlock, Finding, Graph
from greentrace.replay.source import Source, Told, open_source, untold

_ABSOLUTE = re.compile(r"\d{4}-\d\d-\d\d")


class Trace(History):
    """A trace, saved or live. `refresh` it now and then when it is live."""

    def __init__(self, path: Path, source: Source) -> None:
        super().__init__(source)
        self.path = path
        self._closings: moment.Known = {}
        self._standing: tuple[int, list[Deadlock]] = (-1, [])

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """How people call it: a file by its name, a running program by its own and its PID."""
        if self.path.suffix != ring.SUFFIX and not self.path.is_dir():
            return self.path.name
        first = next(iter(self.processes), None)
        more = f" and {len(self.processes) - 1} more" if len(self.processes) > 1 else ""
        return f"{first.label}{more}" if first is not None else self.path.name

    # ---- verdicts

    def deadlocks(self) -> list[Deadlock]:
        """Return the deadlocks that stand at the last event of each process, in the order in which they closed."""
        if self._standing[0] != self.version:
            self._standing = (self.version, moment.standing(self, self._closings))
        return self._standing[1]

    def graph(self, t_ns: int) -> Graph:
        """Return the wait-for graph at a moment, with the event that closed each deadlock."""
        plain = waits.graph(self.at(t_ns))
        if not plain.deadlocks:
            return plain
        deadlocks: list[Deadlock] = []
        for process in sorted({deadlock.process for deadlock in plain.deadlocks}):
            position = self.histories[process].count_until(t_ns, "right") - 1
            part = waits.graph(self.at_position(process, position))
            deadlocks += moment.timed(self, part, position, self._closings)
        deadlocks.sort(key=lambda deadlock: (deadlock.closed_ns, deadlock.greenlets))
        return Graph(plain.world, plain.doomed, tuple(deadlocks), plain.exhausted)

    def findings(self, allow: Iterable[str] = (), warn: Iterable[str] = (), told: Told = untold) -> list[Finding]:
        """Return what the lints find, the gravest first; `allow` silences lints, `warn` makes them warnings; `told` hears the progress."""
        return lints.findings(self, self.deadlocks(), allow, warn, told)

    def describe_event(self, number: int) -> str:
        """Return one event in words, one line. Raises `IndexError` when there is no such event."""
        return describe.describe_event(self, number)

    # ---- moments

    def seconds(self, t_ns: int) -> float:
        """Return a moment as seconds since the trace began."""
        return (t_ns - self.start_ns) / 1e9

    def parse_time(self, text: str) -> int:
        """Return the moment that `text` means: seconds from the start, `#N` (an event), an ISO time, `deadlock`, `start` or `end`.

        Raises `BadTime` when it means none, or one outside the trace.
        """
        text = text.strip()
        if text in ("end", ""):
            return self.end_ns
        if text == "start":
            return self.start_ns
        if text == "deadlock":
            return self._first_deadlock()
        if text.startswith("#"):
            return self._event_time(text)
        t_ns = self._wall_time(text) if _ABSOLUTE.match(text) else self._from_start(text)
        # People copy what they were shown, which was rounded up to a microsecond.
        if self.end_ns < t_ns <= self.end_ns + 1000:
            t_ns = self.end_ns
        if not self.start_ns <= t_ns <= self.end_ns:
            raise BadTime(
                f"{text} lies outside the trace.",
                "Nothing was changed.",
                f"It lasts from 0 to {self.seconds(self.end_ns):.6f} s; give a time between.",
            )
        return t_ns

    def _first_deadlock(self) -> int:
        found = self.deadlocks()
        if not found:
            raise BadTime("There is no deadlock in this trace.", "Nothing was changed.", "Give a time in seconds, #N for an event, or end.")
        return found[0].closed_ns

    def _event_time(self, text: str) -> int:
        try:
            return self.event(int(text[1:]))[1].t_ns
        except (ValueError, IndexError):
            raise BadTime(
                f"There is no event {text}.", "Nothing was changed.", f"Events are numbered from #0 to #{self.event_count - 1}."
            ) from None

    def _from_start(self, text: str) -> int:
        try:
            value = float(text.removesuffix("s").strip())
            return self.start_ns + round(value * 1e9)
        except (ValueError, OverflowError):
            raise BadTime(
                f"{text!r} is no moment.",
                "Nothing was changed.",
                "Give seconds from the start (1.25), #N for an event, a date and time, deadlock, or end.",
            ) from None

    def _wall_time(self, text: str) -> int:
        try:
            wall_ns = round(datetime.fromisoformat(text).timestamp() * 1e9)
        except (ValueError, OverflowError):
            raise BadTime(f"{text!r} is no date and time.", "Nothing was changed.", "Write it as 2025-01-31T12:00:00.") from None
        offset = self.wall_offset_ns
        if offset is None:
            raise BadTime(
                "The trace does not tell the time of day at which it was recorded.", "Nothing was changed.", "Give seconds from the start."
            )
        return wall_ns - offset

    @property
    def wall_offset_ns(self) -> int | None:
        """What has to be added to a moment of the trace to get the wall clock's, in ns since 1970; None if it is not known."""
        for h in self.histories:
            mono, wall = h.feed.meta.get("mono_ns"), h.feed.meta.get("wall_ns")
            if isinstance(mono, int) and isinstance(wall, int):
                return wall - mono
        return None


def open(path: Path | str, told: Told = untold, at_once: bool = False) -> Trace:
    """Open a trace file, a ring, or a directory of rings. `told` hears how much of a file has been read, from 0 to 1.

    `at_once`: whoever cannot wait asks `is_sure` a moment later, and lets the trace `begin_again` if it is not.
    Raises `BadTrace`, `BadRing` or `BadInput` (all `BadInput`) with advice when that is not possible.
    """
    path = Path(path)
    trace = Trace(path, open_source(path, told))
    if not at_once and not trace.is_sure():
        trace.begin_again()
    return trace
