"""Harmless: programs that go to the edges of what a runtime allows, and that a recorder must not push over."""

from __future__ import annotations

from .conftest import PROGRAMS, Runner


def test_a_lock_is_taken_and_given_back_while_the_interpreter_goes(run: Runner, runtime: str) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(PROGRAMS)!r})
import os, threading
import face
class Late:
    def __init__(self):
        self.lock, self.write = threading._PyRLock(), os.write
    def __del__(self):
        with self.lock:
            self.write(1, b"held\\n")
late = Late()
"""
    assert run(program, runtime).ok.stdout == "held\n"


def test_a_tracer_on_top_of_ours_may_call_it_with_anything(run: Runner) -> None:
    program = """
import greenlet
from greentrace.record.session import current
ours = greenlet.gettrace()
for event, args in (("switch", None), ("switch", (object(), object())), ("unknown", (1, 2, 3)), (None, ())):
    ours(event, args)
assert current()._recorder.is_recording()
"""
    assert run(program).ok.stdout == ""
