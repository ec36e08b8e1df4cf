"""Statistics: where the time of the window went.

In:  a Scene. Out: a row a function: how long it ran, how often, how long it had to wait for its turn; below, how long the runs, the
waits for a turn and the waits for each sort of thing were, as histograms over powers of two.
Hubs are left out: they run while nobody else does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.strip import Strip

from greentrace.events import State
from greentrace.export.looks import WORDS, Look, look_of
from greentrace.export.words import duration
from greentrace.replay.measures import Lengths, Measures, Row

from .palette import FAINT, HEIGHTS, PLAIN, STRONG, state_style
from .pane import Line
from .table import Cell, Column, Table

_SHORTEST, _LONGEST = 9, 37
"""Histograms reach from 2^9 ns (half a microsecond) to 2^37 ns (two minutes); what lies outside counts with the ends."""


class Statistics(Table):
    """The table by function, and the histograms."""

    columns = (
        Column("function", 16, 6),
        Column("greenlets", 10, right=True),
        Column("ran", 10, right=True),
        Column("of window", 10, right=True, from_width=90),
        Column("runs", 9, right=True, from_width=72),
        Column("longest", 10, right=True),
        Column("latency", 10, right=True),
        Column("longest", 10, right=True, from_width=90),
    )
    nothing = "Nothing happens in this window."

    def rows(self) -> Sequence[Row]:
        return self.scene.measures.rows

    def cells(self, row: Row) -> Sequence[Cell]:
        width_ns = max(self.scene.place.width_ns, 1)
        return (
            Cell(row.function),
            Cell(f"{row.greenlets:,}"),
            Cell(duration(row.run_ns)),
            Cell(f"{100 * row.run_ns / width_ns:.1f} %", FAINT),
            Cell(f"{row.runs:,}"),
            Cell(duration(row.longest_run_ns)),
            Cell(duration(row.latency_ns)),
            Cell(duration(row.longest_latency_ns)),
        )

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        measures = self.scene.measures
        below = list(self._histograms(measures, width))
        above = super().lines(width, max(height - len(below) - 1, 4))
        return [*above, [("─" * width, FAINT)], *below] if measures.rows else above

    def _histograms(self, measures: Measures, width: int) -> Iterator[Line]:
        ticks = "".join(f"{words:<10}" for words in ("<1µs", "0.5ms", "0.5s"))
        yield [(f"{'':14}{'how long':<{_LONGEST - _SHORTEST + 2}}", FAINT), ("    count    p50      p99      longest", FAINT)]
        yield from self._histogram("running", Look.RUNNING, measures.of(State.RUNNING))
        yield from self._histogram("latency", Look.RUNNABLE, measures.of(State.RUNNABLE))
        by_look: dict[Look, list[Lengths]] = {}
        for (state, kind), lengths in measures.lengths.items():
            if state == State.PARKED:
                by_look.setdefault(look_of(state, kind), []).append(lengths)
        for look, found in sorted(by_look.items()):
            yield from self._histogram(WORDS[look].word, look, Lengths.joined(found))
        yield [(f"{'':14}{ticks}", FAINT)]

    @staticmethod
    def _histogram(word: str, look: Look, lengths: Lengths) -> Iterator[Line]:
        if not lengths.count:
            return
        bins = lengths.histogram()
        shown = bins[_SHORTEST:_LONGEST].copy()
        shown[0] += bins[:_SHORTEST].sum()
        shown[-1] += bins[_LONGEST:].sum()
        most = max(int(shown.max()), 1)
        bars = "".join(HEIGHTS[-(-8 * int(number) // most)] for number in shown)
        middle, high, longest = lengths.percentile_ns(50), lengths.percentile_ns(99), lengths.longest_ns
        numbers = f"{lengths.count:>9,} {duration(middle):>8} {duration(high):>8} {duration(longest):>9}"
        yield [(f" {word:<10}", state_style(look)), ("   ", PLAIN), (bars, STRONG), ("  ", PLAIN), (numbers, PLAIN)]
