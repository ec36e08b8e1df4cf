"""Corpus: the programs of this directory, what is true of each, and a way to record one.

In:  the docstring of a program; the lines of it that begin with one of these words are its truth, and stand nowhere else:

    Deadlock: alice, 2 bob          one deadlock of exactly these (a line each), or `none`
    Victims: 3 carol                who waits behind them, apart
    Doomed: 2 dave                  who is doomed without any deadlock
    In the end: none                what has become of it by the end of a program that was not killed
    Not on eventlet: why            a runtime on which there is no such program
    Unknown on gevent python: why   what a recorder cannot see on a runtime (or on any): nothing may be claimed then; `late`: what cannot
                                    be found any more when recording begins when all have gone as far as they get
    Ends: killed                    it never ends by itself; with `on gevent`, how the hub of gevent ends it

Out: `Truth`, and `Run`: the program recorded, and opened. Never: an opinion of this file on what is deadlocked.
"""

from __future__ import annotations

import ast
import os
import re
import select
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from greentrace.follow import Follow
from greentrace.record.launch import environment
from greentrace.replay import reader
from greentrace.replay.reader import Trace
from greentrace.ring import HEAD, MIN_BYTES, Layout, Mapping

PROGRAMS = Path(__file__).parent / "programs"
RUNTIMES = ("hub", "eventlet", "gevent")
CORES = ("native", "python")
_SHARED = {"face", "patched"}
_LINE = re.compile(r"^(Deadlock|Victims|Doomed|In the end|Not on|Unknown on|Ends on|Ends)(?: ([a-z ]+))?: (.+)$", re.M)
WRAPS = 20

Names = Counter[str]


def _names(text: str) -> Names:
    found: Names = Counter()
    for word in [] if text == "none" else text.split(", "):
        number, _, name = word.rpartition(" ")
        found[name] += int(number or 1)
    return found


def _key(names: Names) -> list[tuple[str, int]]:
    return sorted(names.items())


@dataclass
class Truth:
    """What a program's docstring says of it."""

    name: str
    deadlocks: list[Names] = field(default_factory=list)
    victims: Names = field(default_factory=Counter)
    doomed: Names = field(default_factory=Counter)
    dissolves: bool = False
    ends: bool = True
    loop_exit: str = ""
    not_on: dict[str, str] = field(default_factory=dict)
    unknown_on: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Truth:
        truth = cls(path.stem)
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines = _LINE.findall(text)
        assert any(word == "Deadlock" for word, _, _ in lines), f"{path.name} does not say whether there is a deadlock"
        for word, where, rest in lines:
            if word == "Deadlock" and rest != "none":
                truth.deadlocks.append(_names(rest))
            elif word == "Victims":
                truth.victims = _names(rest)
            elif word == "Doomed":
                truth.doomed = _names(rest)
            elif word == "In the end":
                truth.dissolves = True
            elif word == "Ends on":
                truth.loop_exit = where
            elif word == "Ends":
                truth.ends = False
            elif word == "Not on":
                truth.not_on[where] = rest
            elif word == "Unknown on":
                truth.unknown_on[where] = rest
        return truth

    def is_unknown(self, runtime: str, core: str, late: bool = False) -> bool:
        # What a recorder could not see as it happened can be found afterwards.
        return not self.unknown_on.keys().isdisjoint({"late"} if late else {core, runtime, f"{runtime} {core}"})

    def endings(self, runtime: str) -> set[str]:
        """Return how it can end: of itself, or killed."""
        return {"exit"} if runtime == self.loop_exit else {"exit", "kill"} if self.ends else {"kill"}

    @property
    def sorted(self) -> list[list[tuple[str, int]]]:
        return sorted(_key(names) for names in self.deadlocks)


TRUTHS = {path.stem: Truth.of(path) for path in sorted(PROGRAMS.glob("*.py")) if path.stem not in _SHARED}


class Variant(NamedTuple):
    """How a program is recorded and read.

    `after`: its ring is read when all is over. `live`: it is followed as it runs, and may be too fast. `paced`: it is not.
    """

    core: str = "native"
    ending: str = "exit"
    reading: str = "after"
    wrapped: bool = False
    late: bool = False
    """Nobody records it until it stands as it shall be judged."""

    def __str__(self) -> str:
        return "-".join([self.core, self.ending, self.reading, *["wrapped"] * self.wrapped, *["late"] * self.late])


def existing() -> list[tuple[str, str]]:
    """Return every (program, runtime) that there is."""
    return [(truth.name, runtime) for truth in TRUTHS.values() for runtime in RUNTIMES if runtime not in truth.not_on]


@dataclass
class Run:
    """A program that was recorded: how it ended, what it said, its trace, and how often its ring was filled."""

    returncode: int
    stdout: str
    stderr: str
    trace: Trace
    wraps: float


def record(name: str, runtime: str, variant: Variant, directory: Path) -> Run:
    """Run a program of the corpus under the recorder, kill it or let it end, and open what it left."""
    rings = directory / "rings"
    rings.mkdir(mode=0o700)
    recording = {**os.environ, "GREENTRACE_LATE": str(rings)} if variant.late else environment(rings, MIN_BYTES)
    env = {**recording, "GREENTRACE_CORE": variant.core}
    noise = Layout.of(MIN_BYTES).records * (WRAPS + 1) if variant.wrapped else 0
    command = [sys.executable, str(PROGRAMS / f"{name}.py"), runtime, variant.ending, str(noise), *["paced"] * (variant.reading == "paced")]
    follow = None if variant.reading == "after" else Follow(rings, directory / "t.gtrace")
    program = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    assert program.stdin is not None
    assert program.stdout is not None
    end = time.monotonic() + 100
    try:
        said = b""
        while time.monotonic() < end:
            if select.select([program.stdout], [], [], 0.005 if follow else 1)[0]:
                said = program.stdout.readline()
                if said != b"wait\n":
                    # It has said that it stands, or has ended.
                    break
                while follow is not None and follow.turn():
                    continue
                program.stdin.write(b"\n")
            elif follow is not None:
                follow.turn()
        if variant.ending == "kill":
            program.kill()
        rest, errors = program.communicate(timeout=60)
    finally:
        program.kill()
        program.wait()
    (path,) = rings.iterdir()
    mapping = Mapping(path)
    wraps = mapping.words[HEAD] / mapping.layout.records
    mapping.close()
    if follow is not None:
        follow.finish()
        path = directory / "t.gtrace"
    return Run(program.returncode, (said + rest).decode(), errors.decode(), reader.open(path), wraps)
