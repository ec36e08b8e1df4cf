"""Processes: which programs on this machine are Python, which are recording, and why one cannot be followed.

In:  /proc and the directories of rings. Out: rows, or one clear reason. Never: a touch of the process itself.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from greentrace import ring
from greentrace.errors import BadRing, CannotAttach
from greentrace.record.session import start_ticks

_RUNTIMES = ("gevent", "eventlet", "greenlet")


@dataclass(frozen=True)
class Row:
    """One Python process. `ring` is its ring, if it has one; `runtimes` what it has loaded, as far as its maps show.

    `recording`: it goes on writing; a ring outlives the recording. `attachable`: greentrace attach may well get into it.
    """

    pid: int
    user: int
    command: str
    python: str
    runtimes: tuple[str, ...]
    ring: Path | None
    recording: bool
    attachable: bool


def rings() -> dict[int, Path]:
    """Return pid -> ring of every living process of this user that has one."""
    found: dict[int, Path] = {}
    try:
        paths = sorted(ring.home().glob(f"run-*/*{ring.SUFFIX}"))
    except PermissionError:
        # Another user's home of rings: nothing of ours is in there.
        return found
    for path in paths:
        pid, _, ticks = path.name[: -len(ring.SUFFIX)].partition("-")
        if pid.isdigit() and ticks.isdigit() and int(ticks) and start_ticks(int(pid)) == int(ticks):
            found[int(pid)] = path
    return found


def _sees_our_files(pid: int) -> bool:
    """Whether a path means the same to the process as to us."""
    try:
        here, there = (os.readlink(f"/proc/{who}/ns/mnt") for who in ("self", pid))
        return here == there and os.path.samefile(f"/proc/{pid}/root", "/")
    except OSError:
        return True


def as_seen_from_here(pid: int, path: str) -> Path:
    """Return where a file of the process is for us: its root, and what is mounted in it, may be its own."""
    return Path(path) if _sees_our_files(pid) else Path(f"/proc/{pid}/root{path}")


def pid_in_its_world(pid: int) -> int:
    """Return the number by which a process knows itself: another one in a container."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return pid
    match = re.search(r"^NSpid:.*?(\d+)$", status, re.MULTILINE)
    return int(match.group(1)) if match else pid


def _mapped_ring(pid: int, maps: str | None) -> Path | None:
    """Return the ring that a process of another user, or of a container, has mapped."""
    name = f"/{pid_in_its_world(pid)}-{start_ticks(pid)}{ring.SUFFIX}"
    for line in (maps or "").splitlines():
        if line.endswith(name):
            return as_seen_from_here(pid, line.split(maxsplit=5)[5])
    return None


def is_written(path: Path) -> bool:
    """Whether a process goes on writing into a ring, as far as the ring tells."""
    try:
        follower = ring.Follower(path)
    except (BadRing, OSError):
        return False
    try:
        return follower.phase == ring.Phase.RECORDING
    finally:
        follower.close()


def _maps(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return None


def _python_of(pid: int, maps: str | None) -> str:
    """Return "3.11", "3" when the version is not to be seen, "" when it is no Python."""
    match = re.search(r"libpython(3\.\d+)|/python(3\.\d+)\b", maps or "")
    if match:
        return match.group(1) or match.group(2)
    try:
        name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""
    match = re.match(r"python(3(?:\.\d+)?)?", name)
    return (match.group(1) or "3") if match else ""


def _is_known(python: str) -> bool:
    """Whether there is a way into this Python: 3.11 or newer, or a version that only the process itself tells."""
    minor = python.partition(".")[2]
    return not minor.isdigit() or int(minor) >= 11


def rows() -> list[Row]:
    """Return every Python process that this user may look at, oldest first."""
    recording = rings()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        pid = int(entry)
        maps = _maps(pid)
        python = _python_of(pid, maps)
        if not python:
            continue
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            user = os.stat(f"/proc/{pid}").st_uid
        except OSError:
            continue
        runtimes = tuple(name for name in _RUNTIMES if maps and f"/{name}/" in maps)
        path = recording.get(pid) or _mapped_ring(pid, maps)
        enterable = "greenlet" in runtimes and _is_known(python) and os.geteuid() in (0, user)
        attachable = path is not None or enterable
        found.append(Row(pid, user, command, python, runtimes, path, path is not None and is_written(path), attachable))
    return sorted(found, key=lambda row: row.pid)


def lines(found: list[Row]) -> list[str]:
    """Return the rows as a table for people."""
    out = [f"{'PID':>8}  {'recording':9}  {'attach':6}  {'python':6}  {'runtimes':18}  command"]
    for row in found:
        state = "yes" if row.recording else "stopped" if row.ring else "no"
        words = f"{state:9}  {'yes' if row.attachable else 'no':6}  {row.python:6}  {' '.join(row.runtimes) or '-':18}"
        out.append(f"{row.pid:>8}  {words}  {row.command[:100]}")
    return out


@dataclass(frozen=True)
class Found:
    """A ring of a living process; `recording`: it goes on writing."""

    path: Path
    recording: bool


def find_ring(pid: int) -> Found | None:
    """Return the ring of a living process, the one that is being written if there are several; None without one.

    Raises `CannotAttach` when it is of a newer version, or damaged.
    """
    candidates = [path for path in (rings().get(pid), _mapped_ring(pid, _maps(pid))) if path is not None]
    found: Found | None = None
    for path in candidates:
        try:
            follower = ring.Follower(path)
        except BadRing as error:
            raise CannotAttach(error.happened, error.kept, error.advice) from error
        except OSError:
            continue
        written = follower.phase == ring.Phase.RECORDING
        follower.close()
        if found is None or (written and not found.recording):
            found = Found(path, written)
    return found


def is_recording(pid: int) -> bool:
    """Whether a process records now.

    Raises `CannotAttach` as `find_ring` does.
    """
    found = find_ring(pid)
    return found is not None and found.recording


def descendants(pid: int) -> list[int]:
    """Return every process that descends from this one, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    at = [pid]
    while at:
        below = sorted(children.get(at.pop(0), ()))
        found += below
        at += below
    return found
