"""Lints: what is wrong, said once, with the events that show it.

In:  a `History` and the deadlocks that stand at its end.
Out: `Finding`s, the gravest first. `LINTS` is the catalogue.
Never: a finding across a gap, or from what began before the trace did. Each lint says less than it could rather than more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from greentrace.events import HELD, How, Kind, ResourceKind, State
from greentrace.lifecycle import ENDED
from greentrace.replay import waits
from greentrace.replay.history import History
from greentrace.replay.lints_runs import Seen, blocked_runs, entered_at, seen_runs
from greentrace.replay.lints_stuck import with_nobody_able
from greentrace.replay.lives import life_of
from greentrace.replay.model import Deadlock, Finding, Graph, GreenletNow, Key, Level, key_of, split_key
from greentrace.replay.process import ProcessHistory
from greentrace.replay.source import Told, untold
from greentrace.replay.state import ever
from greentrace.replay.suspects import orphaned, stuck
from greentrace.replay.verdict import listed, seconds

STUCK_NS = 5_000_000_000
BLOCKED_NS = 100_000_000
SAME_NS = 1_000_000
"""A run that the watchdog saw and one between two switches are the same if they began within this time."""
_FRAMES = 8
_MOST_EVENTS = 5
_MOST = 20
"""More findings of one lint than this are summed up in the last one."""

_STICKY = HELD | {
    ResourceKind.POOL, ResourceKind.EVENT, ResourceKind.RESULT, ResourceKind.QUEUE, ResourceKind.CONDITION, ResourceKind.CHANNEL,
    ResourceKind.GREENLET,
}  # fmt: skip
"""What one can be stuck on: an fd, a clock or a signal comes from outside and may take its time."""
_IS_STICKY = np.isin(np.arange(256), sorted(_STICKY))


@dataclass
class Scene:
    """What the lints look at: the graph of each process as its last event left it."""

    history: History
    deadlocks: list[Deadlock]
    graphs: dict[int, Graph] = field(init=False)

    def __post_init__(self) -> None:
        self.graphs = {h.index: waits.graph(self.history.last_world(h.index)) for h in self.history.histories if h.count}

    def events_of(self, kind: Kind) -> Iterator[tuple[ProcessHistory, int]]:
        """Yield (process, position) of every event of a kind."""
        for h in self.history.histories:
            for segment in h.having(kind):
                for p in np.flatnonzero(segment.columns.kind == kind).tolist():
                    yield h, segment.first + p

    def since(self, now: GreenletNow) -> tuple[int, ...]:
        """Return the number of the event that gave a greenlet its state, if it is in the trace."""
        return () if now.since_at is None else (self.history.number(now.process, now.since_at),)

    def label(self, key: Key) -> str:
        return self.history.greenlet(key).label

    def pid(self, process: int) -> int:
        return self.history.histories[process].feed.pid


def _deadlock(scene: Scene) -> Iterator[Finding]:
    for found in scene.deadlocks:
        world = scene.graphs[found.process].world
        events = {event for key in found.greenlets for event in scene.since(world.greenlets[key])}
        if found.closed_event is not None:
            events.add(found.closed_event)
        resources = tuple(dict.fromkeys(found.resources))
        yield Finding("deadlock", "error", found.closed_ns, found.text, found.greenlets, resources, found.victims, tuple(sorted(events)))


def _suspected(scene: Scene) -> Iterator[Finding]:
    for graph in scene.graphs.values():
        for found in waits.suspected(graph):
            events = sorted({event for key in found.greenlets for event in scene.since(graph.world.greenlets[key])})
            resources = tuple(dict.fromkeys(found.resources))
            yield Finding(
                "suspected-deadlock", "warning", found.closed_ns, found.text, found.greenlets, resources, found.victims, tuple(events)
            )


def _hub_exhausted(scene: Scene) -> Iterator[Finding]:
    for process, graph in scene.graphs.items():
        if process not in graph.exhausted:
            continue
        parked = sorted(
            (now for now in graph.world.greenlets.values() if now.state == State.PARKED and not now.is_hub), key=lambda now: now.since_ns
        )
        last = parked[-1]
        lines = [
            f"The hub of process {scene.pid(process)} can never turn again: {listed([now.label for now in parked])} "
            f"{'is' if len(parked) == 1 else 'are'} parked since {seconds(graph.world, last.since_ns)}, and there is no timer, "
            "no listener, nothing runnable and no other thread."
        ]
        for now in parked[:_MOST]:
            lines.append(f"  {now.label} waits for {listed([_what(graph, wait.resource) for wait in now.waits])}")
        lines.append("  assumed: no signal handler and no thread that was not seen wakes one of them")
        keys, resources = tuple(now.key for now in parked), tuple(dict.fromkeys(w.resource for now in parked for w in now.waits))
        yield Finding("hub-exhausted", "error", last.since_ns, "\n".join(lines), keys, resources, (), scene.since(last))


def _what(graph: Graph, key: Key) -> str:
    resource = graph.world.resources.get(key)
    return resource.label if resource else "something unknown"


def _held_by_dead(scene: Scene) -> Iterator[Finding]:
    for process, graph in scene.graphs.items():
        if process not in graph.world.whole:
            continue
        for number in orphaned(scene.history.last_rows(process)).tolist():
            resource = graph.world.resources[key_of(process, number)]
            if resource.kind not in HELD or resource.signal:
                continue
            dead = [h for h in resource.holders if (now := graph.world.greenlets.get(h.greenlet)) and now.state in ENDED]
            if not dead:
                continue
            holder = dead[0]
            gone = scene.history.greenlet(holder.greenlet)
            ended = f" at {seconds(graph.world, gone.died_ns)}" if gone.died_ns is not None else ""
            how = {How.EXCEPTION: " with an exception", How.KILLED: " (killed)"}.get(gone.how, "") if gone.how is not None else ""
            waiters = [graph.world.label(key) for key in resource.waiters]
            text = (
                f"{gone.label} finished{ended}{how} and still holds the {resource.label}; "
                f"{listed(waiters)} {'waits' if len(waiters) == 1 else 'wait'} for it.\n"
                f"  held since {seconds(graph.world, holder.since_ns)}" + (f", taken at {holder.site[0]}" if holder.site else "")
            )
            t_ns = max([gone.died_ns or holder.since_ns, *(graph.world.greenlets[key].since_ns for key in resource.waiters)])
            events = tuple(event for key in resource.waiters for event in scene.since(graph.world.greenlets[key]))
            yield Finding("held-by-dead", "error", t_ns, text, (holder.greenlet,), (resource.key,), resource.waiters, events)


def _stuck(scene: Scene) -> Iterator[Finding]:
    for process, graph in scene.graphs.items():
        if process not in graph.world.whole:
            continue
        h = scene.history.histories[process]
        stretch = next((segment.t0_ns for segment in reversed(h.segments) if segment.fresh), h.start_ns)
        if h.last_ns - stretch <= STUCK_NS:
            continue
        rows = scene.history.last_rows(process)
        ids = stuck(rows, h.last_ns - STUCK_NS, _IS_STICKY)
        doomed = np.array([split_key(key)[1] for key in graph.doomed if split_key(key)[0] == process], np.uint32)
        for number, able in sorted(with_nobody_able(h, rows, np.setdiff1d(ids, doomed)).items()):
            now = graph.world.greenlets[key_of(process, number)]
            living = [other for key in able if (other := graph.world.greenlets.get(key_of(process, key))) and other.state not in ENDED]
            since = f"parked for {(h.last_ns - now.since_ns) / 1e9:.1f} s on {listed([_what(graph, w.resource) for w in now.waits])}"
            who = f"{listed(sorted(other.label for other in living))} could, and did not run since" if living else "nobody known could"
            text = f"{now.label} is {since}, without a deadline, and nobody known to be able to wake it has run: {who}."
            resources = tuple(dict.fromkeys(wait.resource for wait in now.waits))
            yield Finding("stuck", "warning", now.since_ns, text, (now.key,), resources, (), scene.since(now))


class _Held(NamedTuple):
    """A thread was held for so long by one greenlet. `is_whole`: its begin and its end are events."""

    ns: int
    since_ns: int
    seen: Seen | None
    is_whole: bool


def _told_at(h: ProcessHistory, number: int, held: _Held) -> int:
    """Return the position of the event that let a greenlet run; of a run that was only seen, of the one that told so."""
    if held.seen is not None and not held.is_whole:
        return held.seen.position
    found = entered_at(h, number, held.since_ns)
    if found < 0:
        found = int(h.positions(number, np.array([held.since_ns], np.uint64), np.array([-1]))[0])
    return found if found >= 0 else max(h.count_until(held.since_ns, "right") - 1, 0)


def _hub_blocked(scene: Scene) -> Iterator[Finding]:
    for h in scene.history.histories:
        by_greenlet: dict[int, list[_Held]] = {}
        unmatched = seen_runs(h)
        for run in blocked_runs(h, BLOCKED_NS):
            mine = [seen for seen in unmatched if seen.greenlet == run.greenlet and abs(seen.since_ns - run.since_ns) < SAME_NS]
            unmatched = [seen for seen in unmatched if seen not in mine]
            ns = max([run.ns, *(seen.ns for seen in mine)])
            by_greenlet.setdefault(run.greenlet, []).append(_Held(ns, run.since_ns, mine[-1] if mine else None, True))
        for seen in unmatched:
            # The hub itself called what took so long, or it is not over, or nobody saw it begin.
            by_greenlet.setdefault(seen.greenlet, []).append(_Held(seen.ns, seen.since_ns, seen, False))
        for number, runs in by_greenlet.items():
            runs.sort(key=lambda held: (held.ns, held.since_ns))
            longest, key = runs[-1], key_of(h.index, number)
            at = [_told_at(h, number, held) for held in runs[-_MOST_EVENTS:]]
            record = h.record(at[-1])
            times = f" ({len(runs)} times, {sum(held.ns for held in runs) / 1e9:.3f} s in all)" if len(runs) > 1 else ""
            text = (
                f"{scene.label(key)} ran for {longest.ns / 1e9:.3f} s without switching{times}: "
                f"nothing else could run in thread {record.thread} meanwhile."
            )
            if longest.seen is not None:
                frames = [str(frame) for frame in h.names.stack(longest.seen.site) if not frame.runtime]
                called = ", called by ".join(frames[:_FRAMES]) or "in no Python function"
                text += f"\n  seen in the act after {longest.seen.ns / 1e9:.3f} s: {called}"
                at.append(longest.seen.position)
            events = tuple(sorted({scene.history.number(h.index, one) for one in at}))
            yield Finding("hub-blocked", "warning", record.t_ns, text, (key,), (), (), events)


def _died_unobserved(scene: Scene) -> Iterator[Finding]:
    for h in scene.history.histories:
        if h.gaps:
            continue
        rows = h.ages.rows()
        rows = rows[(rows["how"] == How.EXCEPTION) & ~rows["is_main"]]
        dead = {row[0]: life_of(row) for row in rows.tolist()}
        ends = {join: number for lives in h.ages.every() for join, number in lives.joins().items() if number in dead} if dead else {}
        joins = np.array(list(ends), np.uint32)
        for segment in h.naming(resources=ends) if ends else ():
            c = segment.columns
            for join in np.unique(c.other[(c.kind == Kind.PARK) & np.isin(c.other, joins)]).tolist():
                dead.pop(ends[join], None)
        for life in dead.values():
            gone = ever(h, life)
            error = f": {gone.error}" if gone.error else ""
            spawned = f"\n  created at {gone.spawned_at[0]}" if gone.spawned_at else ""
            text = f"{gone.label} ended with an exception{error}, and nobody was waiting for it.{spawned}"
            events = (scene.history.number(h.index, life.finished_at),)
            yield Finding("died-unobserved", "info", gone.died_ns or h.start_ns, text, (gone.key,), (), (), events)


def _trace_loss(scene: Scene) -> Iterator[Finding]:
    for h in scene.history.histories:
        if h.gaps:
            lost = sum(gap.lost for gap in h.gaps)
            events = tuple(scene.history.number(h.index, at) for other, at in scene.events_of(Kind.GAP) if other is h)[:_MOST]
            gaps = "1 gap" if len(h.gaps) == 1 else f"{len(h.gaps)} gaps"
            text = f"{lost:,} events of process {h.feed.pid} were lost in {gaps}; nothing is claimed across. A larger --ring loses less."
            yield Finding("trace-loss", "warning", h.gaps[0].t_ns, text, (), (), (), events)


def _told(kind: Kind, lint: str, words: str) -> Callable[[Scene], Iterator[Finding]]:
    """Return a lint that reports what an event says outright."""

    def look(scene: Scene) -> Iterator[Finding]:
        for h, position in scene.events_of(kind):
            record = h.record(position)
            what = h.names.string(record.arg & 0xFFFFFFFF) or "what was not told"
            who = (key_of(h.index, record.greenlet),) if record.greenlet else ()
            text = words.format(what=what, who=scene.label(who[0]) if who else "The hub", thread=record.thread, pid=h.feed.pid)
            yield Finding(lint, "warning", record.t_ns, text, who, (), (), (scene.history.number(h.index, position),))

    return look


class Lint(NamedTuple):
    """One row of the catalogue."""

    name: str
    level: Level
    sentence: str
    look: Callable[[Scene], Iterable[Finding]]
    on: bool = True


_ROWS: tuple[Lint, ...] = (
    Lint("deadlock", "error", "Greenlets wait for each other, or one for itself, and will for ever. Proven.", _deadlock),
    Lint("hub-exhausted", "error", "Everybody is parked and nothing is left that could wake anybody. Proven.", _hub_exhausted),
    Lint("held-by-dead", "error", "A greenlet finished while it held what others wait for.", _held_by_dead),
    Lint("suspected-deadlock", "warning", "Greenlets wait for each other as far as is known. How many may hold what they wait for is not.",
         _suspected),
    Lint("stuck", "warning", "Parked for more than 5 s without a deadline, and nobody known to be able to wake it has run since.", _stuck),
    Lint("hub-blocked", "warning", "A greenlet ran for more than 100 ms without switching: its whole thread waited.", _hub_blocked),
    Lint("error-in-hub", "warning", "The hub printed an exception and went on.",
         _told(Kind.ERROR, "error-in-hub", "{who} printed an exception of process {pid} and went on: {what}.")),
    Lint("displaced", "warning", "Another tracer took our place: what happened in that thread from then on is missing.",
         _told(Kind.DISPLACED, "displaced",
               "Another tracer ({what}) took our place in thread {thread} of process {pid}: events are missing from then on.")),
    Lint("trace-loss", "warning", "Events were overwritten before they could be saved.", _trace_loss),
    Lint("died-unobserved", "info", "A greenlet ended with an exception and nobody waited for it.", _died_unobserved),
)  # fmt: skip

LINTS: dict[str, Lint] = {lint.name: lint for lint in _ROWS}
"""The catalogue, by name."""

_LEVELS: tuple[Level, ...] = ("error", "warning", "info")


def findings(
    history: History, deadlocks: list[Deadlock], allow: Iterable[str] = (), warn: Iterable[str] = (), told: Told = untold
) -> list[Finding]:
    """Return what the lints find, by level and time, deadlocks first.

    Those in `allow` are not asked; those in `warn` are, on or off, and what they find is a warning. `told` hears how much is done.
    """
    allowed, raised = set(allow), set(warn)
    scene = Scene(history, deadlocks)
    found: list[Finding] = []
    for number, lint in enumerate(_ROWS):
        told(number / len(_ROWS))
        if lint.name in raised or (lint.on and lint.name not in allowed):
            one = sorted(lint.look(scene), key=lambda finding: finding.t_ns)
            found += [_as(finding, "warning") for finding in one] if lint.name in raised else one
    return sorted(found, key=lambda finding: (_LEVELS.index(finding.level), finding.lint != "deadlock", finding.t_ns))


def _as(finding: Finding, level: Level) -> Finding:
    return Finding(finding.lint, level, finding.t_ns, finding.text, finding.greenlets, finding.resources, finding.victims, finding.events)
