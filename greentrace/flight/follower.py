"""Follower: the rings of a run, watched until the last process has ended.

In:  a directory in which rings appear, and `Options`. Out: snapshots, and a line on stderr for each.
A call is answered after `Options.after` seconds, so that the snapshot holds what came of it too; at once when the process has
ended or is about to overwrite what came before. Calls of one process that come meanwhile are answered by the same snapshot. Of
one trigger there is at most one in `Options.every` seconds; a path that the program gave is the program's affair, once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

from greentrace.errors import BadInput, BadRing, CannotRecord
from greentrace.flight import snapshots
from greentrace.flight.watch import Call, Watch
from greentrace.record.flight import TRIGGERS, Options
from greentrace.replay import reader
from greentrace.ring import SUFFIX

TURN_SECONDS = 0.05
_NOW = ("timeout",)
"""Triggers behind which nothing is worth waiting for: somebody waits for the snapshot."""


@dataclass
class _Pending:
    """A snapshot that is about to be saved."""

    call: Call
    due: float
    wall: float
    also: list[Call] = field(default_factory=list)


@dataclass
class _Followed:
    watch: Watch
    pending: list[_Pending] = field(default_factory=list)
    seen_gone: bool = False
    done: bool = False


def say(text: str) -> None:
    """Say a line on stderr; nobody may be there to hear it."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"greentrace: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


class Flights:
    """The flight recorder of one run."""

    lost = 0

    def __init__(self, source: Path, options: Options, told: Callable[[str], None] = say) -> None:
        self._source = source
        self._options = options
        self._directory = Path(options.snapshots).absolute()
        self._told = told
        self._rings: dict[Path, _Followed] = {}
        self._refused: set[Path] = set()
        self._last: dict[str, float] = {}
        self._complained: dict[str, float] = {}
        self._ends: dict[int, tuple[int | None, int | None]] = {}
        self._next_turn = 0.0
        self.saved: list[Path] = []

    @property
    def processes(self) -> int:
        """How many processes were met."""
        return len(self._rings)

    @property
    def events(self) -> int:
        """How many events were written into the rings."""
        return sum(followed.watch.ring.position for followed in self._rings.values() if not followed.done)

    def alive(self) -> bool:
        """Whether any process of the run is still being recorded."""
        self._look()
        return any(not followed.done for followed in self._rings.values())

    def is_done(self, pid: int) -> bool:
        """Whether a process was met and has ended."""
        mine = [followed for followed in self._rings.values() if followed.watch.pid == pid]
        return bool(mine) and all(followed.done for followed in mine)

    def exited(self, pid: int, code: int | None, signal: int | None) -> None:
        """Hear how a process ended."""
        self._ends[pid] = (code, signal)

    def _look(self) -> None:
        for path in sorted(self._source.glob(f"*{SUFFIX}")):
            if path in self._rings or path in self._refused:
                continue
            try:
                self._rings[path] = _Followed(Watch(path, "deadlock" in self._options.triggers))
            except BadRing:
                # Perhaps it is only just being made.
                if time.time() - path.stat().st_mtime > 5:
                    self._refused.add(path)
            except FileNotFoundError:
                continue

    def turn(self) -> bool:
        """Do one round, if it is time for one."""
        now = time.monotonic()
        if now < self._next_turn:
            return False
        self._look()
        for path, followed in self._rings.items():
            if followed.done:
                continue
            try:
                self._follow(path, followed, time.monotonic())
            except Exception as error:
                # The others go on. Its ring stays, for whoever wants to look.
                self._told(f"process {followed.watch.pid} is no longer watched: {type(error).__name__}: {error}. Please report this.")
                followed.done = True
        self._next_turn = time.monotonic() + TURN_SECONDS
        return True

    def _follow(self, path: Path, followed: _Followed, now: float) -> None:
        watch = followed.watch
        # Asked before reading: what is written until the process ends is then read below.
        gone = watch.is_gone()
        # How it ended is perhaps told between two turns.
        over = gone and (followed.seen_gone or watch.was_stopped or watch.pid in self._ends)
        for call in watch.read(now, last=over):
            self._called(followed, call, now)
        if over and not watch.ring.pending:
            self._ended(followed, now)
            for pending in followed.pending:
                self._save(path, followed, pending)
            followed.done = True
            watch.close()
            path.unlink(missing_ok=True)
            return
        followed.seen_gone = gone
        for pending in list(followed.pending):
            half = watch.ring.layout.records // 2
            if now >= pending.due or watch.ring.position - pending.call.position > half:
                followed.pending.remove(pending)
                self._save(path, followed, pending)

    def _ended(self, followed: _Followed, now: float) -> None:
        watch = followed.watch
        code, signal = self._ends.get(watch.pid, (None, None))
        how = f"killed by {_signal_name(signal)}" if signal is not None else f"exit code {code}" if code is not None else ""
        if signal is not None or not (watch.said_exit or watch.was_stopped or code is not None):
            self._called(followed, Call("death", how, watch.ring.position), now)
        if "exit" in self._options.triggers:
            self._called(followed, Call("exit", how, watch.ring.position), now)

    def _called(self, followed: _Followed, call: Call, now: float) -> None:
        if call.trigger not in self._options.triggers:
            return
        if not call.path:
            waiting = next((pending for pending in followed.pending if not pending.call.path), None)
            if waiting is not None:
                waiting.also.append(call)
                return
        last = self._last.get(call.trigger)
        if last is not None and now - last < self._options.every:
            if self._complained.get(call.trigger) != last:
                self._complained[call.trigger] = last
                self._told(
                    f"{call.trigger} in process {followed.watch.pid} is not saved: the one before was {now - last:.0f} s ago, "
                    f"and at most one in {self._options.every:g} s is saved (GREENTRACE_EVERY)."
                )
            return
        self._last[call.trigger] = now
        after = 0.0 if call.trigger in _NOW else self._options.after
        followed.pending.append(_Pending(call, now + after, time.time()))

    def _save(self, ring: Path, followed: _Followed, pending: _Pending) -> None:
        call, watch = pending.call, followed.watch
        notes: list[dict[str, Any]] = [
            {"trigger": one.trigger, "text": one.text, "pid": watch.pid, "event": one.position, "wall_s": pending.wall}
            for one in [call, *pending.also[:20]]
        ]
        end = self._ends.get(watch.pid)
        if end is not None:
            notes.append({"exit": {"pid": watch.pid, **({"code": end[0]} if end[1] is None else {"signal": end[1]})}})
        try:
            if call.path:
                out = Path(call.path)
            else:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                out = snapshots.fresh_name(self._directory, watch.name, watch.pid, call.trigger)
            snapshots.save(ring, out, notes)
        except (CannotRecord, BadRing, OSError) as error:
            self._told(f"{call.trigger} in process {watch.pid}: {' '.join(str(error).split())}")
            return
        self.saved.append(out)
        what = f"{call.trigger} ({call.text})" if call.text else call.trigger
        self._told(f"{what} in process {watch.pid}: saved {out}{_verdict(out)}")
        removed = snapshots.prune(self._directory, self._options.keep, self._options.keep_mb << 20, out)
        if removed:
            many = "1 older snapshot" if len(removed) == 1 else f"{len(removed)} older snapshots"
            self._told(
                f"{many} removed from {self._directory}: {self._options.keep} files of together {self._options.keep_mb} MB are kept."
            )

    def finish(self) -> list[int]:
        """Answer what is still to be answered; return the pids that live on."""
        for _ in range(3):
            self._next_turn = 0.0
            self.turn()
        running = []
        for path, followed in self._rings.items():
            if not followed.done:
                for pending in followed.pending:
                    self._save(path, followed, pending)
                running.append(followed.watch.pid)
                followed.watch.close()
                followed.done = True
        return running


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def _verdict(path: Path) -> str:
    """Return what the gravest finding says, in a line."""
    try:
        with reader.open(path) as trace:
            found = trace.findings()
    except BadInput:
        return ""
    return f": {found[0].lint}: {found[0].line}" if found else ""


assert set(_NOW) <= set(TRIGGERS)
