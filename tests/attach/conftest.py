"""What the tests of attach share: real programs to be entered, which know nothing of us.

The programs run on this Python, and on those that GREENTRACE_TARGETS names (paths of interpreters with greenlet, eventlet and
gevent, separated by colons).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import pytest

from greentrace.attach.capabilities import capabilities
from tests.attach.programs import Program

PYTHONS = [sys.executable, *filter(None, os.environ.get("GREENTRACE_TARGETS", "").split(":"))]


@pytest.fixture(scope="session", autouse=True)
def _may_attach() -> None:
    refusal = capabilities().refusal
    if refusal is not None:
        pytest.skip(f"no process can be entered here: {refusal}")


@pytest.fixture(params=PYTHONS, ids=lambda path: "own" if path == sys.executable else path.strip("/").replace("/", "-"))
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(python: str) -> Iterator[Callable[..., Program]]:
    """Start a program: its text says `ready()` when it is."""
    programs: list[Program] = []

    def run(text: str, *before: str, **options: object) -> Program:
        text = f"import os\ndef ready():\n    os.write(1, b'ready\\n')\n{text}"
        programs.append(Program([*before, python, "-W", "ignore", "-c", text], **options))
        return programs[-1]

    yield run
    for program in programs:
        program.drop()
