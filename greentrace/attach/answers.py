"""Answers: the private directory in which injected code leaves its answer, and the text that wraps the code to do so.

The directory stands in the *target's* root, reached through /proc/PID/root, so that a target in another mount namespace sees it; it
belongs to the target's user, mode 0700, and has a name nobody could know beforehand. Nothing is followed on the way: every step is
taken from an open directory, without symbolic links, and what is found must be ours.

    DIRECTORY/began       made by the first of several ways in: the others find it, and do nothing
    DIRECTORY/answer.new  being written
    DIRECTORY/answer      JSON, complete: {"answer": ...} or {"error": "..."}
    DIRECTORY/enter.py    what sys.remote_exec runs

In:  a `Target`, and code that sets `answer`. Out: what it set. Never: a file of the target's user read without bounds, a file that
is not a plain one opened; a thing left behind after `close`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from contextlib import suppress
from types import TracebackType
from typing import Any

from greentrace.attach.target import Target
from greentrace.errors import CannotAttach

MAX_ANSWER_BYTES = 256 << 20
_PLACES = ("dev/shm", "tmp", "var/tmp")
_FILES = ("began", "answer.new", "answer", "enter.py")
_NAME = re.compile(r"greentrace-[0-9a-f]{32}")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# It runs in whatever greenlet is current, with everything patched: posix is not. It may run twice, and does its work once.
_WRAPPED = """
def enter():
    import posix
    directory = {directory!r}
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        posix.close(posix.open(directory + "/began", flags, 0o600))
    except OSError:
        return
    scope = {{"__name__": "__greentrace__", "answer": None}}
    try:
        exec(compile({code!r}, "<greentrace>", "exec"), scope)
        said = {{"answer": scope["answer"]}}
    except BaseException as error:
        said = {{"error": type(error).__name__ + ": " + str(error)}}
    data = b'{{"error": "json cannot be imported in the program"}}'
    try:
        import json
        data = json.dumps({{"error": "the answer cannot be written down"}}).encode()
        data = json.dumps(said).encode()
    except Exception:
        pass
    file = posix.open(directory + "/answer.new", flags, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[posix.write(file, rest):]
    finally:
        posix.close(file)
    posix.rename(directory + "/answer.new", directory + "/answer")
try:
    enter()
except BaseException:
    pass
"""


class Answers:
    """A private directory that lives while the block lasts.

    Raises `CannotAttach` when the target has no place to write to.
    """

    def __init__(self, target: Target, inside: str = "") -> None:
        """Make the directory, or open the one that another of us has made, which the target knows as `inside`.

        Raises `CannotAttach`.
        """
        self._target = target
        self._parent = self._directory = -1
        place, _, name = inside.strip("/").rpartition("/")
        self._name = name or f"greentrace-{secrets.token_hex(16)}"
        self.inside = ""
        """The directory as the target sees it."""
        root = _open_root(target)
        try:
            if inside:
                is_there = place in _PLACES and _NAME.fullmatch(name) is not None and self._open(root, place)
            else:
                is_there = any(self._make(root, place) for place in _PLACES)
        finally:
            os.close(root)
        if is_there:
            return
        if inside:
            raise CannotAttach(f"{inside} is no directory of an attacher.", "It was not touched.", "Remove it by hand.")
        raise CannotAttach(
            f"Process {target.pid} has no directory in which it could leave an answer ({', '.join('/' + place for place in _PLACES)}).",
            "The process was not touched.",
            "Give it a writable /tmp.",
        )

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def wrap(self, code: str) -> str:
        """Return a text that runs `code` once, whoever runs the text and how often, and leaves what it sets as `answer`.

        An exception of the code becomes the answer's error. Nothing gets out of the text.
        """
        return _WRAPPED.format(directory=self.inside, code=code)

    def leave(self, text: str) -> str:
        """Write `enter.py` for sys.remote_exec; return its path as the target sees it."""
        self._write("enter.py", text.encode())
        return f"{self.inside}/enter.py"

    def withdraw(self) -> bool:
        """Make `began` ourselves, so that no wrapped text runs any more. Return whether one had begun."""
        try:
            self._write("began", b"")
        except FileExistsError:
            return True
        return False

    def has_begun(self) -> bool:
        """Whether a wrapped text has begun."""
        return self._status("began") is not None

    def is_there(self) -> bool:
        """Whether the answer is complete."""
        return self._status("answer") is not None

    def answer(self) -> Any:
        """Return the answer.

        Raises `CannotAttach` when there is none, when it is no proper one, or when the code ended with an exception.
        """
        said = self._read("answer")
        if isinstance(said, dict) and "answer" in said:
            return said["answer"]
        error = said.get("error") if isinstance(said, dict) else None
        raise CannotAttach(
            f"What was run in process {self._target.pid} failed ({str(error)[:2000] if error else 'it left no proper answer'}).",
            "The process goes on as it was.",
            "This is a fault of greentrace: please report it.",
        )

    def close(self) -> None:
        """Remove the directory with everything of ours in it."""
        if self._directory >= 0:
            for name in _FILES:
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._directory)
            os.close(self._directory)
            self._directory = -1
            with suppress(OSError):
                os.rmdir(self._name, dir_fd=self._parent)
            os.close(self._parent)

    def _open(self, root: int, place: str) -> bool:
        parent = _descend(root, place)
        if parent is None:
            return False
        self._parent = parent
        try:
            self._directory = os.open(self._name, _DIRECTORY, dir_fd=parent)
        except OSError:
            os.close(parent)
            return False
        self.inside = f"/{place}/{self._name}"
        if os.fstat(self._directory).st_uid == self._target.user:
            return True
        os.close(self._directory)
        os.close(parent)
        self._directory = -1
        return False

    def _make(self, root: int, place: str) -> bool:
        parent = _descend(root, place)
        if parent is None:
            return False
        try:
            if not self._may_hold(os.fstat(parent)):
                return False
            os.mkdir(self._name, 0o700, dir_fd=parent)
            self._directory = os.open(self._name, _DIRECTORY, dir_fd=parent)
        except OSError:
            return False
        finally:
            if self._directory < 0:
                os.close(parent)
        self._parent = parent
        try:
            status = os.fstat(self._directory)
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise PermissionError("somebody else's directory")
            os.fchmod(self._directory, 0o700)
            if status.st_uid != self._target.user:
                os.fchown(self._directory, self._target.user, self._target.group)
        except OSError:
            self.close()
            return False
        self.inside = f"/{place}/{self._name}"
        return True

    def _may_hold(self, status: os.stat_result) -> bool:
        """Whether nobody but us, root and the target's user can move what is made in this directory, and the target may go into it."""
        if status.st_uid not in (0, os.geteuid(), self._target.user):
            return False
        others_write = status.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
        return bool(status.st_mode & stat.S_IXOTH) and (not others_write or bool(status.st_mode & stat.S_ISVTX))

    def _write(self, name: str, data: bytes) -> None:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._directory)
        with open(file, "wb") as out:
            if self._target.user != os.geteuid():
                os.fchown(file, self._target.user, self._target.group)
            out.write(data)

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return None

    def _read(self, name: str) -> Any:
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._directory)
        except OSError:
            return None
        try:
            status = os.fstat(file)
            is_theirs = stat.S_ISREG(status.st_mode) and status.st_uid in (self._target.user, os.geteuid()) and status.st_nlink == 1
            if not is_theirs or status.st_size > MAX_ANSWER_BYTES:
                return None
            with open(file, "rb", closefd=False) as data:
                return json.loads(data.read(MAX_ANSWER_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        finally:
            os.close(file)


def _open_root(target: Target) -> int:
    try:
        return os.open(f"/proc/{target.pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CannotAttach(
            f"The root directory of process {target.pid} cannot be opened ({error.strerror}).",
            "The process was not touched.",
            "Run greentrace as root, or as the user of the process.",
        ) from error


def _descend(root: int, place: str) -> int | None:
    """Open a directory below the target's root, step by step: a symbolic link in it would lead into ours."""
    current = os.dup(root)
    for name in place.split("/"):
        try:
            below = os.open(name, _DIRECTORY, dir_fd=current)
        except OSError:
            return None
        finally:
            os.close(current)
        current = below
    return current
