"""Snapshots: one saved trace of what a ring holds, and the directory where they lie.

In:  a ring, and why. Out: a .gtrace file, whole or not there. Never: more files or bytes than was said; another's file; a link
that was followed. Only what ends in `.flight.gtrace` and is ours is ever removed, the oldest first.
"""

from __future__ import annotations

import glob
import os
import re
import time
from pathlib import Path
from typing import Any

from greentrace.errors import CannotRecord
from greentrace.ring import Follower
from greentrace.trace import TraceWriter

SUFFIX = ".flight.gtrace"
_READ = 1 << 16


def save(ring: Path, out: Path, notes: list[dict[str, Any]]) -> int:
    """Write what a ring holds into a trace; return its bytes. Raises `CannotRecord`, and then nothing is left behind."""
    partial = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        partial.unlink(missing_ok=True)
        # Made here, so that nobody has planted a link in its place and nobody else can read it.
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise CannotRecord(
            f"The snapshot {out} cannot be written ({error.strerror}).",
            "The program was not disturbed.",
            "Set GREENTRACE_SNAPSHOTS to a directory that can be written.",
        ) from error
    try:
        _write(ring, partial, notes)
        os.replace(partial, out)
        return out.stat().st_size
    except OSError as error:
        raise CannotRecord(
            f"The snapshot {out} cannot be written ({error.strerror}).", "The program was not disturbed.", "Free some room there."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _write(ring: Path, out: Path, notes: list[dict[str, Any]]) -> None:
    follower = Follower(ring)
    try:
        with TraceWriter(out) as writer:
            writer.process(0, follower.meta())
            events = lost = 0
            if follower.skipped:
                writer.gap(0, 0, follower.skipped)
            most = follower.layout.records
            while most > 0 and follower.pending:
                chunk = follower.read(_READ)
                lost += chunk.lost
                if chunk.lost:
                    writer.gap(0, 0, chunk.lost, chunk.first - chunk.lost)
                if not chunk.records:
                    break
                names = follower.read_names()
                if names:
                    writer.names(0, names)
                count = len(chunk.records) // 32
                writer.events(0, chunk.first, chunk.records)
                events += count
                most -= count
            for note in notes:
                writer.note(note)
            writer.close({"events": events, "lost": lost, "processes": 1})
    finally:
        follower.close()


def fresh_name(directory: Path, program: str, pid: int, trigger: str) -> Path:
    """Return a name that is not in use, and comes after those of the same second: one that was removed is not given again."""
    stem = f"{program}-{pid}-{time.strftime('%Y%m%d-%H%M%S')}-{trigger}"
    taken = [path.name.removeprefix(stem).removesuffix(SUFFIX) for path in directory.glob(f"{glob.escape(stem)}*{SUFFIX}")]
    last = max((1 if not rest else int(rest[1:]) for rest in taken if re.fullmatch(r"(-[1-9]\d{0,8})?", rest)), default=0)
    return directory / (f"{stem}-{last + 1}{SUFFIX}" if last else f"{stem}{SUFFIX}")


def prune(directory: Path, keep: int, keep_bytes: int, newest: Path) -> list[Path]:
    """Remove the oldest snapshots beyond `keep` files or `keep_bytes`, never the newest; return those removed."""
    found = []
    for path in directory.glob(f"*{SUFFIX}"):
        try:
            status = path.lstat()
        except OSError:
            continue
        if status.st_uid == os.getuid() and path != newest and not path.is_symlink():
            found.append((status.st_mtime_ns, status.st_size, path))
    found.sort(reverse=True)
    removed: list[Path] = []
    try:
        total = newest.stat().st_size
    except OSError:
        total = 0
    for number, (_, size, path) in enumerate(found, 2):
        total += size
        if number > keep or total > keep_bytes:
            try:
                path.unlink()
            except OSError:
                continue
            removed.append(path)
    return removed
