"""Remote exec: Python 3.14's own way is taken where it serves, and a request that does not come to run says nothing later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greentrace.attach import remote_exec
from greentrace.attach.answers import Answers
from greentrace.attach.entry import run_inside
from greentrace.attach.target import examine
from greentrace.errors import CannotAttach
from tests.attach.programs import Program, await_, await_sleep


@pytest.fixture
def newer(start: Callable[..., Program]) -> Callable[..., Program]:
    """Start a program on a Python that has remote_exec."""
    target = examine(start("ready(); os.read(0, 1)").pid)
    if target.python.version[:2] < remote_exec.SINCE:
        pytest.skip(f"Python {target.python.version_text} has no remote_exec (name a newer one in GREENTRACE_TARGETS)")
    return start


def test_a_busy_program_is_entered_by_it(newer: Callable[..., Program]) -> None:
    program = newer("ready()\nwhile True: sum(range(100))")
    entered = run_inside(program.pid, "import os; answer = os.getpid()")
    assert entered.answer == program.pid
    assert entered.injection.how == "remote_exec"
    assert entered.injection.stops == ()
    assert program.end() == (0, "")


def test_a_program_that_is_asleep_is_not_waited_for(newer: Callable[..., Program]) -> None:
    program = newer("import time; ready(); time.sleep(3600)")
    await_sleep(program.pid)
    assert not remote_exec.is_worth_trying(examine(program.pid))
    assert run_inside(program.pid, "answer = 1").injection.how == "asleep"
    assert program.end() == (0, "")


def test_a_program_in_which_it_is_switched_off_is_entered_all_the_same(newer: Callable[..., Program]) -> None:
    program = newer("ready()\nwhile True: sum(range(100))", "env", "PYTHON_DISABLE_REMOTE_DEBUG=1")
    assert run_inside(program.pid, "answer = 1").answer == 1
    assert program.end() == (0, "")


def test_a_request_that_was_made_void_runs_nothing_and_says_nothing(newer: Callable[..., Program]) -> None:
    program = newer("import time; ready(); time.sleep(0.7)\nfor _ in range(1000): pass\nos.write(1, b'over\\n'); os.read(0, 1)")
    target = examine(program.pid)
    with Answers(target) as answers:
        path = answers.leave("import os; os.write(2, b'RAN')")
        assert remote_exec.request(target, path)
        remote_exec.void(target, path)
    assert program.line() == "over"
    assert program.end() == (0, "")


def test_c_code_that_keeps_the_gil_leaves_no_request_behind(newer: Callable[..., Program]) -> None:
    program = newer(
        "import ctypes\nlib = ctypes.PyDLL(None)\nready()\nfor _ in range(10): lib.usleep(150000)\nos.write(1, b'over\\n'); os.read(0, 1)"
    )
    await_(lambda: not remote_exec.is_worth_trying(examine(program.pid)))
    with pytest.raises(CannotAttach, match="safe point"):
        run_inside(program.pid, "import os; os.write(2, b'RAN')", seconds=0.01)
    assert program.line() == "over"
    assert program.end() == (0, "")


def test_an_older_python_has_no_such_way(start: Callable[..., Program]) -> None:
    target = examine(start("ready()\nwhile True: sum(range(100))").pid)
    if target.python.version[:2] >= remote_exec.SINCE:
        pytest.skip("this one has it")
    assert not remote_exec.is_worth_trying(target)
