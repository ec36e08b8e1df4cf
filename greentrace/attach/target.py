"""Target: what is known of a process before it is entered, and every reason why it cannot be.

In:  a pid. Out: a `Target`, or `CannotAttach` in three parts, with the advice that fits the very reason.
Never: a stop, a signal or a write; a reason that was guessed while /proc tells the true one.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from greentrace.attach.mappings import Mapping, mappings
from greentrace.attach.processor import processor
from greentrace.attach.symbols import FUNCTIONS, Python, python_of
from greentrace.errors import CannotAttach

OLDEST, NEWEST = (3, 11), (3, 14)
_PATIENCE_SECONDS = 0.25
_KERNEL_THREAD = 0x00200000
_SYS_PTRACE = 19
UNTOUCHED = "The process was not touched."
_LISTS = "greentrace ps lists what can be attached to."
_RECORD = "Start it with `greentrace record`, or call greentrace.start() in it."


@dataclass(frozen=True)
class Target:
    """A process that can be entered, as far as can be told from outside. `user` and `group` are those it opens files with."""

    pid: int
    started_ticks: int
    user: int
    group: int
    threads: tuple[int, ...]
    python: Python
    has_greenlet: bool
    is_root_ours: bool
    is_namespace_ours: bool


@contextmanager
def opened(pid: int) -> Iterator[tuple[Target, int]]:
    """Examine a process and keep its memory open: (target, descriptor of /proc/PID/mem).

    Raises `CannotAttach`.
    """
    memory = _memory_of_living(pid)
    try:
        yield _examined(pid, memory), memory
    finally:
        os.close(memory)


def examine(pid: int) -> Target:
    """Return what is known of a process that can be entered.

    Raises `CannotAttach` with the reason when it cannot.
    """
    with opened(pid) as (target, _):
        return target


def _memory_of_living(pid: int) -> int:
    status = status_of(pid)
    if status is None:
        raise CannotAttach(f"There is no process {pid}.", "Nothing was touched.", _LISTS)
    if status.get("Tgid", str(pid)) != str(pid):
        raise CannotAttach(
            f"{pid} is a thread of process {status['Tgid']}, not a process.", "Nothing was touched.", f"Attach to {status['Tgid']}."
        )
    if pid == os.getpid():
        raise CannotAttach("A process cannot attach to itself.", "Nothing was touched.", "Call greentrace.start() in it.")
    if status.get("State", "").startswith(("Z", "X")):
        raise CannotAttach(
            f"Process {pid} has ended; only its exit code is left (a zombie).",
            "Nothing was touched.",
            f"Its parent, process {status.get('PPid', '?')}, has not asked for that code yet.",
        )
    if _is_kernel_thread(pid):
        raise CannotAttach(f"Process {pid} is a thread of the kernel ({status.get('Name', '')}).", "Nothing was touched.", _LISTS)
    refuse_stopped(pid, status)
    refuse_traced(pid)
    try:
        mappings(pid)
        return os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        raise not_permitted(pid) from None
    except (FileNotFoundError, ProcessLookupError):
        raise CannotAttach(f"Process {pid} has ended.", "Nothing was touched.", _LISTS) from None


def _examined(pid: int, memory: int) -> Target:
    table = processor()
    try:
        rows = mappings(pid)
        python = python_of(pid, memory, rows)
        # Of a process that ended meanwhile nothing is read, and no error comes.
        if not any(os.pread(memory, 1, row.start) for row in rows if row.is_file):
            raise ProcessLookupError
    except PermissionError:
        raise not_permitted(pid) from None
    except OSError:
        raise CannotAttach(f"Process {pid} has ended.", "Nothing was touched.", _LISTS) from None
    program = _program(pid)
    if python is None:
        looks = os.path.basename(program).startswith(("python", "pypy"))
        raise CannotAttach(
            f"Process {pid} ({program}) is not a CPython program" + (", or hides its symbols." if looks else "."), UNTOUCHED, _LISTS
        )
    refuse_version(pid, python)
    if python.machine != table.ELF_MACHINE:
        raise CannotAttach(f"Process {pid} runs the code of another processor than this machine's.", UNTOUCHED, _RECORD)
    user, group = owner_of(pid)
    return Target(
        pid,
        start_ticks(pid),
        user,
        group,
        threads_of(pid),
        python,
        has_greenlet(rows),
        _is_same("root", pid) and _is_same("ns/mnt", pid),
        _is_same("ns/mnt", pid) and _is_same("ns/pid", pid),
    )


def refuse_version(pid: int, python: Python) -> None:
    """Raise `CannotAttach` for a Python into which there is no way."""
    if python.version[:2] < OLDEST:
        known = python.version != (0, 0, 0)
        raise CannotAttach(
            f"Process {pid} runs {'Python ' + python.version_text if known else 'a Python that is older than 3.11'}.",
            UNTOUCHED,
            "greentrace attaches to 3.11 and newer: run the program on such a Python.",
        )
    if python.is_free_threaded:
        raise CannotAttach(
            f"Process {pid} runs a free-threaded build of Python {python.version_text}, in which several threads run at once.",
            UNTOUCHED,
            "Run the program on a build with the GIL.",
        )
    if python.version[:2] > NEWEST or not set(FUNCTIONS) <= set(python.functions):
        raise CannotAttach(
            f"Process {pid} runs Python {python.version_text}, which is newer than any that greentrace knows its way into"
            f" ({'.'.join(map(str, NEWEST))}).",
            UNTOUCHED,
            "Look for a newer greentrace, or run the program on a Python that is known.",
        )


def refuse_stopped(pid: int, status: dict[str, str] | None = None) -> None:
    """Raise `CannotAttach` when nothing can run in a process because a signal has stopped it."""
    state = (status_of(pid) or {} if status is None else status).get("State", "")
    if state.startswith("T"):
        raise CannotAttach(
            f"Process {pid} is stopped by a signal (SIGSTOP, or Ctrl-Z in its terminal), and runs nothing until it is continued.",
            UNTOUCHED,
            f"Continue it with `kill -CONT {pid}`, then attach.",
        )


def refuse_traced(pid: int) -> None:
    """Raise `CannotAttach` when somebody else holds a process with ptrace, and for longer than another attacher's look takes."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while (tracer := (status_of(pid) or {}).get("TracerPid", "0")) != "0" and time.monotonic() < until:
        time.sleep(0.001)
    if tracer != "0":
        name = (status_of(int(tracer)) or {}).get("Name", "unknown")
        raise CannotAttach(
            f"Process {pid} is already traced by process {tracer} ({name}); a process can have one tracer.",
            UNTOUCHED,
            f"End process {tracer}, or have it detach, then attach.",
        )


def refuse_without_greenlet(target: Target) -> None:
    """Raise `CannotAttach` for a program that has no green threads, as far as its memory shows."""
    if not target.has_greenlet:
        raise CannotAttach(
            f"Process {target.pid} has not loaded the greenlet library: there are no green threads in it.",
            UNTOUCHED,
            "greentrace ps lists the processes that have, and their runtime.",
        )


@dataclass(frozen=True)
class Standing:
    """Who we are to a process that we may not look into. `scope` is Yama's, None without Yama."""

    user: int
    us: int
    has_capability: bool
    scope: int | None
    is_dumpable: bool


def not_permitted(pid: int) -> CannotAttach:
    """Return why we may not look into a process: its user, its own wish, Yama, or a missing capability."""
    status = status_of(pid)
    if status is None or status.get("State", "").startswith(("Z", "X")):
        return CannotAttach(f"Process {pid} has ended.", "Nothing was touched.", _LISTS)
    us, user = os.geteuid(), owner_of(pid)[0]
    return refusal_for(pid, Standing(user, us, has_sys_ptrace(), ptrace_scope(), _owner_of_files(pid) == user))


def refusal_for(pid: int, standing: Standing) -> CannotAttach:
    """Return the reason and the advice for where we stand."""
    user, us, scope = standing.user, standing.us, standing.scope
    if scope == 3:
        return CannotAttach(
            "This machine does not let any process be traced (kernel.yama.ptrace_scope is 3), until it is started anew.", UNTOUCHED, _RECORD
        )
    if not standing.has_capability:
        if us == 0:
            return CannotAttach(
                f"Process {pid} may not be traced: this container, or this root user, is without the capability SYS_PTRACE.",
                UNTOUCHED,
                "Start the container with `--cap-add=SYS_PTRACE` (Kubernetes: securityContext.capabilities.add), or attach from the host.",
            )
        if user != us:
            return CannotAttach(
                f"Process {pid} belongs to another user ({_user_name(user)}).",
                UNTOUCHED,
                f"Run greentrace as that user (`sudo -u {_user_name(user)}`) or as root.",
            )
        if not standing.is_dumpable:
            return CannotAttach(
                f"Process {pid} does not let itself be looked into (it is not dumpable: it changed its user, or asked for it with prctl).",
                UNTOUCHED,
                "Run greentrace as root.",
            )
        if scope == 2:
            return CannotAttach(
                "This machine lets nobody trace without the capability SYS_PTRACE (kernel.yama.ptrace_scope is 2).",
                UNTOUCHED,
                "Run greentrace with sudo.",
            )
        if scope == 1:
            return CannotAttach(
                f"This machine lets a process be traced by its ancestors only (kernel.yama.ptrace_scope is 1); process {pid} is no child"
                " of ours.",
                UNTOUCHED,
                "Run greentrace with sudo, or allow it until the next start with `sudo sysctl kernel.yama.ptrace_scope=0`, or start the"
                " program with `greentrace record`.",
            )
    return CannotAttach(
        f"Process {pid} may not be traced by this user ({_user_name(us)}); a security module or a user namespace forbids it.",
        UNTOUCHED,
        "Run greentrace as root of the machine itself, or start the program with `greentrace record`.",
    )


def status_of(pid: int) -> dict[str, str] | None:
    """Return /proc/PID/status, None when there is no such process; nothing when it is hidden from us (/proc mounted with hidepid)."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except PermissionError:
        return {}
    except OSError:
        return None
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else 0


def threads_of(pid: int) -> tuple[int, ...]:
    """Return the native ids of its threads, the main thread first."""
    try:
        found = sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return ()
    return tuple(sorted(found, key=lambda thread: thread != pid))


def owner_of(pid: int) -> tuple[int, int]:
    """Return the user and the group with which a process opens files; (-1, -1) when that is not to be known."""
    status = status_of(pid) or {}
    users, groups = status.get("Uid", "").split(), status.get("Gid", "").split()
    if len(users) > 3 and len(groups) > 3:
        return int(users[3]), int(groups[3])
    try:
        seen = os.stat(f"/proc/{pid}")
    except OSError:
        return -1, -1
    return seen.st_uid, seen.st_gid


def caught_signals(pid: int) -> int:
    """Return the signals for which a process has handlers, as a mask."""
    return int((status_of(pid) or {}).get("SigCgt", "0"), 16)


def has_greenlet(rows: list[Mapping]) -> bool:
    """Whether the greenlet library is loaded, as far as the mapped files show."""
    return any(os.path.basename(row.path).startswith("_greenlet.") for row in rows)


def has_sys_ptrace() -> bool:
    """Whether we have the capability SYS_PTRACE."""
    return bool(int((status_of(os.getpid()) or {}).get("CapEff", "0"), 16) >> _SYS_PTRACE & 1)


def ptrace_scope() -> int | None:
    """Return what Yama allows (0 to 3), None when the kernel has no Yama."""
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        return None


def _is_kernel_thread(pid: int) -> bool:
    fields = _stat(pid)
    return len(fields) > 6 and bool(int(fields[6]) & _KERNEL_THREAD)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return "unknown"


def _owner_of_files(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/maps").st_uid
    except OSError:
        return -1


def _is_same(name: str, pid: int) -> bool:
    try:
        ours, theirs = os.stat(f"/proc/self/{name}"), os.stat(f"/proc/{pid}/{name}")
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"
