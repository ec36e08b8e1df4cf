"""Endings: who caught what was thrown into it has returned, whom it ended was killed; on each core and runtime, and by a plain throw."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from greentrace.events import FLAG_INFERRED, How, Kind

from .conftest import Run, Runner, execute, traced
from .grammar import walk

TRACED = """
import sys
sys.settrace(lambda frame, event, arg: None)
from greenlet import GreenletExit, getcurrent, greenlet
def patient():
    getcurrent().parent.switch()
victim = greenlet(patient)
victim.switch()
victim.throw(GreenletExit)
assert victim.dead
"""

LATER = """
import sys
from greenlet import GreenletExit, getcurrent, greenlet
seen = []
def other():
    getcurrent().parent.switch()
def caught():
    try:
        getcurrent().parent.switch()
    except GreenletExit:
        sys.settrace(lambda frame, event, arg: seen.append(frame.f_code.co_name))
        frame = sys._getframe()
        if "takes its place" in sys.argv:
            frame.f_trace = lambda *args: None
        del frame
        sys.settrace(None)
victim = greenlet(caught)
victim.switch()
victim.throw(GreenletExit)
assert victim.dead
"""


@pytest.fixture
def endings(core: str, runtime: str, tmp_path: Path) -> Run:
    done = execute("endings.py", runtime, env=traced(core, tmp_path / "rings"), directory=tmp_path / "rings")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
    return done


def test_whoever_caught_it_has_returned_and_whom_it_ended_was_killed(endings: Run, core: str) -> None:
    ring = endings.ring
    walk(ring)
    names = ring.names()
    seen: dict[str, list[str]] = {}
    for r in ring.of(Kind.FINISH):
        name = names.get(r.greenlet, "").rpartition(".")[2]
        if name.startswith(("returned_", "killed_", "exception_")):
            seen.setdefault(name, []).append(How(r.flags & 3).name.lower() + " inferred" * bool(r.flags & FLAG_INFERRED))
    assert len(seen) == 12
    truth = {name: [name.partition("_")[0]] * 3 for name in seen}
    if core == "python":
        # What the twin cannot see it does not guess.
        truth = {
            name: ["unknown" if told == "unknown" else said for told, said in zip(seen[name], truth[name], strict=True)] for name in seen
        }
    assert seen == truth


def test_the_program_is_none_the_wiser(endings: Run, runtime: str) -> None:
    alone = execute("endings.py", runtime, env=dict(os.environ), directory=endings.directory)
    assert (alone.returncode, alone.stdout) == (0, endings.stdout)


def test_where_somebody_traces_the_lines_it_is_unknown(run: Runner) -> None:
    [finish] = run(TRACED).ok.ring.of(Kind.FINISH)
    assert finish.flags & 3 == How.UNKNOWN


@pytest.mark.parametrize(("how", "arguments"), [(How.RETURNED, ()), (How.UNKNOWN, ("takes its place",))])
def test_a_trace_function_that_comes_later_is_served_as_without_us(run: Runner, core: str, how: How, arguments: tuple[str, ...]) -> None:
    [finish] = run(LATER, *arguments).ok.ring.of(Kind.FINISH)
    assert finish.flags & 3 == (how if core == "native" else How.UNKNOWN)
