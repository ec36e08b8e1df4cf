"""Programs that are entered, and what one waits for in them."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from greentrace.attach.mappings import mappings
from greentrace.attach.processor import processor

SECONDS = 60.0


class Program:
    """A running program. It has printed "ready" when it is handed out; what it prints later is read line by line."""

    def __init__(self, command: list[str], **options: object) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]
        self._rest = b""
        try:
            self._wait_until_ready()
        except BaseException:
            self.drop()
            raise

    def _wait_until_ready(self) -> None:
        early = ""
        while (line := self.line()) != "ready":
            assert line, "the program ended before it was ready"
            # Other threads may have spoken before.
            early += f"{line}\n"
        self._rest = early.encode() + self._rest

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def line(self) -> str:
        """Return the next line; "" when the program has closed its output."""
        assert self.process.stdout is not None
        until = time.monotonic() + SECONDS
        while b"\n" not in self._rest:
            assert select.select([self.process.stdout], [], [], max(until - time.monotonic(), 0))[0], "the program says nothing"
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return ""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def speaks(self, seconds: float) -> bool:
        """Whether it has said something that was not read yet, or does so in this time."""
        return bool(self._rest) or bool(select.select([self.process.stdout], [], [], seconds)[0])

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> tuple[int, str]:
        """Kill it; return its exit code before that (0 while it ran), and what it said on stderr."""
        code = self.process.poll()
        self.process.kill()
        _, said = self.process.communicate(timeout=SECONDS)
        return code or 0, said.decode(errors="replace")

    def drop(self) -> None:
        """Let go of what `end` did not."""
        if self.process.returncode is None:
            self.end()


def in_call(pid: int, *numbers: int, thread: int | None = None) -> bool:
    """Whether a thread is asleep in one of these system calls."""
    fields = Path(f"/proc/{pid}/task/{thread or pid}/syscall").read_text().split()
    return fields[0].lstrip("-").isdigit() and int(fields[0]) in numbers


def await_sleep(pid: int, thread: int | None = None) -> None:
    """Wait until a thread is asleep in a call that the table of this processor knows."""
    numbers = [number for number in range(512) if processor().may_last(number)]
    await_(lambda: in_call(pid, *numbers, thread=thread))


def await_(happened: Callable[[], bool]) -> None:
    """Wait until something happened."""
    until = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.001)


def borrowed(pid: int) -> int:
    """Count the mappings that are executable and of no file: the code page of an area is one, and a program has none."""
    return sum(1 for row in mappings(pid) if "x" in row.access and not row.path)
