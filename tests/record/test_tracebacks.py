"""Tracebacks: an exception that passes through a hook looks as without the recorder, with all that it was raised from."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .conftest import execute, traced

_PASSING = re.compile(
    r"0x[0-9a-f]+|\d{4}-\d\d-\d\dT[0-9:]+Z?"
    # Cython shows how it looks for an override of its method `wait`, where it has found one.
    r'|  File "src/gevent/_hub_primitives.py", line \d+, in gevent._gevent_c_hub_primitives.WaitOperationsGreenlet.wait\n'
)


def test_a_traceback_has_no_frame_of_ours(core: str, runtime: str, tmp_path: Path) -> None:
    with_us = execute("tracebacks.py", runtime, env=traced(core, tmp_path / "rings"), directory=tmp_path / "rings")
    without = execute("tracebacks.py", runtime, env=dict(os.environ), directory=tmp_path)
    assert without.stdout.count("Traceback") > 10
    assert "greentrace/record" not in with_us.stdout + with_us.stderr
    said = [[_PASSING.sub("", text) for text in (done.stdout, done.stderr)] for done in (with_us, without)]
    assert said[0] == said[1]
    assert with_us.returncode == without.returncode
