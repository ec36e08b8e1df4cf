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

    `recording`: it goes on writing. A ring outlives the recording, and can be attached to as long as the process lives.
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


def _is_written(path: Path) -> bool:
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
        found.append(Row(pid, user, command, python, runtimes, path, path is not None and _is_written(path), path is not None))
    return sorted(found, key=lambda row: row.pid)


def ring_of(pid: int) -> Path:
    """Return the ring of a process that is recording.

    Raises `CannotAttach` with the reason when there is none.
    """
    path = rings().get(pid)
    if path is not None:
        try:
            ring.Follower(path).close()
        except BadRing as error:
            raise CannotAttach(error.happened, error.kept, error.advice) from error
        return path
    untouched = "The process was not touched."
    if not os.path.exists(f"/proc/{pid}"):
        raise CannotAttach(f"There is no process {pid}.", "Nothing was touched.", "greentrace ps lists what can be attached to.")
    user = os.stat(f"/proc/{pid}").st_uid
    if user != os.getuid() and os.getuid() != 0:
        raise CannotAttach(f"Process {pid} belongs to another user (uid {user}).", untouched, "Run greentrace as that user.")
    if not _python_of(pid, _maps(pid)):
        raise CannotAttach(f"Process {pid} is not a Python program.", untouched, "greentrace ps lists the ones that are.")
    raise CannotAttach(
        f"Process {pid} is not recording.",
        untouched,
        "Start it with `greentrace record`, or call greentrace.start() in it:"
        " getting into a program that never heard of us is not possible yet.",
    )
