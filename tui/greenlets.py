"""Greenlets: who lives at the cursor, and what each does.

    list         a greenlet a row, in the order that `r` chooses
    functions    a function a row: how many run it, how many of them are in which state
    tree         a greenlet a row, below who made it

In:  a Scene. Out: a table; its chosen row is the current greenlet of all screens, where rows are greenlets. `g` changes the shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from greentrace.events import State
from greentrace.export.looks import look_of
from greentrace.export.words import STATE_WORDS, duration
from greentrace.replay.lazy import Listing
from greentrace.replay.model import GreenletNow, shown

from .messages import FilterChosen, ScreenChosen
from .palette import DEADLOCKED, ERROR, FAINT, PLAIN, WARNING, state_style
from .scene import SHAPES, Group, next_of
from .table import Cell, Column, Table

_GREENLETS = (
    Column("", 2),
    Column("id", 8),
    Column("greenlet", 12, 2),
    Column("state", 11),
    Column("since", 10),
    Column("does, waits for", 20, 6),
    Column("at", 16, 2, from_width=110),
)
_FUNCTIONS = (
    Column("", 2),
    Column("function", 16, 4),
    Column("greenlets", 11, right=True),
    *(Column(STATE_WORDS[state], 11, right=True) for state in (State.RUNNING, State.RUNNABLE, State.PARKED)),
    Column("others", 9, right=True, from_width=90),
    Column("hold", 8, right=True, from_width=90),
    Column("longest", 11, right=True),
)


class Greenlets(Table):
    """The table."""

    @property
    def columns(self) -> tuple[Column, ...]:  # type: ignore[override]
        return _FUNCTIONS if self._is_grouped else _GREENLETS

    @property
    def nothing(self) -> str:  # type: ignore[override]
        return "Nobody lives at this moment." if self.scene.trace.event_count else "Nothing is recorded yet."

    @property
    def _is_grouped(self) -> bool:
        return self.scene.shape == "functions"

    def title(self) -> str:
        sort = f"r: sorted by {self.scene.sort}   " if self.scene.shape == "list" else ""
        return f"{sort}g: {next_of(self.scene.shape, SHAPES)}"

    def rows(self) -> Sequence[GreenletNow] | Sequence[Group]:
        return self.scene.functions if self._is_grouped else self._listing()

    def _listing(self) -> Listing[GreenletNow]:
        return self.scene.tree[0] if self.scene.shape == "tree" else self.scene.rows

    def cells(self, row: GreenletNow | Group) -> Sequence[Cell]:
        return self._of_group(row) if isinstance(row, Group) else self._of_greenlet(row)

    def _of_group(self, row: Group) -> Sequence[Cell]:
        style = WARNING if row.doomed else PLAIN
        main = [row.by_state.get(state, 0) for state in (State.RUNNING, State.RUNNABLE, State.PARKED)]
        return (
            Cell("▲" if row.doomed else "", style),
            Cell(row.name, style),
            Cell(f"{row.total:,}", style),
            *(Cell(f"{number:,}" if number else "-", PLAIN if number else FAINT) for number in main),
            Cell(f"{row.total - sum(main):,}" if row.total > sum(main) else "-", FAINT),
            Cell(f"{row.held:,}" if row.held else "-", FAINT),
            Cell(duration(max(self.scene.world.t_ns - row.since_ns, 0)), style),
        )

    def _of_greenlet(self, row: GreenletNow) -> Sequence[Cell]:
        scene = self.scene
        mark = scene.mark(row.key)
        style = ERROR if mark == DEADLOCKED else WARNING if mark != " " else PLAIN
        age = duration(max(scene.world.t_ns - row.since_ns, 0)) if row.state != State.UNKNOWN else ""
        site = shown(row.stack)
        return (
            Cell(mark, style),
            Cell(f"#{row.id}", style),
            Cell(f"{self._indent(row)}{scene.label(row)}", style),
            Cell(f" {STATE_WORDS[row.state]} ", state_style(look_of(row.state, scene.kind(row))), fixed=True),
            Cell(age, style),
            Cell(scene.words(row), style),
            Cell(site.place if site else "", style),
        )

    def _indent(self, row: GreenletNow) -> str:
        if self.scene.shape != "tree":
            return ""
        listing, depths = self.scene.tree
        depth = int(depths[listing.index_of(row.key)])
        return f"{'  ' * min(depth - 1, 20)}└ " if depth else ""

    def chosen(self, rows: Sequence[GreenletNow] | Sequence[Group]) -> int:
        return super().chosen(rows) if self._is_grouped else self._listing().index_of(self.scene.place.greenlet)

    def choose(self, index: int, rows: Sequence[GreenletNow] | Sequence[Group]) -> None:
        if self._is_grouped:
            super().choose(index, rows)
        elif rows:
            listing = self._listing()
            self.scene.selection.choose(int(listing.keys[min(max(index, 0), len(listing) - 1)]))

    def group(self) -> None:
        """Show them in another shape."""
        self.scene.shape = next_of(self.scene.shape, SHAPES)

    def enter(self) -> None:
        """Show the current greenlet, or all who run a function."""
        if not self._is_grouped:
            self.post_message(ScreenChosen("detail"))
            return
        rows = self.scene.functions
        if rows:
            self.scene.shape = SHAPES[0]
            self.post_message(FilterChosen.having("func", rows[self.chosen(rows)].name))
