"""Outside: what can be told of a process without entering it, for when it cannot be entered, or while it does not answer.

In:  a pid. Out: `Outside`, as full as /proc lets us read; what may not be read is empty or None, never an error.
Never: a stop, a signal, a write; a word on greenlets, which only the inside knows.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from greentrace.attach.processor import processor
from greentrace.attach.target import start_ticks, status_of, threads_of
from greentrace.errors import CannotAttach

_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "in the kernel, not to be interrupted",
    "T": "stopped by a signal",
    "t": "stopped by its tracer",
    "Z": "ended, not yet asked for its exit code",
    "X": "ended",
    "I": "idle",
}
_TCP_STATES = (
    "",
    "connected",
    "connecting",
    "being accepted",
    "closing",
    "closing",
    "closing",
    "closed",
    "closed by the peer",
    "closing",
    "listening",
    "closing",
)
_MAX_SOCKETS = 10000


@dataclass(frozen=True)
class ThreadSeen:
    """One thread: `state` in words, the system call it is in ("" when it runs, or when that may not be read), its kernel function."""

    native_id: int
    name: str
    state: str
    system_call: str
    wchan: str
    cpu_seconds: float


@dataclass(frozen=True)
class SocketSeen:
    """One open socket: "tcp", "udp" or "unix"; `peer` is "" when it has none; `queued_bytes` wait to be read by the program."""

    fd: int
    kind: str
    state: str
    local: str
    peer: str
    queued_bytes: int = 0


@dataclass(frozen=True)
class Outside:
    """What the outside of a process shows. `since_s` is the wall clock time of its start, in seconds of the epoch; 0 if unknown."""

    pid: int
    command: str
    user: int | None
    state: str
    since_s: float
    resident_bytes: int
    tracer: int
    threads: tuple[ThreadSeen, ...]
    sockets: tuple[SocketSeen, ...]
    open_files: int | None

    @property
    def age_s(self) -> float:
        """How long it has been running, in seconds."""
        return max(time.time() - self.since_s, 0.0) if self.since_s else 0.0


def outside(pid: int) -> Outside | None:
    """Return what is to be seen of a process, None when there is none."""
    status = status_of(pid)
    if status is None:
        return None
    inodes = _socket_inodes(pid)
    users = status.get("Uid", "").split()
    return Outside(
        pid,
        _command(pid, status),
        int(users[0]) if users else None,
        _state(status.get("State", "")[:1]),
        _since(pid),
        _kilobytes(status.get("VmRSS", "")) * 1024,
        int(status.get("TracerPid", "0")),
        tuple(_threads(pid)),
        tuple(_sockets(pid, inodes)) if inodes else (),
        _count(pid),
    )


def _command(pid: int, status: dict[str, str]) -> str:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        text = ""
    return text or status.get("Name", "")


def _state(letter: str) -> str:
    return _STATES.get(letter, letter)


def _since(pid: int) -> float:
    ticks = start_ticks(pid)
    try:
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith("btime ") and ticks:
                return int(line.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except OSError:
        pass
    return 0.0


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) if text else 0


def _count(pid: int) -> int | None:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def _threads(pid: int) -> Iterator[ThreadSeen]:
    for thread in threads_of(pid):
        stat = _text(f"/proc/{pid}/task/{thread}/stat")
        name, _, rest = stat.partition("(")[2].rpartition(")")
        fields = rest.split()
        if len(fields) < 13:
            continue
        wchan = _text(f"/proc/{pid}/task/{thread}/wchan").strip()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        yield ThreadSeen(thread, name, _state(fields[0]), _system_call(pid, thread), "" if wchan == "0" else wchan, cpu)


def _system_call(pid: int, thread: int) -> str:
    fields = _text(f"/proc/{pid}/task/{thread}/syscall").split()
    # A thread of the kernel makes no system calls, and has nothing but zeros there.
    if len(fields) < 9 or fields[-1] == "0x0":
        return ""
    first = fields[0]
    try:
        return processor().call_name(int(first)) if int(first) >= 0 else ""
    except CannotAttach:
        return f"system call {first}"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _socket_inodes(pid: int) -> dict[int, int]:
    """Return inode -> descriptor of the open sockets."""
    found = {}
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                try:
                    link = os.readlink(entry.path)
                except OSError:
                    continue
                if link.startswith("socket:["):
                    found[int(link[8:-1])] = int(entry.name)
                if len(found) >= _MAX_SOCKETS:
                    break
    except OSError:
        pass
    return found


def _sockets(pid: int, inodes: dict[int, int]) -> list[SocketSeen]:
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in _text(f"/proc/{pid}/net/{table}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and int(fields[9]) in inodes:
                found.append(_internet(table.rstrip("6"), fields, inodes[int(fields[9])]))
    for line in _text(f"/proc/{pid}/net/unix").splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) > 6 and int(fields[6]) in inodes:
            # Flag 0x10000 is that of a listener, state 3 that of a connection.
            state = "listening" if int(fields[3], 16) & 0x10000 else "connected" if fields[5] == "03" else ""
            found.append(SocketSeen(inodes[int(fields[6])], "unix", state, fields[7] if len(fields) > 7 else "", ""))
    return sorted(found, key=lambda seen: seen.fd)


def _internet(kind: str, fields: list[str], fd: int) -> SocketSeen:
    number = int(fields[3], 16)
    state = (_TCP_STATES[number] if number < len(_TCP_STATES) else "") if kind == "tcp" else ""
    local, peer = _address(fields[1]), _address(fields[2])
    waiting = int(fields[4].partition(":")[2], 16) if state != "listening" else 0
    return SocketSeen(fd, kind, state, local, "" if peer.endswith(":0") else peer, waiting)


def _address(text: str) -> str:
    """Return "127.0.0.1:80" for what the kernel prints: words of the address as this machine stores them, in hexadecimal."""
    host, _, port = text.partition(":")
    packed = b"".join(struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8))
    if len(packed) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{int(port, 16)}"
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{int(port, 16)}"
