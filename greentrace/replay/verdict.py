"""Verdict: a deadlock, in words.

In:  a `World` and a `Deadlock` in it.
Out: one line that says it all, lines of detail, and the assumption that the proof rests on.
Never: a conclusion. What is true was found in `waits`.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from greentrace.events import ResourceKind
from greentrace.replay.model import Deadlock, GreenletNow, Holder, Key, ResourceNow, World

_MANY = 6


def listed(words: list[str], most: int = _MANY) -> str:
    """Return `a, b and c`; of many the first ones and how many others."""
    if len(words) > most:
        return f"{', '.join(words[: most - 1])} and {len(words) - most + 1} others"
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


class Begun(Protocol):
    """A trace, or a world of it."""

    @property
    def start_ns(self) -> int: ...


def seconds(of: Begun, t_ns: int) -> str:
    """Return a moment as people read it: seconds since the trace began.

    Rounded up: what has happened by then has happened at the moment that is said.
    """
    return f"{-(-(t_ns - of.start_ns) // 1000) / 1e6:.6f} s"


class _Names:
    """Labels that tell apart: a number is added where two greenlets, a process where two processes share a label."""

    def __init__(self, world: World, keys: list[Key]) -> None:
        self.world = world
        self.counts = Counter(world.label(key) for key in dict.fromkeys(keys))

    def __call__(self, key: Key) -> str:
        label = self.world.label(key)
        if len(label) > 48:
            label = f"{label[:23]}…{label[-24:]}"
            return f"{label} #{key & 0xFFFFFFFF}"
        return f"{label} #{key & 0xFFFFFFFF}" if self.counts[label] > 1 else label


def assumption_of(world: World, deadlock: Deadlock) -> str:
    """Return what has to be so for the proof to hold."""
    resources = [world.resources[key] for key in deadlock.resources if key in world.resources]
    words = sorted({r.word for r in resources if r.kind in (ResourceKind.LOCK, ResourceKind.SEMAPHORE, ResourceKind.POOL)})
    parts = []
    if words:
        parts.append(f"each {' and '.join(words)} is released only by whoever acquired it, as it was until now")
    members = [world.greenlets[key] for key in deadlock.greenlets]
    guessed = sum(not wait.observed for now in members for wait in now.waits)
    guessed += sum(not holder.observed for r in resources for holder in r.holders)
    if guessed:
        parts.append(f"{guessed} of the waits and holds were inferred, not watched")
    return "; ".join(parts)


def text_of(world: World, deadlock: Deadlock, assumption: str, suspected: bool = False) -> str:
    """Return the text of a deadlock, or of one that is not proven."""
    name = _Names(world, [*deadlock.greenlets, *deadlock.victims, *(h.greenlet for k in deadlock.resources for h in _holders(world, k))])
    members = [world.greenlets[key] for key in deadlock.greenlets]
    first = _first(world, deadlock, members, name)
    lines = [f"Suspected d{first[1:]}" if suspected else first]
    for now, key in zip(members, deadlock.resources, strict=True):
        lines.append(f"  {name(now.key)} waits for {_thing(world, key)} since {seconds(world, now.since_ns)}{_at(now)}")
        resource = world.resources.get(key)
        if resource is None:
            continue
        taken: dict[Key, str] = {}
        for holder in resource.holders:
            place = next((f", taken at {frame}" for frame in holder.site if not frame.runtime and not frame.library), "")
            guess = "" if holder.observed else " (inferred)"
            taken.setdefault(holder.greenlet, f"    held by {name(holder.greenlet)} since {seconds(world, holder.since_ns)}{place}{guess}")
        lines += taken.values()
    if deadlock.victims:
        lines.append(f"  waiting behind them: {listed([name(key) for key in deadlock.victims], 12)}")
    if suspected:
        unknown = [r for key in dict.fromkeys(deadlock.resources) if (r := world.resources.get(key)) and r.capacity is None]
        lines.append(f"  not proven: how many may hold {listed([f'the {r.label}' for r in unknown])} is not known, nor whether others do")
    if assumption:
        lines.append(f"  assumed: {assumption}")
    return "\n".join(lines)


def _holders(world: World, key: Key) -> tuple[Holder, ...]:
    resource = world.resources.get(key)
    return resource.holders if resource else ()


def _thing(world: World, key: Key) -> str:
    resource: ResourceNow | None = world.resources.get(key)
    return resource.label if resource else "something unknown"


def _at(now: GreenletNow) -> str:
    return f", at {now.site}" if now.site else ""


def _many(thing: str, times: int) -> str:
    """Return `5 locks created at app.py:12` for `lock created at app.py:12`."""
    word, _, rest = thing.partition(" created at ")
    return f"{times} {word}s created at {rest}" if rest else f"{times} times {thing}"


def _inside(now: GreenletNow) -> str:
    """Return ` in transfer`, when a greenlet's label does not say in which of the user's functions it waits."""
    function = now.site.function.rsplit(".", 1)[-1] if now.site else ""
    return "" if not function or function == now.label.rsplit(".", 1)[-1] else f" in {function}"


def _first(world: World, deadlock: Deadlock, members: list[GreenletNow], name: _Names) -> str:
    who = [f"{name(now.key)}{_inside(now)}" for now in members]
    things = Counter(_thing(world, key) for key in dict.fromkeys(deadlock.resources))
    over = listed([thing if times == 1 else _many(thing, times) for thing, times in things.items()])
    last = max(members, key=lambda now: (now.since_ns, now.since_at or 0))
    closed = f"since {seconds(world, deadlock.closed_ns)}"
    if any(not wait.observed for wait in last.waits):
        # It was found so.
        closed = f"since {seconds(world, deadlock.closed_ns)} or longer"
    elif deadlock.closed_event is not None:
        # Nearly always it was the last of them, parking.
        by = f"switch #{deadlock.closed_event} away from {name(last.key)}" if last.since_ns == deadlock.closed_ns else ""
        closed += f", closed by {by or f'event #{deadlock.closed_event}'}"
    if len(members) == 1:
        return f"Deadlock: {who[0]} waits for itself over {over}, {closed}."
    verb = "wait for each other" if len(members) == 2 else "wait for one another in a ring"
    return f"Deadlock: {listed(who)} {verb} over {over}, {closed}."
