"""Resources: locks, queues, Event objects and the like at the cursor: who holds them, who waits for them.

In:  a Scene. Out: a table, those that most wait for first; below it, of the chosen one, how many waited for it in the course of the
window, its holders and the queue of its waiters.
Enter goes to a holder, or to the first waiter where nobody holds it. `o` on any greenlet leads here, to what it waits for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.strip import Strip

from greentrace.export.words import STATE_WORDS, count, duration
from greentrace.replay.model import Key, ResourceNow, shown

from .messages import GreenletChosen
from .palette import FAINT, LINK, PLAIN, RULER, STRONG, WARNING, bars
from .pane import Line, working
from .table import Cell, Column, Table

_MOST = 200


class Resources(Table):
    """The table, and what is known of its chosen row."""

    columns = (
        Column("kind", 13),
        Column("id", 7),
        Column("held by", 10, 3),
        Column("held for", 10),
        Column("waiting", 9, right=True),
        Column("longest", 11, right=True),
        Column("created at", 16, 3),
    )
    nothing = "Nobody holds anything or waits for anything but time and the network."

    def rows(self) -> Sequence[ResourceNow]:
        return self.scene.resources

    def cells(self, row: ResourceNow) -> Sequence[Cell]:
        scene = self.scene
        held = list(dict.fromkeys(holder.greenlet for holder in row.holders)) or ([row.greenlet] if row.greenlet is not None else [])
        who = scene.name(held[0]) + (f" +{len(held) - 1}" if len(held) > 1 else "") if held else "-"
        ages = [scene.world.t_ns - holder.since_ns for holder in row.holders]
        since_ns = scene.muster.since_ns[scene.roster.indices(row.waiters)]
        site = shown(row.site)
        return (
            Cell(row.word),
            Cell(f"#{row.id}", FAINT),
            Cell(who),
            Cell(duration(max(ages)) if ages else ""),
            Cell(f"{len(row.waiters):,}", WARNING if len(row.waiters) > 1 else PLAIN),
            Cell(duration(scene.world.t_ns - int(since_ns.min())) if len(since_ns) else ""),
            Cell(("" if row.site_observed else "first seen ") + (str(site) if site else "-"), FAINT),
        )

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        rows = self.rows()
        above = super().lines(width, max(min(len(rows) + 1, height - 8, height // 2 + 2), 3))
        if not rows:
            return above
        return [*above, [("─" * width, FAINT)], *self._about(rows[self.chosen(rows)])]

    def _about(self, row: ResourceNow) -> Iterator[Line]:
        scene = self.scene
        signal = ", used as a signal: anybody may release it" if row.signal else ""
        places = f", {count(row.capacity, 'place')}" if row.capacity is not None and row.capacity > 1 else ""
        yield [(row.label, STRONG), (places + signal, FAINT)]
        yield self._over_time(row)
        for holder in row.holders:
            frame = shown(holder.site)
            now = scene.world.greenlets.get(holder.greenlet)
            doing = f", {STATE_WORDS[now.state]}" if now is not None else ""
            at = f", taken at {frame}" if frame else ""
            guess = "" if holder.observed else " (inferred)"
            since = f" for {duration(max(scene.world.t_ns - holder.since_ns, 0))}"
            yield [("  held by ", FAINT), (scene.name(holder.greenlet), LINK), (f"{doing}{since}{at}{guess}", FAINT)]
        if row.greenlet is not None:
            yield [("  is the end of ", FAINT), (scene.name(row.greenlet), LINK)]
        for place, key in enumerate(row.waiters[:_MOST], 1):
            g = scene.world.greenlets.get(key)
            since = f" for {duration(max(scene.world.t_ns - g.since_ns, 0))}" if g is not None else ""
            site = f" at {g.site}" if g is not None and g.site else ""
            yield [(f"  {place:>3}. ", FAINT), (scene.name(key), LINK), (f" waits{since}{site}", PLAIN)]
        if len(row.waiters) > _MOST:
            yield [(f"  … and {len(row.waiters) - _MOST:,} more", FAINT)]

    def _over_time(self, row: ResourceNow) -> Line:
        """How many waited for it in the course of the window; the moment of the cursor stands out."""
        scene, place = self.scene, self.scene.place
        queues = scene.queues
        if queues is None:
            return [(f"  waiting over the window: {working(scene, 'queues', 'counting')}", FAINT)]
        counts = queues.of(row.key)
        shown = bars(counts)
        at = min(max((place.t_ns - place.a_ns) * len(counts) // max(place.width_ns, 1), 0), len(counts) - 1)
        line = [("  waiting ▕", FAINT), (shown[:at], RULER), (shown[at], STRONG), (shown[at + 1 :], RULER), ("▏", FAINT)]
        return [*line, (f" at most {int(counts.max()):,}, at {len(counts)} moments of the window", FAINT)]

    def find(self, key: Key) -> bool:
        """Make a resource the chosen one; return whether it is in the list."""
        index = self.scene.resources.index_of(key)
        if index >= 0:
            self.choose(index, self.rows())
        return index >= 0

    def enter(self) -> None:
        rows = self.rows()
        if self.begins_again("queues") or not rows:
            return
        row = rows[self.chosen(rows)]
        known = [*(holder.greenlet for holder in row.holders), *([row.greenlet] if row.greenlet is not None else []), *row.waiters]
        if known:
            self.post_message(GreenletChosen(known[0]))
