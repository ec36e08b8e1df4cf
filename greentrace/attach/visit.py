"""Visit: into a process that never heard of us, and out again.

    enter     a private directory in its world -> the wing is imported there -> it begins to record -> its ring
    leave     it records no more, nor do the children that it forked meanwhile; everything is given back, the directory is gone

What runs inside is `foothold`, and then greentrace.record.arrival.

In:  a PID. Out: a `Visit`: the ring as a path from here. Never: a process that is left half entered.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import greentrace
from greentrace import __version__, follow, processes, ring
from greentrace.attach.answers import Answers
from greentrace.attach.entry import run_inside
from greentrace.attach.injector import Injection
from greentrace.attach.target import Target, examine, refuse_without_greenlet, start_ticks
from greentrace.errors import CannotAttach
from greentrace.processes import as_seen_from_here

SECONDS = 10.0
"""The most that each step may take before the process is left as it was."""
_WING = ("__init__.py", "errors.py", "events.py", "lifecycle.py", "ring.py", "record")
"""What of this package runs inside."""
_LOADED = "loaded"
_PAUSE_SECONDS = 0.0005
_FOOTHOLD = Path(__file__).with_name("foothold.py")


class Camp(Answers):
    """The private directory of a visit, where the rings are; and beside it, for a process that cannot read ours, a copy of the wing."""

    def __init__(self, target: Target, inside: str = "") -> None:
        super().__init__(target, inside)
        self.pid = target.pid
        self.path = as_seen_from_here(target.pid, self.inside)
        self._copy = ""

    def suits(self, target: Target) -> bool:
        """Whether another process can use the same directory."""
        ours = self._target
        same_files = target.is_root_ours == ours.is_root_ours and as_seen_from_here(target.pid, self.inside) == self.path
        return target.user == ours.user and same_files

    def word(self, name: str) -> str | None:
        """Return what stands in a small file, None while it is not there."""
        if self._status(name) is None:
            return None
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._directory)
        with open(file, "rb") as data:
            return data.read(4096).decode(errors="replace")

    def package(self) -> str:
        """Return where the process finds a copy of the wing.

        It is made in a directory that is ours and stays so: in the one that belongs to the process's user, that user could lead what
        we write elsewhere.
        """
        if not self._copy:
            self._copy = f"greentrace-{secrets.token_hex(16)}"
            os.mkdir(self._copy, 0o700, dir_fd=self._parent)
            file = os.open(self._copy, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._parent)
            try:
                _copy_wing(Path(f"/proc/self/fd/{file}/greentrace"))
                os.fchmod(file, 0o755)
            finally:
                os.close(file)
        return f"{os.path.dirname(self.inside)}/{self._copy}/greentrace"

    def close(self) -> None:
        if self._directory >= 0:
            with contextlib.suppress(OSError):
                for name in os.listdir(self._directory):
                    if stat.S_ISDIR(os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mode):
                        shutil.rmtree(name, ignore_errors=True, dir_fd=self._directory)
                    else:
                        os.unlink(name, dir_fd=self._directory)
            if self._copy:
                shutil.rmtree(self._copy, ignore_errors=True, dir_fd=self._parent)
        super().close()


def _copy_wing(package: Path) -> None:
    """Copy what runs inside, so that everybody can read it."""
    home = Path(greentrace.__file__).parent
    package.mkdir()
    for name in _WING:
        if (home / name).is_dir():
            shutil.copytree(home / name, package / name, ignore=shutil.ignore_patterns("native", "__pycache__"))
        else:
            shutil.copy(home / name, package / name)
    for folder, _, files in os.walk(package):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)


@dataclass
class Visit:
    """A process that records because of us. `ring` is its ring, in `directory`, with those of the children that it forks.

    `core`: which recorder it has, "c" or "python". `held_ns`: how long its main thread was kept by what was done inside.
    """

    pid: int
    ring: Path
    directory: Path
    core: str
    held_ns: int
    started_ticks: int
    injections: list[Injection] = field(default_factory=list)
    _camp: Camp | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it did not record before we came."""
        return self._camp is not None

    def is_in(self, directory: Path) -> bool:
        """Whether its ring is in that directory."""
        return self.directory == directory

    def leave(self, seconds: float = SECONDS) -> list[str]:
        """Have it record no more, nor its children. Return the names of what had to stay there, with no effect.

        Raises `CannotAttach` when one of them cannot be entered again; it goes on recording then.
        """
        left: list[str] = []
        world = follow.world_of(self.pid)
        for path in sorted(self.directory.glob(f"*{ring.SUFFIX}")):
            pid = _owner(path, world)
            if pid:
                answer, injection = _call(examine(pid), "end", (), seconds)
                left += [str(name) for name in answer.get("left", ())]
                self.injections.append(injection)
                if pid == self.pid:
                    self.held_ns = int(answer.get("held_ns", 0))
        if self._camp is not None:
            self._camp.close()
        return left


def enter(pid: int, ring_bytes: int = ring.DEFAULT_BYTES, depth: int = 32, seconds: float = SECONDS, beside: Visit | None = None) -> Visit:
    """Make a process record itself, in the directory of another visit if one is given; whoever leaves that leaves this one too.

    Raises `CannotAttach`: why it cannot be entered, with the process as it was before.
    """
    target = examine(pid)
    refuse_without_greenlet(target)
    shared = beside._camp if beside is not None else None
    if shared is not None and shared.suits(target):
        return _enter(target, shared, ring_bytes, depth, seconds, False)
    if shared is not None:
        raise CannotAttach(
            f"Process {pid} has another user or root directory than process {shared.pid}.",
            "It goes on as before.",
            "Attach to it by itself.",
        )
    camp = Camp(target)
    try:
        return _enter(target, camp, ring_bytes, depth, seconds, True)
    except BaseException:
        camp.close()
        raise


def _enter(target: Target, camp: Camp, ring_bytes: int, depth: int, seconds: float, owns: bool) -> Visit:
    pid = target.pid
    package = str(Path(greentrace.__file__).parent)
    if not _can_read(target, package):
        package = camp.package()
    word = f"{_LOADED}-{pid}"
    arguments = (f"{camp.inside}/{word}", package, __version__, camp.inside, ring_bytes, depth)
    loading = _run(target, f"load{arguments!r}", seconds)
    _refuse_unloaded(pid, _awaited(lambda: camp.word(word), pid, seconds))
    answer, beginning = _call(target, "begin", (camp.inside,), seconds)
    path = as_seen_from_here(pid, str(answer["ring"]))
    already = bool(answer.get("already"))
    if already and owns:
        camp.close()
    held_ns = int(answer["held_ns"])
    ours = camp if owns and not already else None
    return Visit(pid, path, path.parent, str(answer["core"]), held_ns, target.started_ticks, [loading[1], beginning], ours)


def leave(pid: int, seconds: float = SECONDS) -> list[str]:
    """Have a process that records stop, whoever began it. Return the names of what had to stay there, with no effect.

    Where a visit began it, the directory of that visit goes with the last process that records into it.
    Raises `CannotAttach`.
    """
    target = examine(pid)
    answer, _ = _call(target, "end", (), seconds)
    inside = os.path.dirname(str(answer.get("ring", "")))
    if inside:
        with contextlib.suppress(CannotAttach):
            _clear(Camp(target, inside))
    return [str(name) for name in answer.get("left", ())]


def _clear(camp: Camp) -> None:
    world = follow.world_of(camp.pid)
    if not any(processes.is_written(path) and _owner(path, world) for path in camp.path.glob(f"*{ring.SUFFIX}")):
        camp.close()


def _owner(path: Path, world: str) -> int:
    """Return the living process that a ring is of, by the number that we know it by; 0 without one."""
    inner, _, ticks = path.name[: -len(ring.SUFFIX)].partition("-")
    pid = follow.pid_from_here(int(inner), world) if inner.isdigit() else 0
    return pid if pid and ticks != "0" and str(start_ticks(pid)) == ticks else 0


def _run(target: Target, line: str, seconds: float) -> tuple[Any, Injection]:
    code = f"{_FOOTHOLD.read_text(encoding='utf-8')}\n\nanswer = {line}\n"
    entered = run_inside(target.pid, code, seconds=seconds, target=target)
    return entered.answer, entered.injection


def _call(target: Target, name: str, arguments: tuple[Any, ...], seconds: float) -> tuple[dict[str, Any], Injection]:
    """Call a function of greentrace.record.arrival inside.

    Raises `CannotAttach`: what it refused, too.
    """
    answer, injection = _run(target, f"call({', '.join(map(repr, (name, *arguments)))})", seconds)
    if not isinstance(answer, dict):
        answer = {}
    refused = answer.get("refused")
    if isinstance(refused, list) and len(refused) == 3:
        happened, kept, advice = map(str, refused)
        raise CannotAttach(happened, kept, advice)
    return answer, injection


def _awaited(look: Callable[[], str | None], pid: int, seconds: float) -> str:
    until = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > until:
            raise CannotAttach(
                f"Process {pid} has not imported the recorder within {seconds:g} s.",
                "It goes on as before.",
                "Its other threads may keep it busy: try again, or with a longer time limit.",
            )
        time.sleep(_PAUSE_SECONDS)
    return found


def _refuse_unloaded(pid: int, problem: str) -> None:
    if not problem:
        return
    untouched = "It goes on as before."
    if problem == "no greenlet":
        raise CannotAttach(f"Process {pid} has not imported greenlet: nothing green runs there.", untouched, "greentrace ps lists others.")
    if problem.startswith("greentrace "):
        raise CannotAttach(
            f"Process {pid} has imported {problem}, and this is greentrace {__version__}.", untouched, f"Use {problem} to attach to it."
        )
    raise CannotAttach(f"The recorder cannot be imported in process {pid} ({problem}).", untouched, "Please report this.")


def _can_read(target: Target, package: str) -> bool:
    """Whether the process can import our package from where it is installed."""
    if not target.is_root_ours:
        return False
    if target.user == os.geteuid():
        return True
    path = Path(package).resolve()
    for folder in (path, *path.parents):
        mode = os.stat(folder).st_mode
        if not mode & 0o001:
            return False
    return True
