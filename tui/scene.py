"""Scene: what the cursor sees.

In:  a replay.Trace and a `Selection`.
Out: what `Sight` knows, the rows of the lists, in their order, and words; each made once for a place.
Never: Textual, and never a raw event.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from greentrace.events import NAMES, Kind, ResourceKind, State
from greentrace.export.words import resource_words, state_words
from greentrace.lifecycle import ENDED
from greentrace.replay import seek
from greentrace.replay.index import Array
from greentrace.replay.lazy import Listing
from greentrace.replay.model import GreenletEver, GreenletNow, Key, ResourceNow, TimerNow
from greentrace.replay.reader import Trace
from greentrace.replay.roster import Muster, Roster
from greentrace.replay.touches import Touches
from greentrace.replay.verdict import seconds

from .filter import Predicate, parse
from .palette import DEADLOCKED, DOOMED
from .sight import Sight

T = TypeVar("T")
_OUTSIDE = (ResourceKind.FD, ResourceKind.SLEEP, ResourceKind.SWITCH, ResourceKind.UNKNOWN)
_INSIDE = ~np.isin(np.arange(256), _OUTSIDE)
_FDS = np.arange(256) == ResourceKind.FD
SORTS = ("gravest", "since", "name", "state")
"""In what order the list stands: who is deadlocked first; who has been in its state for longest; by name; by state."""

WAKES = 20
"""So many wakes are shown on either side of the cursor."""

SHAPES = ("list", "functions", "tree")
"""How the greenlets at the cursor are shown: one a row, one function a row, or each below who made it."""


def next_of(one: T, every: Sequence[T]) -> T:
    """Return the next one, round and round."""
    return every[(every.index(one) + 1) % len(every)]


class Group(NamedTuple):
    """Greenlets that run the same: how many are in which state, since when the first of them is in its own, how many things they hold."""

    name: str
    by_state: dict[State, int]
    since_ns: int
    held: int
    doomed: int

    @property
    def total(self) -> int:
        return sum(self.by_state.values())


class Scene(Sight):
    """What the windows show of a trace at a cursor."""

    def __init__(self, trace: Trace, live: bool = False, moved: Callable[[], None] = lambda: None) -> None:
        super().__init__(trace, live, moved)
        self.touches = Touches(trace)
        self.sort = SORTS[0]
        self.shape = SHAPES[0]
        self.everybody = False
        """Whether the lanes show those too who do not live in the window, and the list those who have finished."""
        self.arrows = False
        """Whether the lanes show who woke the current greenlet, and whom it woke."""
        self.filter_line = ""
        self._filter: Predicate | None = None
        self._begin()

    def _begin(self) -> None:
        """Stand where the trouble begins, if there is any; at the end of a trace without, or until it is known."""
        self._stands_by_verdict = self.is_judged
        if not self.live:
            first = next((finding for level in ("error", "warning") for finding in self.findings if finding.level == level), None)
            greenlet = first.greenlets[0] if first is not None and first.greenlets else None
            self.selection.start_at(first.t_ns if first is not None else self.trace.end_ns, greenlet)
        rows = self.lanes
        if self.place.greenlet is None and rows:
            self.selection.start_at(self.place.t_ns, int(rows.keys[0]))

    def heard(self) -> None:
        """Take in what the errands have found: who has not moved yet is taken to the trouble."""
        if self.is_judged and not self._stands_by_verdict and not self.live and not self.selection.has_moved:
            self._begin()

    def mark(self, key: Key) -> str:
        """Return the mark of a greenlet at the cursor: in a deadlock, doomed, or neither, as far as that is known already."""
        if not self.is_settled:
            return " "
        graph = self.graph
        if any(key in deadlock.greenlets for deadlock in graph.deadlocks):
            return DEADLOCKED
        return DOOMED if key in graph.doomed else " "

    # ---- rows

    def set_filter(self, line: str) -> None:
        """Show only the greenlets that a line of the filter's language means; all of them for "".

        Raises `ValueError`, and changes nothing, when the line is not understood.
        """
        self._filter = parse(line) if line.strip() else None
        self.filter_line = line.strip()

    @property
    def roster(self) -> Roster:
        """Everybody."""
        return self._memo("roster", self.trace.version, lambda: Roster(self.trace))

    @property
    def muster(self) -> Muster:
        """How everybody is at the cursor."""
        return self._memo("muster", (self.trace.version, self.place.t_ns), lambda: Muster(self.roster, self.world))

    def _ranked(self) -> Array:
        """Return the rank of everybody: 0 for who is in a deadlock, 1 for who waits behind one, 2 for the others."""

        def make() -> Array:
            ranks = np.full(len(self.roster), 2, np.uint8)
            ranks[self.roster.indices({key for deadlock in self.deadlocks for key in deadlock.victims})] = 1
            ranks[self.roster.indices({key for deadlock in self.deadlocks for key in deadlock.greenlets})] = 0
            return ranks

        return self._memo("ranks", (self.trace.version, self._judged_version), make)

    def _sorted(self, mask: Array, *columns: Array) -> Array:
        """Return the indices of the roster that are meant, by one column after the other, at last by key."""
        if self._filter is not None:
            mask = mask & self._filter(self.muster)
        at = np.flatnonzero(mask)
        return at[np.lexsort([column[at] for column in reversed(columns)])] if columns else at

    @property
    def lanes(self) -> Listing[GreenletEver]:
        """The greenlets of the time-line: those that live in the window, the doomed first, hubs last."""
        place = self.place
        window = None if self.everybody else (place.a_ns, place.b_ns)

        def make() -> Listing[GreenletEver]:
            roster = self.roster
            mask = np.ones(len(roster), bool) if window is None else roster.alive(*window)
            return Listing(roster.keys[self._sorted(mask, self._ranked(), roster.lives["is_hub"])], self.trace.greenlet)

        # A filter may ask for what is so at the cursor.
        filtered = (self.filter_line, place.t_ns) if self._filter is not None else ""
        return self._memo("lanes", (self.trace.version, window, self._judged_version, filtered), make)

    def _living(self) -> Array:
        """Return who lives at the cursor; those who have finished too, if everybody is to be shown."""
        states = self.muster.states
        return self.muster.there if self.everybody else self.muster.there & ~np.isin(states, ENDED)

    @property
    def rows(self) -> Listing[GreenletNow]:
        """The greenlets of the list: those that live at the cursor."""

        def make() -> Listing[GreenletNow]:
            roster, muster = self.roster, self.muster
            columns: dict[str, Callable[[], tuple[Array, ...]]] = {
                "gravest": lambda: (self._ranked(), np.isin(muster.states, ENDED), roster.lives["is_hub"]),
                "since": lambda: (muster.since_ns,),
                "name": lambda: (roster.labels.ranks,),
                "state": lambda: (muster.states,),
            }
            keys = roster.keys[self._sorted(self._living(), *columns[self.sort]())]
            return Listing(keys, lambda key: self.world.greenlets[key])

        return self._memo("rows", (*self._list_key, self.sort), make)

    @property
    def _list_key(self) -> tuple[Hashable, ...]:
        return self.trace.version, self.place.t_ns, self._judged_version, self.everybody, self.filter_line

    @property
    def tree(self) -> tuple[Listing[GreenletNow], Array]:
        """The same, each below who made it; and how deep each stands."""

        def make() -> tuple[Listing[GreenletNow], Array]:
            members = self._sorted(self._living())
            order, depth = self.roster.family(members)
            return Listing(self.roster.keys[members[order]], lambda key: self.world.greenlets[key]), depth[order]

        return self._memo("tree", self._list_key, make)

    @property
    def functions(self) -> list[Group]:
        """The same by what they run, the largest group first."""

        def make() -> list[Group]:
            roster, muster = self.roster, self.muster
            mine = self._sorted(self._living())
            codes = roster.runs.codes[mine]
            is_doomed = np.zeros(len(roster), bool)
            is_doomed[roster.indices({*self.graph.doomed, *(key for ring in self.graph.deadlocks for key in ring.greenlets)})] = True
            found = []
            for code in np.unique(codes).tolist():
                some = mine[codes == code]
                states, counts = np.unique(muster.states[some], return_counts=True)
                by_state = {State(state): many for state, many in zip(states.tolist(), counts.tolist(), strict=True)}
                doomed = int(np.count_nonzero(is_doomed[some]))
                group = Group(roster.runs.words[code], by_state, int(muster.since_ns[some].min()), int(muster.holds[some].sum()), doomed)
                found.append(group)
            return sorted(found, key=lambda group: (-group.doomed, -group.total, group.name))

        return self._memo("functions", self._list_key, make)

    @property
    def fds(self) -> list[ResourceNow]:
        """The fds that are listened to, or waited for, at the cursor."""

        def make() -> list[ResourceNow]:
            heard = {listener.resource for listener in self.world.listeners}
            every = map(self.world.resources.__getitem__, self.muster.resources(_FDS)["key"].tolist())
            return sorted((r for r in every if r.waiters or r.key in heard), key=lambda r: (r.process, r.fd or 0, r.generation or 0))

        return self._memo("fds", (self.trace.version, self.place.t_ns), make)

    @property
    def timers(self) -> list[TimerNow]:
        """The timers that are armed at the cursor, the earliest first."""
        return self._memo(
            "timers", (self.trace.version, self.place.t_ns), lambda: sorted(self.world.timers, key=lambda t: (t.due_ns, t.key))
        )

    @property
    def used(self) -> Array:
        """All resources at the cursor, time and the network apart, as rows: `USE`; what most wait for first."""
        return self._memo("used", (self.trace.version, self.place.t_ns), lambda: self.muster.resources(_INSIDE))

    @property
    def outside(self) -> int:
        """How many wait for time, the network, or a switch at the cursor."""
        return self._memo("outside", (self.trace.version, self.place.t_ns), lambda: int(self.muster.resources(~_INSIDE)["waiters"].sum()))

    @property
    def resources(self) -> Listing[ResourceNow]:
        """What is held or waited for at the cursor, time and the network apart; what most wait for first."""

        def make() -> Listing[ResourceNow]:
            used = self.used
            if not self.everybody:
                used = used[(used["waiters"] > 0) | (used["holders"] > 0)]
            return Listing(used["key"], lambda key: self.world.resources[key])

        return self._memo("resources", (self.trace.version, self.place.t_ns, self.everybody), make)

    def touched(self, kind: Kind, resource: Key) -> tuple[int, int | None] | None:
        """Return how often events of a kind named a resource in the window up to the cursor, and when last; None if that is too much."""
        place = self.place
        return self.touches.within(kind, resource, min(place.a_ns, place.t_ns), place.t_ns)

    @property
    def wakes(self) -> list[seek.Wake]:
        """The wakes around the cursor that are to be seen: of the current greenlet, if any."""
        place, key = self.place, self.place.greenlet
        if not self.arrows or key is None:
            return []
        asked = (self.trace.version, key, place.t_ns, place.a_ns, place.b_ns)
        return self._memo("wakes", asked, lambda: seek.wakes(self.trace, key, place.a_ns, place.t_ns, place.b_ns, WAKES))

    def label(self, g: GreenletEver | GreenletNow) -> str:
        """Return `alice`; with several processes `4242 alice`."""
        return f"{g.pid} {g.label}" if len(self.trace.histories) > 1 else g.label

    def name(self, key: Key) -> str:
        return self.label(self.trace.greenlet(key))

    def words(self, g: GreenletNow) -> str:
        """Return what a greenlet does or waits for, and who holds it."""
        words = state_words(self.world, g)
        holders = self.holders(g)
        return f"{words}, held by {', '.join(map(self.name, holders[:3]))}{' …' if len(holders) > 3 else ''}" if holders else words

    def holders(self, g: GreenletNow) -> list[Key]:
        """Return those who hold what a greenlet waits for."""
        found: dict[Key, None] = {}
        for wait in g.waits if g.state == State.PARKED else ():
            resource = self.world.resources.get(wait.resource)
            for holder in resource.holders if resource is not None else ():
                found[holder.greenlet] = None
        return list(found)

    def moment(self, t_ns: int) -> str:
        """Return a moment as seconds since the trace began, as the verdict says it."""
        return seconds(self.trace, t_ns)

    def thing(self, key: Key) -> str:
        """Return what a resource is called at the cursor."""
        return resource_words(self.world, self.world.resources.get(key))

    def kind(self, g: GreenletNow) -> ResourceKind | None:
        """Return the kind of the first thing that a parked greenlet waits for."""
        resource = self.world.resources.get(g.waits[0].resource) if g.waits else None
        return resource.kind if resource is not None else None

    # ---- moves

    def move_lane(self, rows: int) -> None:
        """Make another lane the current one."""
        lanes = self.lanes
        if lanes:
            at = lanes.index_of(self.place.greenlet)
            at = (-1 if rows > 0 else 0) if at < 0 else at
            self.selection.choose(lanes[min(max(at + rows, 0), len(lanes) - 1)].key)

    def event_saying(self, text: str, forward: bool = True) -> int | None:
        """Return the number of the next event, or the one before, whose kind, or one of whose greenlets, is called so."""
        wanted = text.casefold().replace(" ", "_")
        kinds = [kind for kind, name in NAMES.items() if wanted in name.casefold()]
        place, roster = self.place, self.roster
        keys = roster.keys[roster.named(text)].tolist()
        found = seek.telling_of(self.trace, kinds, keys, place.t_ns, place.event, forward)
        return self.trace.number(*found) if found is not None else None

    def search(self, text: str, forward: bool = True, again: bool = True) -> bool:
        """Go to the next lane whose name, function or place contains a text; return whether there is one."""
        lanes, roster, wanted = self.lanes, self.roster, text.casefold()
        hits = roster.named(text) | roster.spawned_at.where(lambda place: wanted in place.casefold())
        if wanted.startswith("#"):
            hits |= np.array([wanted in f"#{number}" for number in roster.lives["id"].tolist()], bool)
        if len(self.trace.histories) > 1 and wanted.isdigit():
            hits |= roster.pids == int(wanted)
        found = np.flatnonzero(np.isin(lanes.keys, roster.keys[hits]))
        if not len(found):
            return False
        at = max(lanes.index_of(self.place.greenlet), 0)
        first = int(np.searchsorted(found, at + again)) if forward else int(np.searchsorted(found, at - again, "right")) - 1
        self.selection.choose(lanes[int(found[first % len(found)])].key)
        return True
