"""Remote exec: Python's own way into a program, sys.remote_exec of 3.14 and newer (PEP 768).

It wants a caller of the very same version: that is the target's own executable, started in the target's root. It is asked to run a
file at the next safe point of the main thread; an idle program does not reach one, so that the caller waits only a moment.

In:  a `Target`, the path of a file as the target sees it. Out: whether Python took the request. Never: a wait for the file to run;
a request to a program that is asleep, or is in another pid namespace, where our pids mean nothing.
"""

from __future__ import annotations

import os
import subprocess

from greentrace.attach.processor import processor
from greentrace.attach.target import Target

SINCE = (3, 14)
ANSWER_SECONDS = 0.1
_START_SECONDS = 5.0
_MAX_RUNTIME_BYTES = 16 << 20


def is_worth_trying(target: Target) -> bool:
    """Whether the target has remote_exec, can be reached by it, and its main thread is not asleep."""
    if target.python.version[:2] < SINCE or not target.is_namespace_ours or (not target.is_root_ours and os.geteuid() != 0):
        return False
    return not _is_asleep(target.pid)


def request(target: Target, path: str) -> bool:
    """Ask the target's Python to run a file. False when it refused (switched off, or not reachable)."""
    executable = f"/proc/{target.pid}/exe"
    try:
        name = os.readlink(executable)
        code = f"import sys; sys.remote_exec({target.pid}, {path!r})"
        environment = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "LC_ALL")}
        done = subprocess.run(
            [name, "-I", "-S", "-c", code],
            executable=executable if target.is_root_ours else name,
            preexec_fn=None if target.is_root_ours else lambda: os.chroot(f"/proc/{target.pid}/root"),
            cwd="/",
            env=environment | _library_path(target.pid),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_START_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def void(target: Target, path: str) -> None:
    """Have a request that Python still keeps run nothing: the path in its memory becomes that of an empty file.

    Without it a Python that comes to the request later says on the program's stderr that our file is gone.
    """
    start, end = target.python.runtime
    if not 0 < end - start <= _MAX_RUNTIME_BYTES:
        return
    try:
        memory = os.open(f"/proc/{target.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        at = os.pread(memory, end - start, start).find(path.encode() + b"\0")
        if at >= 0:
            os.pwrite(memory, b"/dev/null\0", start + at)
    except OSError:
        pass
    finally:
        os.close(memory)


def _is_asleep(pid: int) -> bool:
    """Whether the main thread is in a call in which it may stay for long, as /proc/PID/syscall has it."""
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            first = file.read().split()[0]
    except (OSError, IndexError):
        return False
    return first.isdigit() and processor().may_last(int(first))


def _library_path(pid: int) -> dict[str, str]:
    """Return what the target's loader was told: its libpython may stand where only that leads."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            rows = file.read().split(b"\0")
    except OSError:
        return {}
    for row in rows:
        if row.startswith(b"LD_LIBRARY_PATH="):
            return {"LD_LIBRARY_PATH": os.fsdecode(row.partition(b"=")[2])}
    return {}
