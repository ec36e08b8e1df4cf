"""Follow: reads the rings of a run and writes its trace; the traced programs pay for nothing but the ring.

In:  a directory in which rings appear as processes are recorded, or one ring. Out: a .gtrace file that grows, and its index.
A ring whose process is gone is read to its last event and then removed, unless its events could not be saved.

    python -m greentrace.follow DIRECTORY OUT [--pid PID] [--tell FD]     follow until the recording of PID has ended

What goes wrong is said on stderr, or on the descriptor that `--tell` names.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from greentrace.errors import BadRing, CannotRecord
from greentrace.events import RECORD
from greentrace.ring import SUFFIX, Follower, Phase
from greentrace.trace import MAX_EVENTS, TraceWriter

if TYPE_CHECKING:
    from greentrace.replay.indexing import Indexing

FLUSH_SECONDS = 0.5
_ROUND = 1 << 16


def start_ticks(pid: int) -> int:
    """Return when a living process started, in clock ticks since boot; 0 when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    fields = text.rpartition(b")")[2].split()
    return 0 if fields[:1] in ([b"Z"], [b"X"]) or len(fields) < 20 else int(fields[19])


def world_of(pid: int) -> str:
    """Return the pid namespace of a process, "" when its numbers are ours."""
    try:
        there, here = (os.readlink(f"/proc/{who}/ns/pid") for who in (pid, "self"))
    except OSError:
        return ""
    return "" if there == here else there


def pid_from_here(pid: int, world: str) -> int:
    """Return by which number we know the process that is `pid` in its own world; 0 when there is none."""
    for entry in os.listdir("/proc") if world else ():
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == world:
                numbers = re.search(r"^NSpid:(.*)$", Path(f"/proc/{entry}/status").read_text(errors="replace"), re.MULTILINE)
                if numbers and numbers.group(1).split()[-1:] == [str(pid)]:
                    return int(entry)
        except OSError:
            # It has just ended, or is not ours to look at.
            continue
    return 0 if world else pid


@dataclass
class _Followed:
    """One ring, and what was read of it but not yet written."""

    index: int
    ring: Follower
    pid: int
    first: int = 0
    pending: list[bytes] = field(default_factory=list)
    records: int = 0
    since: float = 0.0
    last_ns: int = 0
    done: bool = False

    def is_gone(self) -> bool:
        """Whether nothing more will be written into the ring."""
        return self.ring.phase == Phase.STOPPED or start_ticks(self.pid) != self.ring.start_ticks


class Follow:
    """The follower of one run."""

    def __init__(self, source: Path, out: Path, near: int = 0) -> None:
        """Make the trace. `near`: a process in whose world the recorded ones number themselves, if that is not ours.

        Raises `CannotRecord` when it cannot be written; `BadRing` when `source` is a file and no ring.
        """
        self._source = source
        self._world = world_of(near) if near else ""
        self._single = source.is_file()
        self._rings: dict[Path, _Followed] = {}
        self._refused: set[Path] = set()
        self.events = 0
        self.lost = 0
        self._writer = TraceWriter(out)
        self._notes: list[dict[str, object]] = []
        if self._single:
            self._follow(source)

    @cached_property
    def _index(self) -> Indexing:
        # The program need not wait until all that the index is made with is there.
        from greentrace.replay.indexing import Indexing

        return Indexing(self._writer.path)

    @property
    def processes(self) -> int:
        """How many processes were met."""
        return len(self._rings)

    def _follow(self, path: Path) -> None:
        ring = Follower(path)
        meta = ring.meta()
        followed = _Followed(len(self._rings), ring, pid_from_here(ring.pid, self._world), ring.position, since=time.monotonic())
        self._rings[path] = followed
        self._writer.process(followed.index, meta)
        if ring.skipped:
            self.lost += ring.skipped
            self._gap(followed.index, 0, ring.skipped)

    def _look(self) -> None:
        """Begin to follow rings that are new."""
        for path in [] if self._single else sorted(self._source.glob(f"*{SUFFIX}")):
            if path not in self._rings and path not in self._refused:
                try:
                    self._follow(path)
                except BadRing:
                    # Perhaps it is only just being made; a damaged one stays out.
                    if time.time() - path.stat().st_mtime > 5:
                        self._refused.add(path)
                except FileNotFoundError:
                    continue

    def turn(self) -> bool:
        """Do one round; return whether anything was read. Raises `CannotRecord` when the trace cannot be written on."""
        self._look()
        read = False
        for followed in self._rings.values():
            if not followed.done:
                read |= self._read(followed)
        return read

    def _read(self, followed: _Followed) -> bool:
        # Asked before reading: what is written until the process ends is then read below.
        gone = followed.is_gone()
        any_read = False
        rounds = followed.ring.layout.records // _ROUND + 1
        while rounds:
            rounds -= 1
            chunk = followed.ring.read(_ROUND)
            if chunk.lost:
                self._flush(followed)
                self.lost += chunk.lost
                self._gap(followed.index, followed.last_ns, chunk.lost, chunk.first - chunk.lost)
            if not chunk.records:
                break
            any_read = True
            if not followed.records:
                followed.first = chunk.first
            followed.pending.append(chunk.records)
            followed.records += len(chunk.records) // RECORD.size
            followed.last_ns = int.from_bytes(chunk.records[-RECORD.size : -RECORD.size + 8], "little")
            if followed.records >= MAX_EVENTS:
                self._flush(followed)
        if followed.records and (gone or time.monotonic() - followed.since >= FLUSH_SECONDS):
            self._flush(followed)
        if gone and not followed.ring.pending:
            self._flush(followed)
            followed.done = True
        return any_read

    def _flush(self, followed: _Followed) -> None:
        """Write what was read, its names first."""
        followed.since = time.monotonic()
        if not followed.records:
            return
        names = followed.ring.read_names()
        if names:
            self._writer.names(followed.index, names)
        records = b"".join(followed.pending)
        for at in range(0, len(records), MAX_EVENTS * RECORD.size):
            block = records[at : at + MAX_EVENTS * RECORD.size]
            self._writer.events(followed.index, followed.first + at // RECORD.size, block)
            self._index.events(followed.index, block, self._writer.chains[followed.index])
        self.events += followed.records
        followed.pending.clear()
        followed.records = 0

    def _gap(self, process: int, t_ns: int, lost: int, first: int = 0) -> None:
        """Write that events are missing."""
        self._writer.gap(process, t_ns, lost, first)
        self._index.gap(process, t_ns, lost, self._writer.chains[process])

    def alive(self) -> bool:
        """Whether any process of the run is still being recorded."""
        self._look()
        return any(not followed.done for followed in self._rings.values())

    def exited(self, pid: int, code: int | None, signal: int | None) -> None:
        """Note how a process ended."""
        self._notes.append({"exit": {"pid": pid, "code": code} if signal is None else {"pid": pid, "signal": signal}})

    def finish(self) -> list[int]:
        """Read everything, write the end, remove the rings of the dead; return the pids that live on."""
        while self.turn():
            continue
        for followed in self._rings.values():
            self._flush(followed)
        for note in self._notes:
            self._writer.note(note)
        for followed in self._rings.values():
            if followed.ring.lost_names:
                self._writer.note({"lost_names": followed.ring.lost_names, "pid": followed.pid})
        self._index.finish()
        self._writer.close({"events": self.events, "lost": self.lost, "processes": len(self._rings)})
        running = []
        for path, followed in self._rings.items():
            gone = followed.is_gone()
            followed.ring.close()
            if not gone:
                running.append(followed.pid)
            elif not self._single:
                path.unlink(missing_ok=True)
        return running


def main(arguments: list[str]) -> int:
    """Follow until the process is gone or has stopped recording, and with it all others of its run."""
    source, out = Path(arguments[0]), Path(arguments[1])
    pid = int(arguments[arguments.index("--pid") + 1]) if "--pid" in arguments else 0
    tell = int(arguments[arguments.index("--tell") + 1]) if "--tell" in arguments else 2
    try:
        follow = Follow(source, out)
        pause = 0.01
        while follow.alive() or not follow.processes:
            pause = 0.01 if follow.turn() else min(pause * 1.5, 0.05)
            if not follow.processes and pid and not start_ticks(pid):
                break
            time.sleep(pause)
        follow.finish()
    except CannotRecord as error:
        os.write(tell, f"greentrace: {error}\n".encode())
        return 2
    if source.is_dir() and not any(source.iterdir()):
        source.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
