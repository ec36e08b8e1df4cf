"""Cast: who plays which part in the picture of a wait-for graph, and what hangs together.

In:  a waits.Graph. Out: the greenlets and resources to draw, those that are drawn as one, and the parts of the picture.
Never: a colour or a word of the picture; `wait_graph` draws.

    alike     greenlets that wait for the same thing at the same line and hold nothing: one node, "20 GREENLETS"
    parts     what hangs together by waits and holds; parts that look the same (20 workers, each at a queue of its own) are drawn once
    folds     a long ring stands in several columns; where it goes from one to the next there is a numbered circle at both ends
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil, sqrt

from greentrace.events import ResourceKind, State
from greentrace.export.words import STATE_WORDS
from greentrace.lifecycle import ENDED
from greentrace.replay.model import Graph, GreenletNow, Key, ResourceNow

_DRAWN_KINDS = frozenset(ResourceKind) - {ResourceKind.UNKNOWN, ResourceKind.SWITCH, ResourceKind.SLEEP, ResourceKind.FD}

_COLUMNS = 4
"""Parts stand in so many columns."""
_FOLD = 6
"""A ring of more members than this is folded."""


@dataclass(frozen=True)
class Part:
    """What hangs together. `times`: how many parts look like this one, itself included. `depth`: nodes from the top to the bottom."""

    greenlets: tuple[Key, ...]
    resources: tuple[Key, ...]
    top: str
    bottom: str
    depth: int
    times: int = 1

    @property
    def nodes(self) -> list[str]:
        return [*map(greenlet_node, self.greenlets), *map(resource_node, self.resources)]


def greenlet_node(key: Key) -> str:
    """Return the name of a greenlet's node: greenlets and resources have keys of their own."""
    return f"g{key}"


def resource_node(key: Key) -> str:
    return f"r{key}"


@dataclass
class Cast:
    """Who plays which part in the picture."""

    graph: Graph
    ring: set[Key] = field(default_factory=set)
    ring_resources: set[Key] = field(default_factory=set)
    victims: set[Key] = field(default_factory=set)
    greenlets: dict[Key, GreenletNow] = field(default_factory=dict)
    resources: dict[Key, ResourceNow] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    alike: dict[Key, list[GreenletNow]] = field(default_factory=dict)
    """The first of several greenlets that wait alike and hold nothing -> all of them: they are drawn as one."""
    columns: list[list[Part]] = field(default_factory=list)
    folds: dict[tuple[str, str], int] = field(default_factory=dict)
    """Edge at which a long ring begins a new column, or closes -> the number of the circle at both of its ends."""
    times: dict[str, int] = field(default_factory=dict)
    """Node -> how many look like it, itself included."""

    def __post_init__(self) -> None:
        world = self.graph.world
        for deadlock in self.graph.deadlocks:
            self.ring |= set(deadlock.greenlets)
            self.ring_resources |= set(deadlock.resources)
            self.victims |= set(deadlock.victims)
        self.victims |= set(self.graph.doomed) - self.ring
        for greenlet in world.greenlets.values():
            if greenlet.state in ENDED:
                continue
            wanted = [world.resources[wait.resource] for wait in greenlet.waits if wait.resource in world.resources]
            drawn = [resource for resource in wanted if resource.kind in _DRAWN_KINDS]
            if greenlet.state == State.PARKED and (drawn or greenlet.key in self.ring or greenlet.key in self.victims):
                self.greenlets[greenlet.key] = greenlet
                for resource in drawn:
                    self.resources[resource.key] = resource
            elif not greenlet.is_hub:
                self.left_out["network" if any(r.kind == ResourceKind.FD for r in wanted) else self._idle(greenlet)] += 1
        for resource in self.resources.values():
            for holder in resource.holders:
                if holder.greenlet in world.greenlets:
                    self._bring(world.greenlets[holder.greenlet])
            if resource.greenlet is not None and resource.greenlet in world.greenlets:
                self._bring(world.greenlets[resource.greenlet])
        self._group()
        self._fold()
        self._stand()

    def _group(self) -> None:
        """Draw as one those who wait for the same at the same line and hold nothing that anybody waits for."""
        needed = {holder.greenlet for resource in self.resources.values() for holder in resource.holders}
        needed |= {resource.greenlet for resource in self.resources.values() if resource.greenlet is not None}
        groups: dict[tuple[object, ...], list[GreenletNow]] = {}
        for greenlet in self.greenlets.values():
            if greenlet.key not in self.ring and greenlet.key not in needed and greenlet.state == State.PARKED:
                wanted = tuple((wait.resource, wait.op, wait.deadline_ns is None, wait.observed) for wait in greenlet.waits)
                groups.setdefault((greenlet.process, wanted, greenlet.label, greenlet.site, greenlet.key in self.victims), []).append(
                    greenlet
                )
        for group in groups.values():
            if len(group) > 1:
                self.alike[group[0].key] = group
                for greenlet in group[1:]:
                    del self.greenlets[greenlet.key]

    def _bring(self, greenlet: GreenletNow) -> None:
        """Draw a holder that was left out before."""
        if greenlet.key not in self.greenlets:
            self.greenlets[greenlet.key] = greenlet
            if greenlet.state not in ENDED and not greenlet.is_hub:
                wanted = [self.graph.world.resources.get(wait.resource) for wait in greenlet.waits]
                self.left_out["network" if any(r and r.kind == ResourceKind.FD for r in wanted) else self._idle(greenlet)] -= 1

    @staticmethod
    def _idle(greenlet: GreenletNow) -> str:
        return "sleep" if greenlet.state == State.PARKED else STATE_WORDS[greenlet.state]

    # ---- how it stands

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield (from, to) of every line of the picture: greenlet to what it waits for, resource to who holds (or is) it."""
        for key, greenlet in self.greenlets.items():
            for wait in greenlet.waits if greenlet.state == State.PARKED else ():
                if wait.resource in self.resources:
                    yield greenlet_node(key), resource_node(wait.resource)
        for key, resource in self.resources.items():
            for holder in dict.fromkeys([*(holder.greenlet for holder in resource.holders), resource.greenlet]):
                if holder in self.greenlets and holder is not None:
                    yield resource_node(key), greenlet_node(holder)

    def _fold(self) -> None:
        """Say where the rings turn, so that a ring of thirty is no ribbon."""
        for deadlock in self.graph.deadlocks:
            members = len(deadlock.greenlets)
            rows = max(_FOLD, ceil(sqrt(members)))
            for i, resource in enumerate(deadlock.resources if members > _FOLD else ()):
                if (i + 1) % rows == 0 or i + 1 == members:
                    after = deadlock.greenlets[(i + 1) % members]
                    self.folds[resource_node(resource), greenlet_node(after)] = len(self.folds) + 1

    def _stand(self) -> None:
        """Put the parts into columns: deadlocks first, then the deepest, each below the shortest column."""
        parts = self._parts()
        self.columns = [[] for _ in range(_COLUMNS)]
        heights = [0] * _COLUMNS
        for part in parts:
            column = heights.index(min(heights))
            self.columns[column].append(part)
            heights[column] += part.depth
        # One of those that look alike stands for all.
        self.times = {node: part.times for part in parts for node in part.nodes}
        self.greenlets = {key: g for key, g in self.greenlets.items() if greenlet_node(key) in self.times}
        self.resources = {key: r for key, r in self.resources.items() if resource_node(key) in self.times}

    def _parts(self) -> list[Part]:
        after: dict[str, list[str]] = defaultdict(list)
        around: dict[str, list[str]] = defaultdict(list)
        for tail, head in self.edges():
            around[tail].append(head)
            around[head].append(tail)
            if (tail, head) not in self.folds:
                after[tail].append(head)
        names = {greenlet_node(key): key for key in self.greenlets} | {resource_node(key): key for key in self.resources}
        seen: set[str] = set()
        alike: dict[object, list[Part]] = {}
        # A deadlock is looked at from its first member, everything else from whoever waits and is not waited for.
        waited = {head for heads in after.values() for head in heads}
        order = sorted(names, key=lambda name: (not (name[0] == "g" and names[name] in self.ring), name in waited, name[0] != "g"))
        for name in order:
            if name not in seen:
                members = _reached(name, around)
                seen.update(members)
                bottom, depth = _deepest(name, after)
                greenlets = tuple(names[member] for member in members if member[0] == "g")
                resources = tuple(names[member] for member in members if member[0] == "r")
                part = Part(greenlets, resources, name, bottom, depth)
                alike.setdefault(self._look(part), []).append(part)
        found = [replace(parts[0], times=len(parts)) for parts in alike.values()]
        return sorted(found, key=lambda part: (self.ring.isdisjoint(part.greenlets), -part.depth, -len(part.greenlets)))

    def _look(self, part: Part) -> object:
        """Return a value that is the same for parts of which one can stand for all."""
        if not (self.ring | self.victims).isdisjoint(part.greenlets):
            return part
        people = [self.greenlets[key] for key in part.greenlets]
        things = [self.resources[key] for key in part.resources]
        # The name and the function, not the label: of the nameless it has the number.
        who = Counter((g.name, g.function, g.site, g.state, len(self.alike.get(g.key, (g,)))) for g in people)
        what = Counter((r.kind, r.capacity, r.site, r.signal, len(r.holders)) for r in things)
        return frozenset(who.items()), frozenset(what.items())


def _reached(start: str, around: dict[str, list[str]]) -> list[str]:
    found = {start: None}
    work = [start]
    while work:
        for name in around[work.pop()]:
            if name not in found:
                found[name] = None
                work.append(name)
    return list(found)


def _deepest(top: str, after: dict[str, list[str]]) -> tuple[str, int]:
    """Return (the node farthest below, how many nodes the way there has)."""
    depth = {top: 1}
    work = [top]
    for name in work:
        for below in after[name]:
            if below not in depth:
                depth[below] = depth[name] + 1
                work.append(below)
    return work[-1], depth[work[-1]]
