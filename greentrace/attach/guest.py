"""Guest: what a command needs of a running process, and how it leaves it.

    it records already         its ring; it goes on recording
    it never heard of us       entered, its ring, left again: however the command ends, short of SIGKILL
    it cannot be entered       why, and what can be seen from outside

In:  a PID, perhaps all that descend from it. Out: rings, for as long as a block lasts.
Never: a process that records because of us when we are gone, unless one asked for that.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from greentrace import processes, ring
from greentrace.attach import visit
from greentrace.attach.outside import Outside, outside
from greentrace.errors import CannotAttach
from greentrace.follow import Follow

_MOST_THREADS = 8
_MOST_SOCKETS = 12
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Options:
    """How to enter: the ring's size and the depth of its sites, whether what descends from the process is meant too, whether to stay."""

    ring_bytes: int = ring.DEFAULT_BYTES
    depth: int = 32
    tree: bool = False
    keep: bool = False


@contextmanager
def host(pid: int, options: Options = Options()) -> Iterator[Path]:
    """Yield the ring of a process, or the directory of its rings; make it record for as long as the block lasts if it does not.

    Raises `CannotAttach`, with what can be seen from outside as its notes.
    """
    found = processes.find_ring(pid)
    if found is not None and found.recording and not options.tree:
        yield found.path
        return
    try:
        visited = visit.enter(pid, options.ring_bytes, options.depth)
    except CannotAttach as error:
        if found is not None:
            # It recorded once: that can still be looked at.
            sys.stderr.write(f"greentrace: {error.happened} This is what it recorded until it stopped.\n")
            yield found.path
            return
        for line in lines(outside(pid)):
            error.add_note(line)
        raise
    with _ended_by_signals():
        try:
            if options.tree:
                _enter_descendants(visited, options)
            yield visited.directory if visited.is_ours else visited.ring
        finally:
            if visited.is_ours and not options.keep:
                _leave(visited)


def record(pid: int, out: Path, options: Options, quiet: bool) -> None:
    """Record a running program into a trace, until it ends or Ctrl-C.

    Raises `CannotAttach`, or `CannotRecord` when the trace cannot be written.
    """
    following: Follow | None = None
    try:
        with host(pid, options) as source:
            following = Follow(source, out, near=pid)
            try:
                if not quiet:
                    sys.stderr.write(f"greentrace: recording process {pid} into {out}. Ctrl-C ends it; the program goes on.\n")
                while following.alive():
                    if not following.turn():
                        time.sleep(_PAUSE_SECONDS)
            except KeyboardInterrupt:
                pass
            finally:
                # What it has of the rings stays readable when they go, with the end of the visit.
                following.turn()
    finally:
        if following is not None:
            following.finish()
    if not quiet:
        sys.stderr.write(f"greentrace: {following.events:,} events in {out}. Next: greentrace check {out}\n")


def _enter_descendants(visited: visit.Visit, options: Options) -> None:
    for pid in processes.descendants(visited.pid):
        try:
            if not visit.enter(pid, options.ring_bytes, options.depth, beside=visited).is_in(visited.directory):
                sys.stderr.write(f"greentrace: process {pid} records already, into another place. Attach to it by itself.\n")
        except CannotAttach as error:
            sys.stderr.write(f"greentrace: {error.happened}\n")


def _leave(visited: visit.Visit) -> None:
    left = visited.leave()
    if left:
        sys.stderr.write(f"greentrace: these were replaced by somebody else meanwhile and stay, with no effect: {', '.join(left)}\n")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have what asks us to end do so by way of an exception: somebody is to be left before."""

    def end(number: int, frame: FrameType | None) -> None:
        # Once is enough: whoever asks again must not keep us from leaving.
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for number in before:
            signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lines(seen: Outside | None) -> list[str]:
    """Return what the outside of a process shows, as text."""
    if seen is None:
        return []
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seen.since_s)) if seen.since_s else "unknown"
    out = [f"From outside: {seen.command[:160]}"]
    out.append(f"  {seen.state}, since {began}, {seen.resident_bytes >> 20:,} MiB, {len(seen.threads)} threads, {_files(seen)}")
    for thread in seen.threads[:_MOST_THREADS]:
        where = ", ".join(word for word in (thread.system_call, thread.wchan) if word)
        state = f"{thread.state} in {where}" if where else thread.state
        out.append(f"  thread {thread.native_id} {thread.name}: {state}, {thread.cpu_seconds:.2f} s of CPU")
    out += _more(len(seen.threads) - _MOST_THREADS, "threads")
    for socket in seen.sockets[:_MOST_SOCKETS]:
        peer = f" with {socket.peer}" if socket.peer else ""
        queued = f", {socket.queued_bytes:,} bytes not read" if socket.queued_bytes else ""
        out.append(f"  fd {socket.fd} {socket.kind} {socket.state} {socket.local}{peer}{queued}")
    return out + _more(len(seen.sockets) - _MOST_SOCKETS, "sockets")


def _files(seen: Outside) -> str:
    return "open files unknown" if seen.open_files is None else f"{seen.open_files} open files"


def _more(count: int, what: str) -> list[str]:
    return [f"  and {count} more {what}"] if count > 0 else []
