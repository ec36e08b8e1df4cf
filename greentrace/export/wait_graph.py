"""Wait graph: who waits for whom at one moment, as a DOT graph.

In:  a waits.Graph and a caption. Out: a graphviz.Digraph.
A deadlock is told three times: by colour, by shape (double frame, thick lines) and by the word. Victims stand apart in a
dashed frame. Greenlets that only sleep or wait for the network are counted, not drawn: nobody holds what they wait for.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import graphviz

from greentrace.events import ResourceKind, State
from greentrace.export.cast import Cast, greenlet_node, resource_node
from greentrace.export.words import clipped, duration, state_words
from greentrace.replay.model import Graph, GreenletNow, Key, ResourceNow

FONT = "Arial"
"""A name whose widths every renderer knows: text must not run out of its frame."""
INK, FAINT = "#24292f", "#6e7781"
RED, RED_FILL = "#b3261e", "#fde7e4"
AMBER, AMBER_FILL = "#9a6700", "#fff4d6"
CALM, CALM_FILL = "#57606a", "#f6f8fa"
LOCK_FILL = "#e8f0fe"
GREEN_FILL = "#dafbe1"


def _lines(*lines: str) -> str:
    """Return a DOT label of left-aligned lines; what users named cannot break out of it."""
    return "".join(graphviz.escape(line) + r"\l" for line in lines if line)


def _greenlet_node(dot: graphviz.Digraph, cast: Cast, greenlet: GreenletNow) -> None:
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
    if cast.times[greenlet_node(greenlet.key)] > 1:
        lines.insert(0, f"{cast.times[greenlet_node(greenlet.key)]} TIMES, the first of them:")
    if greenlet.key in cast.ring:
        lines.insert(0, "DEADLOCKED")
        style |= {"style": "filled", "color": RED, "fillcolor": RED_FILL, "penwidth": "2.4", "peripheries": "2"}
    elif greenlet.key in cast.victims:
        lines.insert(0, "VICTIM" if len(group) == 1 else "VICTIMS")
        style |= {"style": "rounded,filled,dashed", "color": AMBER, "fillcolor": AMBER_FILL, "penwidth": "1.6"}
    elif greenlet.state in (State.RUNNING, State.RUNNABLE):
        style |= {"fillcolor": GREEN_FILL}
    dot.node(greenlet_node(greenlet.key), label=_lines(*lines), **style)


def _resource_node(dot: graphviz.Digraph, cast: Cast, resource: ResourceNow) -> None:
    frame = next((f for f in resource.site if not f.runtime and not f.library), None)
    lines = [f"{resource.word} #{resource.id}" + (f" of {resource.capacity}" if resource.capacity and resource.capacity > 1 else "")]
    if resource.kind == ResourceKind.GREENLET:
        lines = [clipped(resource.label, 44)]
    elif frame is not None:
        lines.append(f"{'created' if resource.site_observed else 'first seen'} at {clipped(frame.place, 40)}")
    if resource.signal:
        lines.append("used as a signal")
    if cast.times[resource_node(resource.key)] > 1:
        lines.append(f"and {cast.times[resource_node(resource.key)] - 1} more like it")
    in_ring = resource.key in cast.ring_resources
    dot.node(
        resource_node(resource.key),
        label=_lines(*lines),
        shape="box",
        style="filled,diagonals",
        color=RED if in_ring else CALM,
        fillcolor=RED_FILL if in_ring else LOCK_FILL,
        penwidth="2.4" if in_ring else "1",
    )


def _edges(dot: graphviz.Digraph, cast: Cast) -> None:
    world = cast.graph.world
    for greenlet in cast.greenlets.values():
        for wait in greenlet.waits if greenlet.state == State.PARKED else ():
            if wait.resource not in cast.resources:
                continue
            red = greenlet.key in cast.ring and wait.resource in cast.ring_resources
            label = "waits for" + (f"\nuntil {duration(wait.deadline_ns - world.t_ns)} from now" if wait.deadline_ns else "")
            _edge(dot, greenlet_node(greenlet.key), resource_node(wait.resource), label, red, wait.observed)
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
            _held(dot, cast, resource.key, holder.greenlet, label, red, holder.observed)
        if resource.greenlet is not None and resource.greenlet in cast.greenlets:
            red = resource.key in cast.ring_resources and resource.greenlet in cast.ring
            _held(dot, cast, resource.key, resource.greenlet, "is the end of", red, True)


def _held(dot: graphviz.Digraph, cast: Cast, resource: Key, greenlet: Key, label: str, red: bool, observed: bool) -> None:
    """Draw that a resource is held by a greenlet: as a line, or where the ring is folded from circle to circle."""
    tail, head = resource_node(resource), greenlet_node(greenlet)
    number = cast.folds.get((tail, head))
    if number is None:
        _edge(dot, tail, head, label, red, observed, arrowhead="dot")
        return
    style = {"shape": "circle", "label": str(number), "color": RED, "fontcolor": RED, "margin": "0.02", "penwidth": "2"}
    dot.node(f"out{number}", **style)
    dot.node(f"in{number}", **style)
    _edge(dot, tail, f"out{number}", label, red, observed, arrowhead="none")
    _edge(dot, f"in{number}", head, "", red, observed, arrowhead="dot")


def _edge(dot: graphviz.Digraph, tail: str, head: str, label: str, red: bool, observed: bool, **more: str) -> None:
    dot.edge(
        tail,
        head,
        label="".join(f"  {graphviz.escape(clipped(line, 40))}\\l" for line in label.split("\n") if line),
        color=RED if red else CALM,
        fontcolor=RED if red else CALM,
        penwidth="2.6" if red else "1.2",
        style="solid" if observed else "dashed",
        **more,
    )


def _legend(dot: graphviz.Digraph, cast: Cast) -> None:
    lines = [
        "Legend",
        "double red frame: deadlocked, proven",
        "dashed amber frame: victim, waits behind a deadlock",
        "rounded frame: another greenlet that holds or waits",
        "cut corners: what one waits for (a lock, a queue, a greenlet's end)",
        "arrow: waits for    dot: held by    dashed line: inferred",
    ]
    if cast.folds:
        lines.append("circle: the ring goes on at the other circle of that number")
    idle = [f"{number:,} {what}" for what, number in sorted(cast.left_out.items()) if number > 0]
    if idle:
        lines.append("not drawn: " + ", ".join(idle))
    dot.node("legend", label=_lines(*lines), shape="note", color=FAINT, fontcolor=FAINT, fontsize="9", fillcolor="white", style="filled")


def draw(graph: Graph, caption: str) -> graphviz.Digraph:
    """Return the picture of a wait-for graph, with `caption` (the moment, the file) below the verdict."""
    cast = Cast(graph)
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
    for column in cast.columns:
        for above, below in pairwise(column):
            dot.edge(above.bottom, below.top, style="invis")
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
