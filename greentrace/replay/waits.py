"""Waits: who waits for whom at one moment, and who will wait for ever.

    doomed      the largest set of parked greenlets in which nobody has a deadline and every possible waker of everything
                waited for is itself in the set, or finished
    deadlock    a strongly connected part of it, or one greenlet that waits for itself
    victims     the other doomed that wait, over however many others, for a deadlock
    suspected   what would be a deadlock if each thing of which it is not known how many may hold it had no holder but those seen

In:  a `World`. Never raw events.
Out: a `Graph` of it, and its edges.
Never: a guess. Who the possible wakers of a resource are is known (`wakers`) or it is not, and then the resource is open and
nobody who waits for it is doomed. Only processes of which everything is known (`World.whole`) are judged.

    lock, rlock, semaphore          their holders, if all its places are held and no stranger ever released it
    pool                            its members, if it is full and none of them is just about to leave it
    the end of a pool               its members, if none of them is just about to leave it
    join                            the greenlet, until it has finished: then its notification is under way
    everything else                 open
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from greentrace.events import HELD, Op, ResourceKind, State
from greentrace.lifecycle import ENDED
from greentrace.replay.model import Deadlock, Edge, Graph, GreenletNow, Key, ResourceNow, Wait, World, split_key
from greentrace.replay.verdict import assumption_of, text_of

_KNOWN_BY_HOLDERS = HELD | {ResourceKind.POOL}

_INSIDE = _KNOWN_BY_HOLDERS | {
    ResourceKind.EVENT, ResourceKind.QUEUE, ResourceKind.CONDITION, ResourceKind.CHANNEL, ResourceKind.BARRIER, ResourceKind.SWITCH,
}  # fmt: skip
"""Kinds that only something that runs in the process can give: no fd, no clock, no signal, no worker thread behind them."""

_FEW = 4
"""So many times fewer greenlets than there are, are few."""
LONG_POLL_NS = 60_000_000_000
"""A hub that has nothing to wait for polls without a timeout, or with eventlet's 60 seconds."""


def wakers(world: World, wait: Wait, suspecting: bool = False) -> frozenset[Key] | None:
    """Return the living greenlets that can end this wait, None if it may be anybody. An empty set: those who could are dead.

    With `suspecting`, what is not known to be full is taken to be so.
    """
    resource = world.resources.get(wait.resource)
    if resource is None or not wait.told or resource.signal:
        return None
    if resource.kind == ResourceKind.GREENLET:
        target = world.greenlets.get(resource.greenlet) if resource.greenlet is not None else None
        if target is None or target.state in ENDED or target.state == State.UNKNOWN:
            return None
        return frozenset({target.key})
    if resource.kind not in _KNOWN_BY_HOLDERS or not resource.holders:
        return None
    if wait.op == Op.PUT:
        # Who gives a semaphore more than it takes waits until anybody acquires it.
        return None
    # Whoever waits until a pool is empty waits for all that are in it, whether there is a place or not.
    is_full = _is_full(resource) or (suspecting and resource.capacity is None)
    if not is_full and not (resource.kind == ResourceKind.POOL and wait.op == Op.JOIN):
        return None
    alive = set()
    for holder in resource.holders:
        now = world.greenlets.get(holder.greenlet)
        if now is None or now.state == State.UNKNOWN:
            return None
        if now.state not in ENDED:
            alive.add(now.key)
        elif resource.kind == ResourceKind.POOL:
            # Who has finished leaves its pool a moment later.
            return None
    return frozenset(alive)


def _is_full(resource: ResourceNow) -> bool:
    """Whether every place is held by somebody we know: a free place, or a holder that was not seen, opens it."""
    if not resource.holders or resource.capacity is None:
        return False
    return len(resource.holders) >= resource.capacity > 0


def _may_be_doomed(world: World, now: GreenletNow) -> bool:
    return now.state == State.PARKED and now.process in world.whole and now.deadline_ns is None and bool(now.waits) and not now.is_hub


def _looked_at(world: World, certain: set[Key]) -> Iterable[GreenletNow]:
    """Return those who may be doomed, by key, and not everybody if that is known."""
    if world.suspects is None:
        return world.greenlets.values()
    keys = sorted(certain.union(world.suspects()))
    if len(keys) * _FEW > len(world.greenlets):
        # To make everybody at once takes less than to make many one by one.
        world.greenlets.values()
    return [world.greenlets[key] for key in keys]


def graph(world: World) -> Graph:
    """Return who is doomed and why. A deadlock's closing moment is here that of its last member's parking."""
    exhausted = tuple(index for index in sorted(world.whole) if is_exhausted(world, index))
    everybody = world.greenlets.values() if exhausted else ()
    certain = {now.key for now in everybody if now.process in exhausted and now.state == State.PARKED and not now.is_hub}
    doomed, deadlocks = _deadlocks(world, certain, False)
    return Graph(world, frozenset(doomed), tuple(deadlocks), exhausted)


def are_doomed(world: World, keys: Iterable[Key]) -> bool:
    """Whether all of these greenlets are doomed: as `graph` says it, with a look at those alone whom they wait for, near and far."""
    seen = set(keys)
    wanted, work = frozenset(seen), list(seen)
    while work:
        now = world.greenlets.get(work.pop())
        known = [wakers(world, wait) for wait in now.waits] if now is not None and _may_be_doomed(world, now) else [None]
        if None in known:
            # Only where nothing will ever happen any more they are it all the same.
            exhausted = any(is_exhausted(world, process) for process in {split_key(key)[0] for key in wanted})
            return exhausted and graph(world).doomed.issuperset(wanted)
        for key in {key for one in known if one for key in one} - seen:
            seen.add(key)
            work.append(key)
    return True


def suspected(proven: Graph) -> list[Deadlock]:
    """Return what looks like a deadlock in a graph and is not proven."""
    _, deadlocks = _deadlocks(proven.world, set(proven.doomed), True)
    return [deadlock for deadlock in deadlocks if not proven.doomed.intersection(deadlock.greenlets)]


def _deadlocks(world: World, certain: set[Key], suspecting: bool) -> tuple[set[Key], list[Deadlock]]:
    """Return who is doomed, with those of whom that is certain, and the knots among them."""
    waits_for: dict[Key, set[Key]] = {}
    doomed = set(certain)
    for now in _looked_at(world, certain):
        if not _may_be_doomed(world, now):
            continue
        known = [wakers(world, wait, suspecting) for wait in now.waits]
        waits_for[now.key] = {key for one in known if one for key in one}
        if None not in known:
            doomed.add(now.key)
    _shrink(doomed, certain, waits_for)
    edges = {key: sorted(waits_for.get(key, set()) & doomed) for key in sorted(doomed)}
    knots = _knots(edges)
    in_knot = {key for knot in knots for key in knot}
    behind = _behind(edges)
    deadlocks = []
    for knot in knots:
        ring = _ring(knot, edges)
        resources = tuple(_waited(world, key, set(knot), suspecting) for key in ring)
        victims = tuple(sorted(_reaching(knot, behind) - in_knot))
        members = [world.greenlets[key] for key in ring]
        last = max(members, key=lambda now: (now.since_ns, now.since_at or 0))
        # In a trace of one process, positions are numbers of events.
        event = last.since_at if len(world.threads) == 1 else None
        deadlocks.append(describe(world, Deadlock(ring, resources, victims, last.since_ns, event, "", ""), suspecting))
    deadlocks.sort(key=lambda deadlock: (deadlock.closed_ns, deadlock.greenlets))
    return doomed, deadlocks


def describe(world: World, deadlock: Deadlock, suspecting: bool = False) -> Deadlock:
    """Return the deadlock with its assumption and its text."""
    assumption = assumption_of(world, deadlock)
    text = text_of(world, deadlock, assumption, suspecting)
    return Deadlock(deadlock.greenlets, deadlock.resources, deadlock.victims, deadlock.closed_ns, deadlock.closed_event, assumption, text)


def _shrink(doomed: set[Key], certain: set[Key], waits_for: dict[Key, set[Key]]) -> None:
    """Take out, until nobody is left to take out, whoever can be woken by somebody outside."""
    behind: dict[Key, list[Key]] = defaultdict(list)
    for key in doomed:
        for waker in waits_for.get(key, ()):
            behind[waker].append(key)
    free = [waker for waker in behind if waker not in doomed]
    while free:
        for key in behind[free.pop()]:
            if key in doomed and key not in certain:
                doomed.discard(key)
                free.append(key)


def is_exhausted(world: World, process: int) -> bool:
    """Whether the hub of a process can never turn again: no timer, no listener, nothing runnable, no other thread.

    Judged only while the hub polls with nothing to wait for, when all of the hub's life was recorded, and when nobody waits for
    what comes from outside (a worker thread's result, a signal).
    """
    if world.threads.get(process) != 1 or process not in world.whole or process in world.busy:
        return False
    if any(split_key(timer.key)[0] == process for timer in world.timers):
        return False
    if any(split_key(listener.key)[0] == process for listener in world.listeners):
        return False
    parked = hubs = 0
    for now in world.greenlets.values():
        if now.process != process or now.state in ENDED:
            continue
        if now.is_hub:
            timeout_ns = world.polling.get(now.key, 0)
            if now.state != State.RUNNING or not now.born_seen or timeout_ns < LONG_POLL_NS:
                return False
            hubs += 1
        elif now.state != State.PARKED or now.deadline_ns is not None or not all(_is_inside(world, wait) for wait in now.waits):
            return False
        else:
            parked += 1
    return hubs == 1 and parked > 0


def _is_inside(world: World, wait: Wait) -> bool:
    resource = world.resources.get(wait.resource)
    if resource is None:
        return False
    if resource.kind == ResourceKind.GREENLET:
        target = world.greenlets.get(resource.greenlet) if resource.greenlet is not None else None
        return target is not None and target.state == State.PARKED
    return resource.kind in _INSIDE


def _knots(edges: dict[Key, list[Key]]) -> list[list[Key]]:
    """Return the strongly connected parts that have a cycle (Tarjan, without recursion)."""
    order: dict[Key, int] = {}
    low: dict[Key, int] = {}
    stack: list[Key] = []
    on_stack: set[Key] = set()
    knots: list[list[Key]] = []
    for root in edges:
        if root in order:
            continue
        work = [(root, iter(edges[root]))]
        order[root] = low[root] = len(order)
        stack.append(root)
        on_stack.add(root)
        while work:
            key, rest = work[-1]
            after = next(rest, None)
            if after is not None:
                if after not in order:
                    order[after] = low[after] = len(order)
                    stack.append(after)
                    on_stack.add(after)
                    work.append((after, iter(edges[after])))
                elif after in on_stack:
                    low[key] = min(low[key], order[after])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[key])
            if low[key] == order[key]:
                knot = []
                while True:
                    member = stack.pop()
                    on_stack.discard(member)
                    knot.append(member)
                    if member == key:
                        break
                if len(knot) > 1 or key in edges[key]:
                    knots.append(sorted(knot))
    return knots


def _behind(edges: dict[Key, list[Key]]) -> dict[Key, list[Key]]:
    behind: dict[Key, list[Key]] = defaultdict(list)
    for key, wanted in edges.items():
        for waker in wanted:
            behind[waker].append(key)
    return behind


def _reaching(knot: Iterable[Key], behind: dict[Key, list[Key]]) -> set[Key]:
    found = set(knot)
    work = list(found)
    while work:
        for key in behind.get(work.pop(), ()):
            if key not in found:
                found.add(key)
                work.append(key)
    return found


def _ring(knot: list[Key], edges: dict[Key, list[Key]]) -> tuple[Key, ...]:
    """Return the members so that each waits for the next, as far as there is such an order."""
    members = set(knot)
    ring = [knot[0]]
    left = members - {knot[0]}
    while left:
        after = next((key for key in edges[ring[-1]] if key in left), None)
        after = min(left) if after is None else after
        ring.append(after)
        left.discard(after)
    return tuple(ring)


def _waited(world: World, key: Key, knot: set[Key], suspecting: bool) -> Key:
    """Return the resource through which `key` waits for another of the knot."""
    waits = world.greenlets[key].waits
    for wait in waits:
        if (wakers(world, wait, suspecting) or frozenset()) & knot:
            return wait.resource
    return waits[0].resource


def edges(world: World) -> list[Edge]:
    """Return every line of the wait-for graph: waits, and who holds (for a join: who is) what is waited for or held."""
    lines = [
        Edge(now.key, wait.resource, "waits", wait.observed, now.since_ns)
        for now in world.greenlets.values()
        if now.state == State.PARKED
        for wait in now.waits
    ]
    for resource in world.resources.values():
        if resource.greenlet is not None:
            lines.append(Edge(resource.greenlet, resource.key, "held_by", True, 0))
        held: dict[Key, Edge] = {}
        for holder in resource.holders:
            before = held.get(holder.greenlet)
            count = before.count + 1 if before else 1
            observed = holder.observed and (before is None or before.observed)
            since_ns = min(before.since_ns, holder.since_ns) if before else holder.since_ns
            held[holder.greenlet] = Edge(holder.greenlet, resource.key, "held_by", observed, since_ns, count)
        lines += held.values()
    return lines
