"""Forked children: a deadlock is of the process that has it, and is made of those that are in it there; on every runtime and both cores.

In:  the programs of forked/, whose docstrings say what is true of the child. The parent is healthy in all of them.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from greentrace.record.launch import environment
from greentrace.replay import reader
from greentrace.replay.model import split_key
from greentrace.ring import MIN_BYTES
from tests.record.conftest import usable

FORKED = Path(__file__).parent / "forked"
PROGRAMS = [path.stem for path in sorted(FORKED.glob("*.py")) if path.stem != "family"]
WAYS = [("hub", "os"), ("eventlet", "os"), ("gevent", "os"), ("gevent", "gevent")]


def told(name: str) -> dict[str, list[str]]:
    text = ast.get_docstring(ast.parse((FORKED / f"{name}.py").read_text(encoding="utf-8"))) or ""
    lines = re.findall(r"^(Deadlock|Doomed) in the child: (.+)$", text, re.M)
    return {word: [] if rest == "none" else sorted(rest.split(", ")) for word, rest in lines}


@pytest.mark.parametrize("core", ["native", "python"])
@pytest.mark.parametrize(("runtime", "way"), WAYS, ids=["-".join(pair) for pair in WAYS])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_verdict_names_the_child_and_exactly_those_in_it(name: str, runtime: str, way: str, core: str, tmp_path: Path) -> None:
    rings = tmp_path / "rings"
    rings.mkdir(mode=0o700)
    env = {**environment(rings, MIN_BYTES), "GREENTRACE_CORE": usable(core)}
    command = [sys.executable, str(FORKED / f"{name}.py"), runtime, way]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "child 0\n" in done.stdout
    truth = told(name)
    with reader.open(rings) as trace:
        [child] = [number for number, process in enumerate(trace.processes) if process.meta["ppid"] == trace.processes[1 - number].pid]
        world = trace.at(trace.end_ns)
        found = trace.deadlocks()
        assert [sorted(world.label(key) for key in deadlock.greenlets) for deadlock in found] == [truth["Deadlock"]] * bool(
            truth["Deadlock"]
        )
        assert all(deadlock.process == child and not deadlock.victims for deadlock in found)
        doomed = trace.graph(trace.end_ns).doomed
        assert sorted(world.label(key) for key in doomed) == sorted([*truth["Deadlock"], *truth.get("Doomed", [])])
        assert {split_key(key)[0] for key in doomed} <= {child}
