"""Views: one view of a trace in one format, as bytes.

In:  a trace, the name of a view (waits, timeline, tree), that of a format, and a moment.
Out: the document. Never: a place to write it to; that is the command line's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import graphviz

from greentrace.errors import BadInput
from greentrace.export import documents, render, text, timeline, wait_graph
from greentrace.replay.model import Finding, Graph
from greentrace.replay.reader import Trace


def drawing(trace: Trace, graph: Graph) -> graphviz.Digraph:
    """Return a wait-for graph of a trace as it is drawn, before it is laid out: that needs neither any more."""
    return wait_graph.draw(graph, f"{trace.name} at {trace.seconds(graph.world.t_ns):.6f} s")


def picture(trace: Trace, t_ns: int, kind: str = "svg", using: render.Renderer | None = None) -> bytes:
    """Return the wait-for graph at a moment as svg, png, pdf or dot; `using`: as in `render.render`."""
    drawn = drawing(trace, trace.graph(t_ns))
    return drawn.source.encode() if kind == "dot" else render.render(drawn, kind, using)


def exported(trace: Trace, view: str, form: str, t_ns: int, findings: Callable[[], list[Finding]]) -> bytes:
    """Return the document of one view in one format, at one moment; `findings` is asked only where they belong in it.

    Raises `BadInput` when there is no such document.
    """
    makers: dict[tuple[str, str], Callable[[], bytes]] = {}

    def graph() -> Any:
        return trace.graph(t_ns)

    def lines(rows: list[str]) -> bytes:
        return ("\n".join(rows) + "\n").encode()

    def document(value: object) -> bytes:
        return (json.dumps(value, indent=2) + "\n").encode()

    def lanes_of(kind: str) -> bytes:
        lanes = [g for g in trace.greenlets if not g.is_hub][:60]
        if kind == "svg":
            deadlocks = graph().deadlocks
            return timeline.svg(trace, lanes, trace.start_ns, t_ns, deadlocks).encode()
        return lines(timeline.text_lines(trace, lanes, trace.start_ns, t_ns))

    for kind in ("dot", "svg", "png", "pdf"):
        makers["waits", kind] = lambda kind=kind: picture(trace, t_ns, kind)  # type: ignore[misc]
    makers["waits", "text"] = lambda: lines(text.waits_lines(graph()))
    makers["waits", "json"] = lambda: document(documents.waits(trace, graph()))
    makers["timeline", "svg"] = lambda: lanes_of("svg")
    makers["timeline", "text"] = lambda: lanes_of("text")
    makers["tree", "text"] = lambda: lines(text.tree_lines(graph().world))
    makers["tree", "json"] = lambda: document(documents.dump(trace, graph().world, graph(), findings()))
    make = makers.get((view, form))
    if make is None:
        forms = ", ".join(kind for what, kind in makers if what == view)
        raise BadInput(f"The view {view} cannot be written as {form}.", "Nothing was written.", f"It can be written as {forms}.")
    return make()
