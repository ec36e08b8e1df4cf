"""Text: verdict, dump, wait-for graph and spawn tree as plain text.

In:  a Trace, a World, a Graph, findings. Out: lines. The verdict is always the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from greentrace.events import Op, State
from greentrace.export.words import count, duration, resource_words, state_words
from greentrace.lifecycle import ENDED
from greentrace.replay.model import Finding, Graph, GreenletNow, Key, Stack, World, shown
from greentrace.replay.reader import Trace

_MARKS = {"error": "✖", "warning": "▲", "info": "·"}


def check_lines(trace: Trace, findings: Sequence[Finding]) -> list[str]:
    """Return the findings, worst first, each with its evidence; one line when there are none."""
    if not findings:
        seen = ", ".join(
            [
                count(trace.event_count, "event"),
                count(trace.greenlet_count, "greenlet"),
                count(len(trace.processes), "process", "processes"),
            ]
        )
        return [f"OK: no finding in {seen}." + _gap_words(trace)]
    lines: list[str] = []
    for finding in findings:
        first, *rest = finding.text.split("\n")
        lines.append(f"{_MARKS[finding.level]} {finding.lint}: {first.removeprefix('Deadlock: ')}")
        lines += [f"    {line}" for line in rest]
        if finding.events:
            lines.append("    evidence: " + ", ".join(f"event #{number}" for number in finding.events))
    if trace.lost or trace.damage:
        lines.append(_gap_words(trace).strip())
    return lines


def _gap_words(trace: Trace) -> str:
    words = f" {count(trace.lost, 'event')} lost: what happened there is unknown." if trace.lost else ""
    return words + "".join(f" {damage}" for damage in trace.damage)


def _stack_lines(stack: Stack, indent: str) -> Iterable[str]:
    for frame in stack:
        if not frame.runtime:
            yield f"{indent}{frame.file}:{frame.line} in {frame.function}"
    if stack and all(frame.runtime for frame in stack):
        yield f"{indent}{stack[0].file}:{stack[0].line} in {stack[0].function}"


def _greenlet_lines(trace: Trace, world: World, graph: Graph, greenlet: GreenletNow) -> Iterable[str]:
    mark = "✖ " if any(greenlet.key in d.greenlets for d in graph.deadlocks) else "▲ " if greenlet.key in graph.doomed else ""
    age = duration(max(world.t_ns - greenlet.since_ns, 0))
    function = f" ({greenlet.function})" if greenlet.function not in ("", greenlet.label) else ""
    yield f"  {mark}#{greenlet.id} {greenlet.label}{function}: {greenlet.state.name.lower()} for {age}"
    if greenlet.state == State.PARKED:
        deadline = greenlet.deadline_ns
        limit = f", at most until {trace.seconds(deadline):.6f} s" if deadline is not None else ""
        yield f"      {state_words(world, greenlet)}{limit}"
        for wait in greenlet.waits:
            resource = world.resources.get(wait.resource)
            if resource is None or wait.op in (Op.SLEEP, Op.SWITCH):
                continue
            for holder in resource.holders:
                frame = shown(holder.site)
                yield f"      held by #{holder.greenlet & 0xFFFFFFFF} {world.label(holder.greenlet)}" + (
                    f", acquired at {frame}" if frame else ""
                )
    for hold in greenlet.holds:
        frame = shown(hold.site)
        where = f", acquired at {frame}" if frame else ""
        words = resource_words(world, world.resources.get(hold.resource))
        yield f"      holds {words}{where}, for {duration(max(world.t_ns - hold.since_ns, 0))}" + ("" if hold.observed else " (inferred)")
    frame = shown(greenlet.spawned_at)
    if frame is not None and greenlet.spawner is not None:
        yield f"      spawned at {frame} by #{greenlet.spawner & 0xFFFFFFFF} {world.label(greenlet.spawner)}"
    if greenlet.stack and greenlet.state in (State.PARKED, State.RUNNABLE):
        yield "      stack, innermost first:"
        yield from _stack_lines(greenlet.stack, "        ")


def dump_lines(trace: Trace, world: World, graph: Graph, findings: Sequence[Finding]) -> list[str]:
    """Return the verdict, then every greenlet that is alive."""
    lines = check_lines(trace, findings)
    alive = [g for g in world.greenlets.values() if g.state not in ENDED]
    finished = len(world.greenlets) - len(alive)
    lines += [
        "",
        f"At {trace.seconds(world.t_ns):.6f} s: {count(len(alive), 'greenlet')} alive"
        + (f", {finished:,} finished" if finished else "")
        + ".",
    ]
    if world.unknown:
        lines.append("Nothing is known of this moment: it lies before the first keyframe, or events were lost.")
    for process in trace.processes:
        mine = [g for g in alive if g.process == process.index]
        lines += ["", f"process {process.pid} ({process.label}): {count(len(mine), 'greenlet')}"]
        order = sorted(mine, key=lambda g: (g.key not in graph.doomed, g.is_hub, g.key))
        for greenlet in order:
            lines += list(_greenlet_lines(trace, world, graph, greenlet))
    return lines


def waits_lines(graph: Graph) -> list[str]:
    """Return the wait-for graph as text: deadlocks first, then each resource with its holders and its queue."""
    world = graph.world
    lines: list[str] = []
    for deadlock in graph.deadlocks:
        lines += ["✖ " + deadlock.text.replace("\n", "\n    "), ""]
    if not graph.deadlocks:
        lines += ["No deadlock.", ""]
    busy = [r for r in world.resources.values() if r.waiters]
    for resource in sorted(busy, key=lambda r: (-len(r.waiters), r.key)):
        lines.append(f"{resource_words(world, resource)}  #{resource.id}")
        for holder in resource.holders:
            lines.append(f"  ● held by #{holder.greenlet & 0xFFFFFFFF} {world.label(holder.greenlet)}")
        if resource.greenlet is not None:
            lines.append(f"  ● is the end of #{resource.greenlet & 0xFFFFFFFF} {world.label(resource.greenlet)}")
        for key in resource.waiters[:20]:
            mark = "✖" if any(key in d.greenlets for d in graph.deadlocks) else "▲" if key in graph.doomed else "→"
            lines.append(f"  {mark} #{key & 0xFFFFFFFF} {world.label(key)} waits")
        if len(resource.waiters) > 20:
            lines.append(f"  … and {len(resource.waiters) - 20:,} more")
    return lines


def tree_lines(world: World) -> list[str]:
    """Return the greenlets as a tree by who spawned whom."""
    children: dict[Key | None, list[GreenletNow]] = {}
    for greenlet in sorted(world.greenlets.values(), key=lambda g: g.key):
        parent = greenlet.spawner if greenlet.spawner in world.greenlets else None
        children.setdefault(parent, []).append(greenlet)
    lines: list[str] = []
    stack = [(greenlet, "", "") for greenlet in reversed(children.get(None, []))]
    seen: set[Key] = set()
    while stack:
        greenlet, prefix, branch = stack.pop()
        if greenlet.key in seen:
            continue
        seen.add(greenlet.key)
        lines.append(f"{prefix}{branch}#{greenlet.id} {greenlet.label}: {state_words(world, greenlet)}")
        below = prefix + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        mine = children.get(greenlet.key, [])
        for i, child in reversed(list(enumerate(mine))):
            stack.append((child, below, "└─ " if i == len(mine) - 1 else "├─ "))
    return lines
