"""Watch: one ring, read as it is written, for what calls for a snapshot.

In:  a ring. Out: `Call`s: what the program said (TRIGGER, HOG, ERROR), and deadlocks.
Never: the whole past in memory, or much of a core. The replay judges the last generation, when somebody has been parked for
`RIPE_SECONDS` on something that only the program itself can give, without a deadline, or when the hub polls and nothing comes;
and no more often than takes a small part of the time.

    fresh         who is parked so, and since when, until it was judged: most are gone again before that
    owes_parked   whether who parked before we looked is still to be told, by the next keyframe; later ones tell nobody new
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from greentrace.events import FLAG_KEY, KEYFRAME_END, KEYFRAME_PARTIAL, RECORD, Kind, Op
from greentrace.follow import start_ticks
from greentrace.replay import waits
from greentrace.replay.history import History
from greentrace.replay.model import split_key
from greentrace.replay.source import Feed, Source
from greentrace.ring import Follower, NameKind, Phase, name_entries
from greentrace.trace import EVENT_DTYPE, Columns

Records = npt.NDArray[Any]

RIPE_SECONDS = 0.2
DUTY = 20
"""A judgement that took so long is followed by a pause of so many times that."""
LONG_SECONDS = 60
"""A hub that has nothing to wait for polls at least so long."""
_READ = 1 << 16
_OUTSIDE = frozenset((Op.READ, Op.WRITE, Op.READWRITE, Op.SLEEP))
_OP = 0x3F
_UNPARK = (Kind.SWITCH, Kind.THROW, Kind.WAKE, Kind.FINISH, Kind.COLLECT)


class Call(NamedTuple):
    """Something that calls for a snapshot. `path`: where it has to be saved, "" for a name of ours."""

    trigger: str
    text: str
    position: int
    path: str = ""


class _Tail(Source):
    """The newest whole generation of a ring, and what came after it. No names: they are not needed for a verdict."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._ring = Follower(path)
        self._ring.position = _newest(self._ring)
        self.feeds.append(_TailFeed(self._ring))

    def close(self) -> None:
        self._ring.close()


class _TailFeed(Feed):
    def __init__(self, ring: Follower) -> None:
        super().__init__({"pid": ring.pid})
        self._ring = ring

    def take(self) -> Iterator[Columns]:
        most = self._ring.layout.records
        while most > 0:
            chunk = self._ring.read(_READ)
            if not chunk.records:
                return
            most -= len(chunk.records) // RECORD.size
            yield Columns.of(np.frombuffer(chunk.records, EVENT_DTYPE))

    def names(self) -> bytes:
        return b""


def _newest(ring: Follower) -> int:
    """Return where the newest generation begins whose keyframe is whole."""
    per, head = ring.layout.generation_records, ring.position + ring.pending
    begin = head // per * per
    oldest = ring.position
    ring.position = max(begin, oldest)
    records = np.frombuffer(ring.read(per).records, EVENT_DTYPE)
    done = (records["kind"] == Kind.KEYFRAME) & (records["flags"] & KEYFRAME_END != 0)
    return begin if bool(done.any()) or begin == 0 else max(begin - per, oldest)


@dataclass(frozen=True)
class Verdict:
    """Who stands in a deadlock, each by the numbers of its greenlets; `exhausted`: the hub can never turn again."""

    deadlocks: frozenset[frozenset[int]]
    exhausted: bool
    parked: frozenset[int]


def judge(path: Path) -> Verdict:
    """Return what is proven of a ring at its last event."""
    history = History(_Tail(path))
    try:
        if not history.histories or not history.histories[0].count:
            return Verdict(frozenset(), False, frozenset())
        graph = waits.graph(history.last_world(0))
        knots = frozenset(frozenset(split_key(key)[1] for key in deadlock.greenlets) for deadlock in graph.deadlocks)
        return Verdict(knots, bool(graph.exhausted), frozenset(split_key(key)[1] for key in graph.doomed))
    finally:
        history.close()


class Watch:
    """One ring, followed. Raises `BadRing` or `OSError` when it cannot be."""

    def __init__(self, path: Path, deadlocks: bool = True) -> None:
        self.path = path
        self.ring = Follower(path)
        self.pid = self.ring.pid
        self.meta = self.ring.meta()
        self.said_exit = False
        self._deadlocks = deadlocks
        self._fresh: dict[int, float] = {}
        self._owes_parked = True
        self._known: set[frozenset[int]] = set()
        self._next_judgement = 0.0
        self._moved = 0.0
        self._judged_at = -1
        self._waits_for_nothing = False

    @property
    def name(self) -> str:
        """The program, as its command names it."""
        words = [word for word in self.meta.get("argv") or [] if isinstance(word, str)] + ["python"]
        word = next((word for word in words if not word.startswith("-")), "python")
        name = "python" if "-c" in words[: words.index(word)] else Path(word).stem
        return re.sub(r"[^\w.-]", "", name)[:60] or "python"

    def is_gone(self) -> bool:
        """Whether nothing more will be written."""
        return self.ring.phase == Phase.STOPPED or start_ticks(self.pid) != self.ring.start_ticks

    @property
    def was_stopped(self) -> bool:
        return self.ring.phase == Phase.STOPPED

    def close(self) -> None:
        self.ring.close()

    def read(self, now: float, last: bool = False) -> list[Call]:
        """Read what is new; return the calls in it, and the deadlocks that are proven by now.

        `last`: nothing more will be written, so that whoever was not judged yet is judged now.
        """
        calls: list[Call] = []
        rounds = self.ring.layout.records // _READ + 1
        while rounds and self.ring.pending:
            rounds -= 1
            chunk = self.ring.read(_READ)
            if chunk.lost:
                self._fresh.clear()
                self._owes_parked = True
            if not chunk.records:
                break
            self._moved = now
            calls += self._take(np.frombuffer(chunk.records, EVENT_DTYPE), chunk.first, now)
        if self._deadlocks and (bool(self._fresh) if last else self._is_ripe(now)):
            calls += self._judge(now)
        return calls

    def _take(self, records: Records, first: int, now: float) -> list[Call]:
        kind = np.ascontiguousarray(records["kind"])
        calls = []
        for i in np.flatnonzero((kind == Kind.TRIGGER) | (kind == Kind.HOG) | (kind == Kind.ERROR)).tolist():
            call = self._call(records[i], first + i)
            if call is not None:
                calls.append(call)
        if self._deadlocks:
            self._note_parked(records, kind, now)
        return calls

    def _note_parked(self, records: Records, kind: npt.NDArray[np.uint8], now: float) -> None:
        parks = np.flatnonzero(kind == Kind.PARK)
        ends = np.flatnonzero(np.isin(kind, _UNPARK))
        ended = dict(zip(records["greenlet"][ends].tolist(), ends.tolist(), strict=True))
        parked = dict(zip(records["greenlet"][parks].tolist(), parks.tolist(), strict=True))
        for number in ended:
            self._fresh.pop(number, None)
        for number, at in parked.items():
            if at < ended.get(number, -1):
                continue
            flags = int(records["flags"][at])
            if int(records["arg"][at]) or flags & _OP in _OUTSIDE:
                self._fresh.pop(number, None)
            elif not flags & FLAG_KEY or self._owes_parked:
                self._fresh.setdefault(number, now)
        done = records["flags"][kind == Kind.KEYFRAME] & (KEYFRAME_END | KEYFRAME_PARTIAL) == KEYFRAME_END
        self._owes_parked = self._owes_parked and not done.any()
        last = records[-1]
        self._waits_for_nothing = int(last["kind"]) == Kind.POLL_BEGIN and int(last["arg"]) >= LONG_SECONDS * 10**9

    def _is_ripe(self, now: float) -> bool:
        if now < self._next_judgement:
            return False
        if any(now - since >= RIPE_SECONDS for since in self._fresh.values()):
            return True
        head = self.ring.position
        return self._waits_for_nothing and now - self._moved >= RIPE_SECONDS and head != self._judged_at

    def _judge(self, now: float) -> list[Call]:
        begin = time.monotonic()
        self._fresh = {number: since for number, since in self._fresh.items() if now - since < RIPE_SECONDS}
        self._judged_at = self.ring.position
        verdict = judge(self.path)
        self._next_judgement = now + (time.monotonic() - begin) * DUTY
        calls = []
        for knot in sorted(verdict.deadlocks - self._known, key=sorted):
            calls.append(Call("deadlock", f"{len(knot)} greenlets", self.ring.position))
        self._known |= verdict.deadlocks
        if verdict.exhausted and verdict.parked not in self._known:
            self._known.add(verdict.parked)
            calls.append(Call("deadlock", "the hub can never turn again", self.ring.position))
        return calls

    def _call(self, record: Any, position: int) -> Call | None:
        kind = int(record["kind"])
        if kind == Kind.HOG:
            return Call("hog", f"{int(record['arg']) / 1e9:.1f} s", position)
        text = self._string(int(record["arg"]))
        if kind == Kind.ERROR:
            return Call("exception", text, position)
        words, _, path = text.partition("\n")
        trigger, _, what = words.partition(" ")
        if trigger in ("exit", "stay"):
            self.said_exit = trigger == "exit"
            return None
        return Call(trigger or "snapshot", what, position, path)

    def _string(self, number: int) -> str:
        """Return a string of the ring; they are looked for anew, for that is seldom."""
        for kind, _, own, payload in name_entries(Follower(self.path).read_names()):
            if kind == NameKind.STRING and own == number:
                return payload.decode("utf-8", "replace")
        return ""
