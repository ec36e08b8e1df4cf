"""Lives: what is so for the whole life of a greenlet, a resource or a thread.

    records ->  greenlets: one row an id, ids ascending       |id|seen|name|function|spawner|born|died|...
                resources: the same                           |id|told at|kind|capacity|site|signal|disposed|
                threads:   a few

In:  the records of one process, as they come. Only those of a birth, a name, a death are looked at, all of a kind at once.
Out: `Life` and `Told`, made from a row when somebody asks: names, who made whom and where, what a resource is and since when.
Never: a state, that is what `index` and `state` are for; a loop over records, but for the few resources that change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from greentrace.events import FLAG_INFERRED, FLAG_KEY, NAME_GIVEN, RELEASE_FOREIGN, RESOURCE_SIGNAL, How, Kind, ResourceKind, State
from greentrace.replay import tables
from greentrace.replay.index import Array, Columns
from greentrace.replay.rows import Rows

FAR = 1 << 62
"""A position after every other."""
PREDEFINED = {0: ResourceKind.UNKNOWN, 1: ResourceKind.SWITCH, 2: ResourceKind.SLEEP}
"""The resources that are the same in every process."""
_NEVER = (1 << 64) - 1
NEVER_BORN = np.uint64(_NEVER)
"""The `born_ns` of whose birth was not seen."""
_NO_HOW = 255
_LOW = np.uint64(0xFFFFFFFF)
_SLOTS = (1 << 16) - 1
_HOWS = list(How)
_KINDS = list(ResourceKind)
_BEGUN = (State.RUNNING, State.RUNNABLE, State.PARKED)

LIVES = np.dtype(
    [
        ("id", "<u4"), ("seen_ns", "<u8"), ("name", "<u4"), ("function", "<u4"), ("is_hub", "?"), ("is_main", "?"), ("thread", "<u2"),
        ("thread_known", "?"), ("born_ns", "<u8"), ("born_seen", "?"), ("spawner", "<u4"), ("spawn_site", "<u4"), ("started_at", "<i8"),
        ("finished_at", "<i8"), ("died_ns", "<u8"), ("how", "u1"), ("error", "<u4"), ("gone", "?"),
    ]
)  # fmt: skip
"""The fields of a `Life`, in its order."""
TELLINGS = np.dtype(
    [
        ("id", "<u4"), ("created_ns", "<u8"), ("at", "<i8"), ("flags", "u1"), ("arg", "<u8"), ("site", "<u4"), ("signal_at", "<i8"),
        ("disposed_at", "<i8"), ("changed", "?"),
    ]
)  # fmt: skip

LATER = np.dtype([("id", "<u4"), ("at", "<i8"), ("flags", "u1"), ("arg", "<u8"), ("site", "<u4")])


@dataclass(slots=True)
class Life:
    """What is known of one greenlet. Names are ids of strings; positions count the records of its process."""

    id: int
    seen_ns: int
    name: int = 0
    function: int = 0
    is_hub: bool = False
    is_main: bool = False
    thread: int = 0
    thread_known: bool = False
    born_ns: int | None = None
    born_seen: bool = False
    spawner: int = 0
    spawn_site: int = 0
    started_at: int = FAR
    finished_at: int = FAR
    died_ns: int | None = None
    how: How | None = None
    error: int = 0
    gone: bool = False


class Telling(NamedTuple):
    """One RESOURCE record."""

    at: int
    flags: int
    arg: int
    site: int


_NOT_TOLD = Telling(-1, ResourceKind.UNKNOWN, (1 << 64) - 1, 0)


@dataclass(slots=True)
class Told:
    """What is known of one resource. `signal_at`: from then on, whoever likes may release it."""

    tellings: list[Telling] = field(default_factory=list)
    created_ns: int = 0
    signal_at: int = FAR
    disposed_at: int = FAR

    def at(self, position: int) -> Telling:
        """Return what was last told of it at or before a position."""
        for telling in reversed(self.tellings):
            if telling.at <= position:
                return telling
        return _NOT_TOLD


def resource_kind(flags: int) -> ResourceKind:
    code = flags & 0x1F
    return _KINDS[code] if code < len(_KINDS) else ResourceKind.UNKNOWN


def inferred(flags: int) -> bool:
    return bool(flags & FLAG_INFERRED)


def life_of(row: tuple[int, ...]) -> Life:
    """Return a row of `LIVES` as an object."""
    life = Life(*row)  # type: ignore[arg-type]
    life.born_ns = None if life.born_ns == _NEVER else life.born_ns
    life.died_ns = None if life.died_ns == _NEVER else life.died_ns
    how = row[15]
    life.how = _HOWS[how] if how < len(_HOWS) else None
    return life


def thawed(data: bytes | memoryview) -> Lives:
    """Return what was frozen. Raises `ValueError` when the bytes are nothing of the kind."""
    return Lives(*tables.decode(data, [LIVES, TELLINGS, LATER]))


class Lives:
    """The greenlets, resources and threads of one process: all of those that were there at some time of a stretch of the trace."""

    def __init__(self, greenlets: Array | None = None, resources: Array | None = None, later: Array | None = None) -> None:
        """Nothing is known; or what was `frozen`."""
        never = {"born_ns": _NEVER, "died_ns": _NEVER, "started_at": FAR, "finished_at": FAR, "how": _NO_HOW, "seen_ns": _NEVER}
        self._greenlets = Rows(LIVES, never, greenlets)
        self._resources = Rows(TELLINGS, {"at": -1, "signal_at": FAR, "disposed_at": FAR, "created_ns": _NEVER}, resources)
        self._later: dict[int, list[Telling]] = {}
        """What was told of a resource after it had first been told, and is something else."""
        for number, *telling in () if later is None else later.tolist():
            self._later.setdefault(number, []).append(Telling(*telling))
        self._settled = np.zeros(_SLOTS + 1, np.uint32)
        """Greenlets of whom a switch tells nothing new, each in the slot of its last bits."""
        self.threads: dict[int, tuple[int, int]] = {}
        """Thread index -> (position of its first record, native id)."""

    # ---- asking

    def greenlet(self, number: int) -> Life | None:
        """Return what is known of one greenlet, None if nothing is."""
        row = self._greenlets.find(number)
        return None if row is None else life_of(row.item())

    def rows(self) -> Array:
        """Return what is known of all greenlets, `LIVES`, by id."""
        return self._greenlets.all

    def greenlets(self, ids: Array) -> tuple[Array, Array]:
        """Return (a row of `LIVES` for each id, whether anything is known of it)."""
        return self._greenlets.at(ids)

    def resource(self, number: int) -> Told | None:
        """Return what is known of one resource, None if nothing is."""
        row = self._resources.find(number)
        return None if row is None else self._told(row.item())

    def _told(self, row: tuple[int, ...]) -> Told:
        number, created_ns, at, flags, arg, site, signal_at, disposed_at, changed = row
        tellings = [] if at < 0 else [Telling(at, flags, arg, site)]
        return Told(tellings + self._later[number] if changed else tellings, created_ns, signal_at, disposed_at)

    def resources(self, ids: Array) -> tuple[Array, Array]:
        """Return (a row of `TELLINGS` for each id, whether anything is known of it)."""
        return self._resources.at(ids)

    def standing(self, position: int) -> Array:
        """Return the ids, ascending, of the resources that there are at a position; names for somebody's end are none."""
        rows = self._resources.all
        rows = rows[(rows["at"] >= 0) & (rows["at"] <= position) & (rows["disposed_at"] > position)]
        is_join = rows["flags"] & 0x1F == ResourceKind.GREENLET
        for i in np.flatnonzero(rows["changed"]).tolist():
            is_join[i] |= any(resource_kind(telling.flags) == ResourceKind.GREENLET for telling in self._later[int(rows["id"][i])])
        return rows["id"][~is_join]

    def kinds(self, ids: Array) -> Array:
        """Return the `ResourceKind` of resources, u8, as it was told last; UNKNOWN where none was."""
        rows, _ = self._resources.at(ids)
        kinds = np.where(rows["at"] >= 0, rows["flags"] & 0x1F, ResourceKind.UNKNOWN)
        for i in np.flatnonzero(rows["changed"]).tolist():
            kinds[i] = self._later[int(ids[i])][-1].flags & 0x1F
        for number, kind in PREDEFINED.items():
            kinds[ids == number] = kind
        return np.where(kinds < len(_KINDS), kinds, ResourceKind.UNKNOWN).astype(np.uint8)

    def joins(self) -> dict[int, int]:
        """Return resource -> greenlet, for every name of somebody's end."""
        rows = self._resources.all
        rows = rows[(rows["at"] >= 0) & (rows["flags"] & 0x1F == ResourceKind.GREENLET)]
        found = dict(zip(rows["id"].tolist(), (rows["arg"] & _LOW).tolist(), strict=True))
        for number, tellings in self._later.items():
            for telling in tellings:
                if resource_kind(telling.flags) == ResourceKind.GREENLET:
                    found[number] = telling.arg & 0xFFFFFFFF
        return found

    # ---- letting go

    def frozen(self) -> bytes:
        """Return everything but the threads as bytes."""
        later = [(number, *telling) for number, tellings in sorted(self._later.items()) for telling in tellings]
        return tables.encode([self._greenlets.all, self._resources.all, np.array(later, LATER)])

    def gone(self) -> Array:
        """Return the rows, `LIVES`, of the greenlets that are gone."""
        return self._greenlets.all[self._greenlets.all["gone"]]

    def forget(self) -> None:
        """Let go of the greenlets and resources that are gone."""
        self._greenlets.drop(self._greenlets.all["gone"])
        self._settled[:] = 0
        ended = self._resources.all["disposed_at"] != FAR
        for number in self._resources.all["id"][ended & self._resources.all["changed"]].tolist():
            del self._later[number]
        self._resources.drop(ended)

    # ---- taking in

    def feed(self, first: int, columns: Columns, applied: Array) -> None:
        """Take in records whose first stands at position `first`; those not `applied` repeat what is known."""
        self._threads(first, columns)
        self._switched(columns)
        told = applied | (columns.flags & FLAG_KEY == 0)
        self._greenlets_told(first, columns, told & (columns.greenlet != 0))
        self._resources_told(first, columns, told)

    def _threads(self, first: int, columns: Columns) -> None:
        for index in np.flatnonzero(np.bincount(columns.thread, minlength=1)).tolist():
            if index not in self.threads:
                self.threads[index] = (first + int(np.argmax(columns.thread == index)), 0)

    def _seen(self, ids: Array, t_ns: Array) -> Array:
        """Return the rows of greenlets that were seen at these moments."""
        rows = self._greenlets.rows_of(ids)
        self._greenlets.lower("seen_ns", rows, t_ns)
        return rows

    def _switched(self, columns: Columns) -> None:
        """A greenlet belongs to the thread that switched to it; whoever is first met in a switch has a life from there on."""
        switches = np.flatnonzero((columns.kind == Kind.SWITCH) | (columns.kind == Kind.THROW))
        settled = np.empty(0, np.uint32)
        for column, entered in ((columns.greenlet, True), (columns.other, False)):
            ids = column[switches]
            new = np.flatnonzero(self._settled[ids & _SLOTS] != ids)
            ids, index = np.unique(ids[new], return_index=True)
            at = switches[new[index]]
            known = self._greenlets.known(ids)
            rows = self._seen(ids, columns.t_ns[at])
            table = self._greenlets.all
            fresh = ~table["thread_known"][rows] if entered else ~known
            table["thread"][rows[fresh]] = columns.thread[at[fresh]]
            table["thread_known"][rows[fresh]] = entered
            if entered:
                settled = ids
        self._settled[settled & _SLOTS] = settled

    def _of(self, columns: Columns, told: Array, kind: Kind) -> tuple[Array, Array]:
        """Return (positions, rows of the greenlets) of the records of a kind."""
        at = np.flatnonzero((columns.kind == kind) & told)
        return at, self._seen(columns.greenlet[at], columns.t_ns[at])

    def _greenlets_told(self, first: int, c: Columns, told: Array) -> None:
        self._on_thread(c, told)
        # Of several records of one greenlet the last one stands: numpy assigns in order.
        at, rows = self._of(c, told, Kind.STATE)
        lower = self._greenlets.lower
        state = c.flags[at] & 7
        nameless = (self._greenlets.all["spawner"][rows] == 0) & (c.other[at] != 0)
        self._greenlets.all["spawner"][rows[nameless][::-1]] = c.other[at[nameless]][::-1]
        self._greenlets.all["born_seen"][rows[state == State.CREATED]] = True
        begun = np.isin(state, _BEGUN) & (c.site[at] != 0)
        lower("started_at", rows[begun], at[begun] + first)
        lower("finished_at", rows[state == State.FINISHED], at[state == State.FINISHED] + first)
        at, rows = self._of(c, told, Kind.SPAWN)
        table = self._greenlets.all
        named = c.other[at] != 0
        table["spawner"][rows[named]] = c.other[at[named]]
        table["spawn_site"][rows], table["born_seen"][rows] = c.site[at], True
        born = c.flags[at] & FLAG_KEY == 0
        table["born_ns"][rows[born]] = c.t_ns[at[born]]
        at, rows = self._of(c, told, Kind.START)
        lower("started_at", rows, at + first)
        at, rows = self._of(c, told, Kind.FINISH)
        how, table = c.flags[at] & 0x3F, self._greenlets.all
        table["finished_at"][rows], table["died_ns"][rows], table["how"][rows] = at + first, c.t_ns[at], how
        table["error"][rows] = c.arg[at] & _LOW
        at, rows = self._of(c, told, Kind.COLLECT)
        self._greenlets.all["gone"][rows] = True
        at, rows = self._of(c, told, Kind.NAME)
        given, table = c.flags[at] & NAME_GIVEN != 0, self._greenlets.all
        table["name"][rows[given]] = c.arg[at[given]] & _LOW
        table["function"][rows[~given]] = c.arg[at[~given]] & _LOW
        at, rows = self._of(c, told, Kind.HUB)
        self._greenlets.all["is_hub"][rows] = True
        at, rows = self._of(c, told, Kind.THREAD)
        self._greenlets.all["is_main"][rows] = True
        for i in at.tolist():
            thread = int(c.thread[i])
            self.threads[thread] = (self.threads[thread][0], int(c.arg[i]))

    def _on_thread(self, c: Columns, told: Array) -> None:
        """Until somebody has switched to a greenlet, it belongs where it was made or told of."""
        at = np.flatnonzero(((c.kind == Kind.SPAWN) | (c.kind == Kind.STATE)) & told)
        rows = self._seen(c.greenlet[at], c.t_ns[at])
        unknown = ~self._greenlets.all["thread_known"][rows]
        self._greenlets.all["thread"][rows[unknown]] = c.thread[at[unknown]]

    def _resources_told(self, first: int, c: Columns, told: Array) -> None:
        is_telling = (c.kind == Kind.RESOURCE) & told
        foreign = (c.kind == Kind.RELEASE) & (c.flags & RELEASE_FOREIGN != 0)
        ended = (c.kind == Kind.DISPOSE) | (c.kind == Kind.FD_CLOSE)
        at = np.flatnonzero(is_telling | foreign | ended)
        rows = self._resources.rows_of(c.other[at])
        lower = self._resources.lower
        lower("created_ns", rows, c.t_ns[at])
        signal = foreign[at] | (is_telling[at] & (c.flags[at] & RESOURCE_SIGNAL != 0))
        lower("signal_at", rows[signal], at[signal] + first)
        self._resources.all["disposed_at"][rows[ended[at]]] = at[ended[at]] + first
        self._tellings(first, c, at[is_telling[at]], rows[is_telling[at]])

    def _tellings(self, first: int, c: Columns, at: Array, rows: Array) -> None:
        """Keep what is told of each resource, and what is told later and is something else."""
        order = np.argsort(rows, kind="stable")
        at, rows, table = at[order], rows[order], self._resources.all
        flags, arg, site = c.flags[at] & np.uint8(~FLAG_KEY & 0xFF), c.arg[at], c.site[at]
        leads = np.ones(len(rows), bool)
        leads[1:] = rows[1:] != rows[:-1]
        new = leads & (table["at"][rows] < 0)
        into = rows[new]
        table["at"][into], table["flags"][into], table["arg"][into], table["site"][into] = at[new] + first, flags[new], arg[new], site[new]
        same = np.zeros(len(rows), bool)
        same[1:] = (flags[1:] == flags[:-1]) & (arg[1:] == arg[:-1]) & (site[1:] == site[:-1])
        was = table[rows]
        as_was = (was["flags"] == flags) & (was["arg"] == arg) & (was["site"] == site) & ~was["changed"]
        other = np.where(leads, ~as_was, ~same)
        for i in np.flatnonzero(other).tolist():
            number, telling = int(table["id"][rows[i]]), Telling(int(at[i]) + first, int(flags[i]), int(arg[i]), int(site[i]))
            later = self._later.setdefault(number, [])
            if not later or later[-1][1:] != telling[1:]:
                later.append(telling)
                table["changed"][rows[i]] = True
