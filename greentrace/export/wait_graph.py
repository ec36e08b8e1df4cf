"""Wait graph: who waits for whom at one moment, as a DOT graph.

In:  a waits.Graph and a caption. Out: a graphviz.Digraph.
A deadlock is told three times: by colour, by shape (double frame, thick lines) and by the word. Victims stand apart in a
dashed frame. Greenlets that only sleep or wait for the network are counted, not drawn: nobody holds what they wait for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import graphviz

from greentrace.events import ResourceKind, State
from greentrace.export.words import STATE_WORDS, clipped, duration, state_words
from greentrace.replay.model import Graph, GreenletNow, Key, ResourceNow

FONT = "Arial"
"""A name whose widths every renderer knows: text must not run out of its frame."""
INK, FAINT = "#24292f", "#6e7781"
RED, RED_FILL = "#b3261e", "#fde7e4"
AMBER, AMBER_FILL = "#9a6700", "#fff4d6"
CALM, CALM_FILL = "#57606a", "#f6f8fa"
LOCK_FILL = "#e8f0fe"
GREEN_FILL = "#dafbe1"

_DRAWN_KINDS = frozenset(ResourceKind) - {ResourceKind.UNKNOWN, ResourceKind.SWITCH, ResourceKind.SLEEP, ResourceKind.FD}


@dataclass
class _Cast:
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

    def __post_init__(self) -> None:
        world = self.graph.world
        for deadlock in self.graph.deadlocks:
            self.ring |= set(deadlock.greenlets)
            self.ring_resources |= set(deadlock.resources)
            self.victims |= set(deadlock.victims)
        self.victims |= set(self.graph.doomed) - self.ring
        for greenlet in world.greenlets.values():
            if greenlet.state in (State.FINISHED, State.COLLECTED):
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
            if greenlet.state not in (State.FINISHED, State.COLLECTED) and not greenlet.is_hub:
                wanted = [self.graph.world.resources.get(wait.resource) for wait in greenlet.waits]
                self.left_out["network" if any(r and r.kind == ResourceKind.FD for r in wanted) else self._idle(greenlet)] -= 1

    @staticmethod
    def _idle(greenlet: GreenletNow) -> str:
        return "sleep" if greenlet.state == State.PARKED else STATE_WORDS[greenlet.state]


def _lines(*lines: str) -> str:
    """Return a DOT label of left-aligned lines; what users named cannot break out of it."""
    return "".join(graphviz.escape(line) + r"\l" for line in lines if line)


def _greenlet_node(dot: graphviz.Digraph, cast: _Cast, greenlet: GreenletNow) -> None:
    world = cast.graph.world
    site = greenlet.site
    group = cast.alike.get(greenlet.key, [greenlet])
    first = clipped(greenlet.label, 44) + (f"  #{greenlet.id}" if len(group) == 1 else "")
    spawned = next((f for f in greenlet.spawned_at if not f.runtime and not f.library), None)
    lines = [first]
    if greenlet.function and greenlet.function != greenlet.label:
        lines.append(clipped(greenlet.function, 48))
    if greenlet.key not in cast.ring and greenlet.key not in cast.victims:
        lines.append(clipped(state_words(world, greenlet), 52))
    if site is not None:
        lines.append(f"at {clipped(site.place, 44)}")
    since = min(now.since_ns for now in group)
    lines.append(f"for {'up to ' if len(group) > 1 else ''}{duration(max(world.t_ns - since, 0))}")
    if spawned is not None:
        lines.append(f"spawned at {clipped(spawned.place, 40)}")
    style: dict[str, str] = {"shape": "box", "style": "rounded,filled", "color": CALM, "fillcolor": CALM_FILL}
    if len(group) > 1:
        numbers = ", ".join(f"#{now.id}" for now in group[:6]) + (" …" if len(group) > 6 else "")
        lines.insert(0, f"{len(group)} GREENLETS  {numbers}")
        style["peripheries"] = "1"
    if greenlet.key in cast.ring:
        lines.insert(0, "DEADLOCKED")
        style |= {"style": "filled", "color": RED, "fillcolor": RED_FILL, "penwidth": "2.4", "peripheries": "2"}
    elif greenlet.key in cast.victims:
        lines.insert(0, "VICTIM" if len(group) == 1 else "VICTIMS")
        style |= {"style": "rounded,filled,dashed", "color": AMBER, "fillcolor": AMBER_FILL, "penwidth": "1.6"}
    elif greenlet.state in (State.RUNNING, State.RUNNABLE):
        style |= {"fillcolor": GREEN_FILL}
    dot.node(f"g{greenlet.key}", label=_lines(*lines), **style)


def _resource_node(dot: graphviz.Digraph, cast: _Cast, resource: ResourceNow) -> None:
    frame = next((f for f in resource.site if not f.runtime and not f.library), None)
    lines = [f"{resource.word} #{resource.id}" + (f" of {resource.capacity}" if resource.capacity and resource.capacity > 1 else "")]
    if resource.kind == ResourceKind.GREENLET:
        lines = [clipped(resource.label, 44)]
    elif frame is not None:
        lines.append(f"{'created' if resource.site_observed else 'first seen'} at {clipped(frame.place, 40)}")
    if resource.signal:
        lines.append("used as a signal")
    in_ring = resource.key in cast.ring_resources
    dot.node(
        f"r{resource.key}",
        label=_lines(*lines),
        shape="box",
        style="filled,diagonals",
        color=RED if in_ring else CALM,
        fillcolor=RED_FILL if in_ring else LOCK_FILL,
        penwidth="2.4" if in_ring else "1",
    )


def _edges(dot: graphviz.Digraph, cast: _Cast) -> None:
    world = cast.graph.world
    for greenlet in cast.greenlets.values():
        for wait in greenlet.waits if greenlet.state == State.PARKED else ():
            if wait.resource not in cast.resources:
                continue
            red = greenlet.key in cast.ring and wait.resource in cast.ring_resources
            label = "waits for" + (f"\nuntil {duration(wait.deadline_ns - world.t_ns)} from now" if wait.deadline_ns else "")
            _edge(dot, f"g{greenlet.key}", f"r{wait.resource}", label, red, wait.observed, "vee")
    for resource in cast.resources.values():
        holds = Counter(holder.greenlet for holder in resource.holders)
        for holder in resource.holders:
            if holder.greenlet not in cast.greenlets or not holds[holder.greenlet]:
                continue
            times = holds[holder.greenlet]
            holds[holder.greenlet] = 0
            frame = next((f for f in holder.site if not f.runtime and not f.library), None)
            label = "held" + (f" {times} times" if times > 1 else "") + f" for {duration(max(world.t_ns - holder.since_ns, 0))}"
            label += f"\ntaken at {frame.place}" if frame is not None else ""
            red = resource.key in cast.ring_resources and holder.greenlet in cast.ring
            _edge(dot, f"r{resource.key}", f"g{holder.greenlet}", label, red, holder.observed, "dot")
        if resource.greenlet in cast.greenlets:
            red = resource.key in cast.ring_resources and resource.greenlet in cast.ring
            _edge(dot, f"r{resource.key}", f"g{resource.greenlet}", "is the end of", red, True, "dot")


def _edge(dot: graphviz.Digraph, tail: str, head: str, label: str, red: bool, observed: bool, arrow: str) -> None:
    dot.edge(
        tail,
        head,
        label="".join(f"  {graphviz.escape(clipped(line, 40))}\\l" for line in label.split("\n")),
        color=RED if red else CALM,
        fontcolor=RED if red else CALM,
        penwidth="2.6" if red else "1.2",
        style="solid" if observed else "dashed",
        arrowhead="normal" if arrow == "vee" else "dot",
    )


def _legend(dot: graphviz.Digraph, cast: _Cast) -> None:
    lines = [
        "Legend",
        "double red frame: deadlocked, proven",
        "dashed amber frame: victim, waits behind a deadlock",
        "rounded frame: another greenlet that holds or waits",
        "cut corners: what one waits for (a lock, a queue, a greenlet's end)",
        "arrow: waits for    dot: held by    dashed line: inferred",
    ]
    idle = [f"{number:,} {what}" for what, number in sorted(cast.left_out.items()) if number > 0]
    if idle:
        lines.append("not drawn: " + ", ".join(idle))
    dot.node("legend", label=_lines(*lines), shape="note", color=FAINT, fontcolor=FAINT, fontsize="9", fillcolor="white", style="filled")


def draw(graph: Graph, caption: str) -> graphviz.Digraph:
    """Return the picture of a wait-for graph, with `caption` (the moment, the file) below the verdict."""
    cast = _Cast(graph)
    verdict = "; ".join(deadlock.line for deadlock in graph.deadlocks) or "No deadlock."
    title = _lines(*_wrapped(verdict, 100), caption)
    dot = graphviz.Digraph("waits", comment="who waits for whom")
    dot.attr(bgcolor="white", pad="0.3", nodesep="0.35", ranksep="0.5")
    dot.attr(label=title, labelloc="t", labeljust="l", fontname=FONT, fontsize="13", fontcolor=RED if graph.deadlocks else INK)
    dot.attr("node", fontname=FONT, fontsize="11", fontcolor=INK, margin="0.14,0.08")
    dot.attr("edge", fontname=FONT, fontsize="9", arrowsize="0.7")
    for greenlet in cast.greenlets.values():
        _greenlet_node(dot, cast, greenlet)
    for resource in cast.resources.values():
        _resource_node(dot, cast, resource)
    _edges(dot, cast)
    if not cast.greenlets:
        dot.node("nobody", label="Nobody waits for anything that somebody holds.", shape="plaintext")
    _legend(dot, cast)
    return dot


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
