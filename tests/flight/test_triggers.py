"""Triggers: each of them for real, on each runtime, and what the snapshot then holds."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import greentrace
from greentrace.events import Kind
from greentrace.replay.reader import Trace

from .conftest import DEADLOCK, Flown, Fly, variables


def texts(trace: Trace, kind: Kind) -> list[str]:
    records = [h.record(at) for h in trace.histories for at in range(h.count)]
    return [trace.string(0, record.arg) for record in records if record.kind == kind]


def test_a_deadlock_is_proven_from_outside_while_the_program_goes_on(fly: Fly, runtime: str) -> None:
    done = fly(DEADLOCK + "for number in range(40):\n    greentrace.mark(f'turn {number}')\n    rt.sleep(0.05)\nprint('fine')", runtime)
    assert (done.returncode, done.stdout, done.triggers) == (0, "fine\n", ["deadlock"])
    (finding,) = done.findings("deadlock")
    assert len(finding.greenlets) == 2
    assert "deadlock: " in done.said[0]
    assert "alice" in done.said[0]
    # The seconds before, and shortly after.
    marks = texts(done.trace(), Kind.MARK)
    assert marks[0] == "turn 0"
    assert len(marks) >= 6


def test_a_hub_that_can_never_turn_again_is_seen(fly: Fly, start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    # eventlet's never says anything of it.
    process = start("rt.wait(rt.spawn(rt.Event().wait))", "eventlet")
    assert process.stderr is not None
    line = process.stderr.readline()
    process.kill()
    out, err = process.communicate(timeout=60)
    assert "the hub can never turn again" in line
    assert Flown(0, out, err, tmp_path).findings("hub-exhausted")


HOG = """
def clock():
    while True:
        rt.sleep(0.01)
def compute():
    rt.sleep(0.05)
    spin(time.monotonic() + 0.9)
def spin(end):
    while time.monotonic() < end:
        sum(range(1000))
rt.spawn(clock)
rt.wait(rt.spawn(compute))
print("fine")
"""


def test_who_keeps_a_hub_is_caught_in_the_act_with_its_stack(fly: Fly, runtime: str) -> None:
    done = fly(HOG, runtime, hog_ms=200)
    assert (done.returncode, done.stdout, done.triggers) == (0, "fine\n", ["hog"])
    finding = next(one for one in done.findings("hub-blocked") if "seen in the act" in one.text)
    assert "(compute)" in finding.text.partition("called by ")[2] or "(compute)" in finding.text
    assert "(spin)" in finding.text


def test_one_that_blocks_in_the_system_is_caught_while_it_blocks(fly: Fly, runtime: str) -> None:
    done = fly(HOG.replace("sum(range(1000))", "native_sleep(0.9)"), runtime, hog_ms=200)
    assert done.triggers == ["hog"]
    assert "(native_sleep)" in next(one.text for one in done.findings("hub-blocked") if "seen in the act" in one.text)


def test_an_idle_program_is_no_hog(fly: Fly, runtime: str) -> None:
    done = fly("rt.spawn(rt.sleep, 0.1)\nrt.sleep(1.0)\nprint('fine')", runtime, hog_ms=100)
    assert (done.stdout, done.saved, done.stderr) == ("fine\n", [], "")


def test_loop_exit_is_told_and_gevents_own_use_of_it_is_not(fly: Fly) -> None:
    done = fly("import gevent\ngevent.wait(timeout=None)\nprint('fine')", "gevent", triggers="loop-exit")
    assert (done.stdout, done.saved) == ("fine\n", [])
    done = fly("try:\n    rt.Event().wait()\nexcept Exception as error:\n    print(type(error).__name__)", "gevent", triggers="loop-exit")
    assert (done.returncode, done.stdout, done.triggers) == (0, "LoopExit\n", ["loop-exit"])


def test_an_unhandled_exception_is_printed_as_ever_and_saved(fly: Fly, runtime: str, tmp_path: Path) -> None:
    done = fly("rt.sleep(0)\nraise KeyError('mine')", runtime)
    assert (done.returncode, done.triggers) == (1, ["exception"])
    own = done.stderr.splitlines()
    assert own[0] == "Traceback (most recent call last):"
    assert own[-2] == "KeyError: 'mine'"
    assert "exception (KeyError: 'mine')" in done.said[0]


def test_an_exception_that_a_runtime_prints_is_saved_too(fly: Fly, runtime: str) -> None:
    done = fly("def fails():\n    raise KeyError('mine')\nrt.spawn(fails)\nrt.sleep(0.3)\nprint('fine')", runtime)
    assert (done.returncode, done.stdout, done.triggers) == (0, "fine\n", ["exception"])
    assert "KeyError" in done.said[0]


def test_the_signal_saves_and_ends_nobody_and_is_given_back(fly: Fly, runtime: str) -> None:
    program = """
    os.kill(os.getpid(), signal.SIGUSR2)
    rt.sleep(0.5)
    print("alive")
    greentrace.stop()
    print(signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL)
    """
    done = fly(program, runtime)
    assert (done.returncode, done.stdout, done.triggers) == (0, "alive\nTrue\n", ["signal"])


def test_a_handler_from_before_is_chained_and_given_back(core: str, fly: Fly) -> None:
    program = """
    greentrace.stop()
    def mine(signum, frame):
        print("mine", signal.Signals(signum).name)
    signal.signal(signal.SIGUSR2, mine)
    def hooks():
        return sys.excepthook, threading.excepthook, os._exit, os.execv, os.execve
    before = hooks()
    greentrace.start(flight=True)
    os.kill(os.getpid(), signal.SIGUSR2)
    rt.sleep(0.5)
    greentrace.stop()
    print(signal.getsignal(signal.SIGUSR2) is mine, hooks() == before)
    print(len(os.listdir("/proc/self/task")))
    """
    done = fly(program, "gevent")
    assert (done.stdout, done.triggers) == ("mine SIGUSR2\nTrue True\n1\n", ["signal"])


def test_a_call_saves_at_the_place_that_it_names(fly: Fly, runtime: str, tmp_path: Path) -> None:
    out = tmp_path / "here.gtrace"
    done = fly(
        f"greentrace.mark('before')\ngreentrace.snapshot({str(out)!r})\nrt.sleep(0.1)\ngreentrace.mark('after')\nrt.sleep(0.4)", runtime
    )
    assert done.saved == []
    assert texts(greentrace.open(out), Kind.MARK) == ["before", "after"]


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "os._exit(3)"])
def test_the_end_is_saved_for_whoever_wants_it(fly: Fly, end: str) -> None:
    done = fly(f"rt.sleep(0)\n{end}", "gevent", triggers="exit")
    assert (done.returncode, done.stderr.count("\n"), done.triggers) == (3 if end else 0, 1, ["exit"])
    assert fly(f"rt.sleep(0)\n{end}", "gevent", triggers="death").triggers == ["exit"]


def test_a_program_that_becomes_another_has_not_died(fly: Fly) -> None:
    program = """
    rt.sleep(0.01)
    try:
        os.execv("/nowhere", ["nowhere"])
    except FileNotFoundError as error:
        print(error)
    if len(sys.argv) < 3:
        sys.stdout.flush()
        os.execvp(sys.executable, [sys.executable, "-c", "print('fine')"])
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = fly(program, "gevent")
    assert (done.returncode, done.stdout.splitlines()[1:], done.triggers) == (0, ["fine"], [])
    assert fly(program, "gevent", "stay").triggers == ["death"]


def test_a_program_without_a_stderr_has_its_snapshots_all_the_same(core: str, tmp_path: Path) -> None:
    code = "import gevent, greentrace; greentrace.snapshot(); gevent.sleep(0.1)"
    line = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code]
    subprocess.run(line, env=variables(core, tmp_path), cwd=tmp_path, timeout=60, check=True)
    while not Flown(0, "", "", tmp_path).saved:
        time.sleep(0.01)


def test_of_a_program_that_was_killed_the_last_seconds_are_there(
    start: Callable[..., subprocess.Popen[str]], runtime: str, tmp_path: Path
) -> None:
    process = start("greentrace.mark('the last')\nprint('ready', flush=True)\nrt.sleep(60)", runtime)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    done = Flown(process.returncode, out, err, tmp_path)
    assert (done.returncode, done.triggers) == (-signal.SIGKILL, ["death"])
    assert texts(done.trace(), Kind.MARK) == ["the last"]


def test_a_program_that_ends_well_leaves_nothing(fly: Fly, runtime: str, home: Path) -> None:
    done = fly("rt.wait(rt.spawn(rt.sleep, 0.01))\nprint('fine')\nsys.exit(7)", runtime)
    assert (done.returncode, done.stdout, done.stderr, done.saved) == (7, "fine\n", "", [])
    assert not (done.folder / "snapshots").exists()
