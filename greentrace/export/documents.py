"""Documents: the JSON of `check` and `dump`, which is a contract.

In:  a Trace, a World, findings. Out: plain dicts, ready for json.dumps. Their shape stands in the README and in a test.
Times are seconds from the start of the trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greentrace.replay.model import Finding, Frame, Graph, GreenletNow, Key, ResourceNow, Stack, World, shown
from greentrace.replay.reader import Trace


def verdict(findings: Sequence[Finding]) -> str:
    """Return "deadlock", "findings" or "ok". A mere note of level info is no finding in this sense."""
    if any(finding.lint == "deadlock" for finding in findings):
        return "deadlock"
    return "findings" if any(finding.level != "info" for finding in findings) else "ok"


def _seconds(trace: Trace, t_ns: int | None) -> float | None:
    return None if t_ns is None else round(trace.seconds(t_ns), 9)


def _place(frame: Frame | None) -> str | None:
    return None if frame is None else f"{frame.file}:{frame.line}"


def _stack(stack: Stack) -> list[dict[str, Any]]:
    return [{"file": frame.file, "line": frame.line, "function": frame.function} for frame in stack]


def greenlet_reference(trace: Trace, key: Key) -> dict[str, Any]:
    """Return how a document names a greenlet."""
    ever = trace.greenlet(key)
    if ever is None:
        return {"id": key & 0xFFFFFFFF, "name": "", "function": "", "process": 0}
    return {"id": ever.id, "name": ever.label, "function": ever.function, "process": ever.pid}


def resource_reference(world: World, key: Key) -> dict[str, Any]:
    """Return how a document names a resource."""
    resource = world.resources.get(key)
    if resource is None:
        return {"id": key & 0xFFFFFFFF, "kind": "unknown", "site": None}
    return {"id": resource.id, "kind": resource.kind.name.lower(), "site": _place(shown(resource.site))}


def check(trace: Trace, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the document of `check --json`."""
    rows = []
    for finding in findings:
        world = trace.at(finding.t_ns)
        row: dict[str, Any] = {
            "lint": finding.lint,
            "level": finding.level,
            "t": _seconds(trace, finding.t_ns),
            "text": finding.text,
            "greenlets": [greenlet_reference(trace, key) for key in finding.greenlets],
            "resources": [resource_reference(world, key) for key in finding.resources],
            "events": list(finding.events),
        }
        if finding.lint == "deadlock" or finding.victims:
            row["victims"] = [greenlet_reference(trace, key) for key in finding.victims]
        rows.append(row)
    return {"verdict": verdict(findings), "findings": rows, "gaps": trace.lost}


def _wait_rows(trace: Trace, world: World, greenlet: GreenletNow) -> list[dict[str, Any]]:
    rows = []
    for wait in greenlet.waits:
        resource: ResourceNow | None = world.resources.get(wait.resource)
        rows.append(
            {
                "resource": wait.resource & 0xFFFFFFFF,
                "kind": resource.kind.name.lower() if resource else "unknown",
                "deadline": _seconds(trace, wait.deadline_ns),
                "observed": wait.observed,
            }
        )
    return rows


def dump(trace: Trace, world: World, graph: Graph, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the document of `dump --json`: the verdict, then every greenlet."""
    rows = []
    for greenlet in sorted(world.greenlets.values(), key=lambda g: g.key):
        spawner = world.greenlets.get(greenlet.spawner) if greenlet.spawner is not None else None
        rows.append(
            {
                "id": greenlet.id,
                "process": greenlet.pid,
                "name": greenlet.label,
                "function": greenlet.function,
                "state": greenlet.state.name.lower(),
                "since": _seconds(trace, greenlet.since_ns),
                "stack": _stack(greenlet.stack),
                "waits_on": _wait_rows(trace, world, greenlet),
                "holds": [
                    {
                        **resource_reference(world, hold.resource),
                        "since": _seconds(trace, hold.since_ns),
                        "acquired_at": _place(shown(hold.site)),
                        "observed": hold.observed,
                    }
                    for hold in greenlet.holds
                ],
                "spawned_at": _place(shown(greenlet.spawned_at)),
                "spawner": spawner.id if spawner else (None if greenlet.spawner is None else greenlet.spawner & 0xFFFFFFFF),
                "doomed": greenlet.key in graph.doomed,
            }
        )
    return {**check(trace, findings), "t": _seconds(trace, world.t_ns), "greenlets": rows}


def waits(trace: Trace, graph: Graph) -> dict[str, Any]:
    """Return the wait-for graph as a document: nodes, edges, deadlocks."""
    world = graph.world
    edges = []
    for greenlet in world.greenlets.values():
        for wait in greenlet.waits:
            edges.append(
                {
                    "from": f"g{greenlet.id}",
                    "to": f"r{wait.resource & 0xFFFFFFFF}",
                    "kind": "waits",
                    "process": greenlet.pid,
                    "observed": wait.observed,
                }
            )
    for resource in world.resources.values():
        pid = next((p.pid for p in trace.processes if p.index == resource.process), 0)
        for holder in resource.holders:
            edges.append(
                {
                    "from": f"r{resource.id}",
                    "to": f"g{holder.greenlet & 0xFFFFFFFF}",
                    "kind": "held_by",
                    "process": pid,
                    "observed": holder.observed,
                }
            )
    return {
        "t": _seconds(trace, world.t_ns),
        "greenlets": [
            {**greenlet_reference(trace, g.key), "state": g.state.name.lower(), "doomed": g.key in graph.doomed, "site": _place(g.site)}
            for g in world.greenlets.values()
        ],
        "resources": [{**resource_reference(world, key), "signal": r.signal, "capacity": r.capacity} for key, r in world.resources.items()],
        "edges": edges,
        "deadlocks": [
            {
                "t": _seconds(trace, d.closed_ns),
                "event": d.closed_event,
                "greenlets": [greenlet_reference(trace, key) for key in d.greenlets],
                "resources": [resource_reference(world, key) for key in d.resources],
                "victims": [greenlet_reference(trace, key) for key in d.victims],
                "assumption": d.assumption,
                "text": d.text,
            }
            for d in graph.deadlocks
        ],
    }
