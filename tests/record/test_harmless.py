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


def test_a_trace_function_of_the_programs_own_may_take_a_lock_wherever_it_is_called(run: Runner, runtime: str) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(PROGRAMS)!r})
import face
mine, yours = face.Lock(), face.Lock()
lines = []
def trace(frame, event, argument):
    sys.settrace(None)
    with mine:
        lines.append(frame.f_lineno)
    sys.settrace(trace)
    return trace
sys.settrace(trace)
for _ in range(3):
    yours.acquire()
    yours.release()
sys.settrace(None)
print(mine.locked(), yours.locked(), "through")
"""
    assert run(program, runtime).ok.stdout == "False False through\n"


def test_a_signal_handler_may_take_a_lock_wherever_it_comes(run: Runner, runtime: str) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(PROGRAMS)!r})
import face, signal, time
mine, yours = face.Semaphore(1), face.Semaphore(1)
taken = 0
def handler(number, frame):
    global taken
    if mine.acquire(False):
        mine.release()
        taken += 1
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
end = time.monotonic() + 1
while time.monotonic() < end or not taken:
    with yours:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
print("through")
"""
    assert run(program, runtime).ok.stdout == "through\n"
