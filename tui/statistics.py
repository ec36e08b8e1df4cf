"""Statistics: where the time of the window went.

In:  a Scene. Out: a row a function, resource or site, `g` says which; the first row is all of them. Below, how long the runs, the waits
for a turn and the waits for each sort of thing of the chosen row were, as histograms over powers of two.
Hubs are left out: they run while nobody else does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.strip import Strip

from greentrace.events import State
from greentrace.export.looks import WORDS, Look, look_of
from greentrace.export.words import duration
from greentrace.replay.lazy import LazyEach
from greentrace.replay.lengths import Lengths
from greentrace.replay.measures import Row

from .messages import FilterChosen, ResourceChosen
from .palette import FAINT, PLAIN, STRONG, bars, state_style
from .pane import Line, working
from .scene import next_of
from .sight import COUNTED_BY
from .table import Cell, Column, Table

_SHORTEST, _LONGEST = 9, 37
"""Histograms reach from 2^9 ns (half a microsecond) to 2^37 ns (two minutes); what lies outside counts with the ends."""


_NUMBERS = {
    "function": (
        Column("ran", 10, right=True),
        Column("of window", 10, right=True, from_width=90),
        Column("runs", 9, right=True, from_width=72),
        Column("longest", 10, right=True),
        Column("latency", 12, right=True),
        Column("longest", 10, right=True, from_width=90),
    ),
    "wait": (
        Column("waited", 12, right=True),
        Column("waits", 9, right=True, from_width=90),
        Column("p99", 9, right=True, from_width=90),
        Column("longest", 10, right=True),
        Column("latency", 12, right=True, from_width=72),
        Column("ran after", 11, right=True),
    ),
}


class Statistics(Table):
    """The table, and the histograms."""

    @property
    def nothing(self) -> str:  # type: ignore[override]
        if self.scene.measures is not None:
            return "Nothing happens in this window."
        return working(self.scene, "measures", "Counting")

    @property
    def columns(self) -> tuple[Column, ...]:  # type: ignore[override]
        by = self.scene.counted_by
        return (Column(by, 16, 6), Column("greenlets", 10, right=True), *_NUMBERS["function" if by == "function" else "wait"])

    def title(self) -> str:
        return f"g: by {next_of(self.scene.counted_by, COUNTED_BY)}"

    def rows(self) -> Sequence[Row]:
        measures = self.scene.measures
        if measures is None or not len(measures.rows):
            return ()
        return LazyEach(len(measures.rows) + 1, lambda at: measures.rows[at - 1] if at else measures.all)

    def cells(self, row: Row) -> Sequence[Cell]:
        name = (Cell(row.name), Cell(f"{row.greenlets:,}"))
        if self.scene.counted_by == "function":
            width_ns = max(self.scene.place.width_ns, 1)
            return (
                *name,
                Cell(duration(row.run.total_ns)),
                Cell(f"{100 * row.run.total_ns / width_ns:.1f} %", FAINT),
                Cell(f"{row.run.count:,}"),
                Cell(duration(row.run.longest_ns)),
                Cell(duration(row.latency.total_ns)),
                Cell(duration(row.latency.longest_ns)),
            )
        return (
            *name,
            Cell(duration(row.wait.total_ns)),
            Cell(f"{row.wait.count:,}"),
            Cell(duration(row.wait.percentile_ns(99))),
            Cell(duration(row.wait.longest_ns)),
            Cell(duration(row.latency.total_ns)),
            Cell(duration(row.run.total_ns)),
        )

    def group(self) -> None:
        """Count by the next thing."""
        self.scene.counted_by = next_of(self.scene.counted_by, COUNTED_BY)
        self._index = 0

    def enter(self) -> None:
        """Go to the greenlets that a row counts, or to the resource."""
        rows = self.rows()
        if not self.begins_again("measures") and rows and (index := self.chosen(rows)) > 0:
            row = rows[index]
            if row.resource is not None:
                self.post_message(ResourceChosen(row.resource))
            else:
                is_site = self.scene.counted_by == "site"
                self.post_message(FilterChosen.having("at" if is_site else "func", row.name.partition(" (")[0] if is_site else row.name))

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        rows = self.rows()
        if not rows:
            return super().lines(width, height)
        below = list(self._histograms(rows[self.chosen(rows)]))
        return [*super().lines(width, max(height - len(below) - 1, 4)), [("─" * width, FAINT)], *below]

    def _histograms(self, row: Row) -> Iterator[Line]:
        ticks = "".join(f"{words:<10}" for words in ("<1µs", "0.5ms", "0.5s"))
        yield [(f"{'':14}{'how long':<{_LONGEST - _SHORTEST + 1}}", FAINT), (f"{'count':>9} {'p50':>8} {'p99':>8} {'longest':>9}", FAINT)]
        yield from self._histogram("running", Look.RUNNING, row.run)
        yield from self._histogram("latency", Look.RUNNABLE, row.latency)
        by_look: dict[Look, list[Lengths]] = {}
        for (state, kind), lengths in row.by_sort.items():
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
        middle, high, longest = lengths.percentile_ns(50), lengths.percentile_ns(99), lengths.longest_ns
        numbers = f"{lengths.count:>9,} {duration(middle):>8} {duration(high):>8} {duration(longest):>9}"
        yield [(f" {word:<10}", state_style(look)), ("   ", PLAIN), (bars(shown), STRONG), (" ", PLAIN), (numbers, PLAIN)]
