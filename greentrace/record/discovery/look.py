"""Look: one look at everything that lives, and what is concluded from it.

In:  the recorder and the adapters' rows, as they were applied. Out: facts, told.
Of a wait, the greenlet's own frames speak first (the outermost primitive is what was asked for), then the runtime's structures, then
its listeners and timers. Of holders, what contradicts itself or the object's own counter is left out.
Never: a switch, or a lock that somebody may have patched.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from typing import Any

import greenlet

from greentrace.events import Op, ResourceKind, State
from greentrace.record.discovery import builtin, eventlet, frames, gevent, plain, standard
from greentrace.record.discovery.facts import IO_OPS, End, Facts, Hold, Seen, Want, is_active
from greentrace.record.discovery.frames import Frames, variable_names
from greentrace.record.discovery.heap import Heap
from greentrace.record.recorder import Recorder
from greentrace.record.runtimes.adapter import Patcher
from greentrace.record.tables import FEW_WAITS, MAX_WAITS

_UNBROKEN_SECONDS = 0.05
"""So long no other thread interrupts the look, if nothing in it waits."""
# Before anything is monkey-patched: afterwards it would be the runtime's own.
_native_id = threading.get_native_id
_TRIES = 3
_HOLDING = {"acquire", "enter"}


class Discovery:
    """One look. `rebound` are the Conditions that were changed: give it to `standard.unbind` in the end."""

    def __init__(self, recorder: Recorder, patcher: Patcher) -> None:
        self.recorder = recorder
        self.patcher = patcher
        self.rebound: list[Any] = []
        rows = {id(code): row for _, row, wrapped in patcher.rows if (code := getattr(wrapped, "__code__", None)) is not None}
        rows |= builtin.codes()
        makers = {id(code): int(kind) for code, kind in patcher.makers}
        releases = {"release"} | {row.method for _, row, _ in patcher.rows if row.role == "release" and not row.method.startswith("_")}
        self.frames = Frames(recorder, rows, makers, releases)
        self.watchers = [(owner, int(kind)) for owner, kind in patcher.kinds if "libev" in owner.__module__ or "libuv" in owner.__module__]
        self.rlocks = self._owners(lambda row: row.kind == ResourceKind.RLOCK)
        self.conditions = self._owners(lambda row: row.owner == "Condition")
        classes = [(owner, row) for owner, row, _ in patcher.rows if isinstance(owner, type)]
        self.holdable = {owner: row for owner, row in classes if row.role in _HOLDING}
        self.makes_others = [(owner, row) for owner, row in classes if row.role == "python" and row.method == "__init__"]

    def _owners(self, chosen: Any) -> list[type]:
        return list(dict.fromkeys(owner for owner, row, _ in self.patcher.rows if isinstance(owner, type) and chosen(row)))

    def look(self) -> int:
        """Find everything and tell it; return how many greenlets live besides the current one."""
        before, collects = sys.getswitchinterval(), gc.isenabled()
        sys.setswitchinterval(max(before, _UNBROKEN_SECONDS))
        # What is made here would have the collector look at everything, several times.
        gc.disable()
        try:
            for _ in range(_TRIES - 1):
                try:
                    return self._look()
                except (AttributeError, RuntimeError, TypeError, ValueError, KeyError, IndexError):
                    # Another thread has changed something under our eyes. Nothing was told yet, or what was told is so.
                    continue
            return self._look()
        finally:
            sys.setswitchinterval(before)
            frames.forget()
            if collects:
                gc.enable()

    def _look(self) -> int:
        others = [owner for owner, row in self.makes_others if row.after is not None and not issubclass(owner, greenlet.greenlet)]
        wanted = [greenlet.greenlet, *self.rlocks, *self.conditions, *others]
        heap = Heap(self.recorder, [*wanted, *builtin.types(), *eventlet.types(), *gevent.types(self.watchers)])
        facts = Facts(self.recorder, self.frames)
        current = greenlet.getcurrent()
        for g in heap.of(greenlet.greenlet):
            facts.meet(g)
        facts.meet(current)
        for name in (builtin.look, eventlet.look):
            name(heap, facts)
        gevent.look(heap, facts, self.watchers)
        running = self._read_stacks(facts, current)
        standard.look(heap, facts, self.rlocks, [])
        for owner, row in self.makes_others:
            if row.after is not None and not issubclass(owner, greenlet.greenlet):
                for obj in heap.of(owner):
                    row.after(None, obj)
        live = any(seen.frame is not None and not seen.is_hub and seen.g is not current for seen in facts.seen.values())
        self.recorder.begin_finding(live)
        for seen in list(facts.seen.values()):
            self._decide(seen, facts, current, running)
        facts.holds = self._settled(facts)
        facts.tell(self._natives(facts))
        self.rebound = standard.rebind(heap, self.conditions)
        if heap.frozen:
            self.recorder.patched(f"gc.freeze() hides {heap.frozen} objects: what lives only there is unknown")
        return len(facts.seen) - 1

    # ---- stacks

    def _read_stacks(self, facts: Facts, current: Any) -> dict[int, Any]:
        """Read the stack of every greenlet; return the greenlet that runs in each thread, by the thread's ident."""
        for seen in list(facts.seen.values()):
            if seen.frame is not None:
                seen.stack = self.frames.read(seen.frame)
        me = facts.meet(current)
        if me is not None:
            me.stack = self.frames.read(sys._getframe(2))
        self.idents = self._idents(facts, current)
        running: dict[int, Any] = {}
        for ident, frame in sys._current_frames().items():
            # Without a frame is who runs now; and who waits in a function of Cython, which is known by what it waits for.
            here = [
                s
                for s in facts.seen.values()
                if s.frame is None and is_active(s.g) and not s.wants and not s.is_runnable and self.idents.get(id(s.main)) == ident
            ]
            if len(here) == 1 and here[0].g is not current:
                running[ident] = here[0].g
                here[0].stack = self.frames.read(frame)
                here[0].stack.wait = None
        return running

    def _idents(self, facts: Facts, current: Any) -> dict[int, int]:
        """Return the ident of the thread of each main greenlet (by its id), as far as it can be known."""
        idents: dict[int, int] = {}
        mine = next((ident for ident, native in self.recorder.native_threads().items() if native == _native_id()), 0)
        me = facts.meet(current)
        if me is not None:
            idents[id(me.main)] = mine
        for g, ident in facts.hubs:
            seen = facts.meet(g)
            if seen is not None and ident:
                idents.setdefault(id(seen.main), ident)
        all_frames = sys._current_frames()
        if len(all_frames) == 1:
            return {id(seen.main): idents.get(id(seen.main), 0) for seen in facts.seen.values()}
        by_hub = {id(g): facts.seen[id(g)] for g, _ in facts.hubs if id(g) in facts.seen}
        for ident, frame in all_frames.items():
            if ident in idents.values():
                continue
            for depth, (code, at) in enumerate(self.recorder.stack(frame)):
                if code.co_name in ("run", "_run") and code.co_argcount:
                    (hub,) = self.recorder.slots(frame, depth, (0,), code, at)
                    own = by_hub.get(id(getattr(hub, "greenlet", hub)))
                    if own is not None:
                        idents.setdefault(id(own.main), ident)
        unknown = {id(s.main) for s in facts.seen.values() if s.frame is None and is_active(s.g)} - idents.keys()
        left = set(all_frames) - set(idents.values())
        if len(unknown) == 1 and len(left) == 1:
            idents[unknown.pop()] = left.pop()
        return idents

    def _natives(self, facts: Facts) -> dict[int, int]:
        threads = self.recorder.native_threads()
        current = greenlet.getcurrent()
        me = facts.meet(current)
        natives = {main: threads.get(ident, 0) for main, ident in self.idents.items()}
        if me is not None:
            natives[id(me.main)] = _native_id()
        return natives

    # ---- states and waits

    def _decide(self, seen: Seen, facts: Facts, current: Any, running: dict[int, Any]) -> None:
        runs = seen.g is current or any(g is seen.g for g in running.values())
        if runs:
            seen.state = State.RUNNING
        elif (
            seen.frame is None
            and is_active(seen.g)
            and not (seen.main is facts.seen[id(current)].main and (seen.wants or seen.is_runnable))
        ):
            # It may be what another thread runs now.
            seen.state = State.UNKNOWN
        elif seen.is_runnable:
            seen.state = State.RUNNABLE
        elif not is_active(seen.g):
            seen.state = State.CREATED
        elif seen.is_hub:
            seen.state = State.RUNNABLE
        else:
            seen.state = State.PARKED
        for obj, certain in seen.stack.holds:
            self._add_hold(seen, obj, certain, facts)
        seen.wants = list(self._wants(seen, facts)) if seen.state == State.PARKED else []
        if len(seen.wants) > MAX_WAITS:
            # So many prove nothing: a few are told, and that there are others.
            seen.wants = [*seen.wants[: FEW_WAITS - 1], Want(None, ResourceKind.UNKNOWN, Op.WAIT)]

    def _wants(self, seen: Seen, facts: Facts) -> Iterator[Want]:
        wait = seen.stack.wait
        if wait is not None and wait.row.role == "hub_wait":
            yield Want(wait.obj, wait.kind, wait.op, End.TOLD)
        elif wait is not None and wait.row.role == "ge_select":
            yield from self._selected(seen, facts)
        elif wait is not None and wait.row.role in ("join", "thread_join"):
            joined = wait.obj if wait.row.role == "join" else facts.threads.get(id(wait.obj))
            yield Want(joined, ResourceKind.GREENLET, Op.JOIN) if joined is not None else Want(None, ResourceKind.UNKNOWN, Op.WAIT)
        elif wait is not None and (keys := eventlet.keys_awaited(seen, facts)):
            yield from keys
        elif wait is not None and id(wait.obj) in facts.lifts:
            yield facts.lifts[id(wait.obj)]
        elif wait is not None:
            kind = seen.stack.maker or wait.kind
            end = End.UNCERTAIN if wait.row.owner in ("Semaphore", "BoundedSemaphore") and wait.row.module == "threading" else End.UNTOLD
            yield Want(wait.obj, kind, wait.op, end, wait.times)
        elif seen.wants:
            yield from seen.wants
        elif seen.hears:
            yield from (Want(fd, ResourceKind.FD, IO_OPS[mode]) for fd, mode in seen.hears)
        elif seen.sleeps:
            yield Want(None, ResourceKind.SLEEP, Op.SLEEP)
        elif plain.switched_away(seen, facts):
            yield Want(None, ResourceKind.SWITCH, Op.SWITCH)

    def _selected(self, seen: Seen, facts: Facts) -> Iterator[Want]:
        """What a select of gevent's listens for; those listeners are its greenlet's."""
        assert seen.frame is not None
        assert seen.stack.wait is not None
        for depth, (code, at) in enumerate(seen.stack.codes):
            row = self.frames.plan(code, at).row
            if row is None or row.role != "ge_select":
                continue
            names = variable_names(code)
            at_slot = names.index("watchers") if "watchers" in names else -1
            (watchers,) = self.recorder.slots(seen.frame, depth, (at_slot,), code, at)
            found = {id(watcher) for watcher in gevent.selected(seen.frame, seen.stack.wait.obj, watchers)}
            mine = [entry for entry in facts.listeners if id(entry[0]) in found]
            facts.listeners = [(*entry[:3], seen.g) if id(entry[0]) in found else entry for entry in facts.listeners]
            yield from (Want(fd, ResourceKind.FD, IO_OPS[mode]) for _, fd, mode, _ in mine)
            if not mine:
                yield Want(None, ResourceKind.SLEEP, Op.SLEEP)

    # ---- holds

    def _kind(self, obj: Any) -> int:
        """Return what kind of resource one can hold it is, 0 for none."""
        for base in type(obj).__mro__:
            row = self.holdable.get(base)
            if row is not None:
                return next((int(kind) for owner, kind in self.patcher.kinds if isinstance(obj, owner)), int(row.kind))
        return builtin.kind_of(obj)

    def _add_hold(self, seen: Seen, obj: Any, certain: bool, facts: Facts) -> None:
        if isinstance(obj, tuple(self.conditions)):
            obj = getattr(obj, "_lock", None)
        obj = builtin.lock_of(obj)
        kind = self._kind(obj) if obj is not None else 0
        # The owner of an RLock is known better.
        if kind and kind != ResourceKind.RLOCK:
            facts.held(seen.g, obj, kind, 1, certain)

    def _settled(self, facts: Facts) -> list[Hold]:
        """Return the holds that do not contradict each other, nor what the object itself says."""
        by_object: dict[int, list[Hold]] = {}
        for hold in facts.holds:
            by_object.setdefault(id(hold.obj), []).append(hold)
        wanted = {(id(seen.g), id(want.obj)) for seen in facts.seen.values() for want in seen.wants if want.op == Op.ACQUIRE}
        settled: list[Hold] = []
        for holds in by_object.values():
            obj, kind = holds[0].obj, holds[0].kind
            if kind not in (ResourceKind.LOCK, ResourceKind.SEMAPHORE):
                settled += holds
                continue
            certain = [hold for hold in holds if hold.observed]
            # Whoever waits for it may have come into the `try` without it.
            likely = [hold for hold in holds if not hold.observed and (id(hold.g), id(obj)) not in wanted]
            free = static_counter(obj)
            all_of_it = 1 if kind == ResourceKind.LOCK else facts.capacities.get(id(obj), -1)
            taken = max(all_of_it - free, 0) if all_of_it >= 0 and free is not None else -1
            if taken < 0:
                settled += certain if len(likely) != 1 or certain else likely
            elif len(certain) + len(likely) <= taken:
                settled += [*certain, *likely]
            elif len(certain) <= taken:
                settled += certain
        return settled


def static_counter(obj: Any) -> int | None:
    """Return how many more may acquire it, None if it does not say."""
    for name in ("counter", "_value"):
        value = getattr(obj, name, None)
        if isinstance(value, int):
            return max(value, 0)
    return None


def discover(recorder: Recorder, patcher: Patcher) -> list[Any]:
    """Look once, and tell. Returns what to give to `give_back` when recording ends."""
    found = Discovery(recorder, patcher)
    found.look()
    return found.rebound


def give_back(rebound: list[Any]) -> None:
    """Undo what `discover` has changed, after the hooks have gone."""
    standard.unbind(rebound)
