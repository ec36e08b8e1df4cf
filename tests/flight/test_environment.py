"""Environment: GREENTRACE=flight or record reaches a program that never heard of us, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import greentrace

from .conftest import DEADLOCK, Fly, variables

PTH = Path(sysconfig.get_path("purelib")) / "greentrace.pth"
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("GREENTRACE")}


def run(code: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**PLAIN, "GREENTRACE_HOME": os.environ["GREENTRACE_HOME"], **environment},
        capture_output=True, text=True, timeout=60, cwd=tmp_path, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_line_lies_beside_the_package() -> None:
    assert PTH.exists()
    assert PTH.read_text() == (Path(greentrace.__file__).parent / "packaging" / "greentrace.pth").read_text()


def test_without_the_variable_nothing_of_ours_is_loaded(tmp_path: Path) -> None:
    done = run("import sys, greenlet\nprint([name for name in sys.modules if name.startswith('greentrace')], len(sys.meta_path))", tmp_path)
    with_it = run("import sys\nprint([name for name in sys.modules if name.startswith('greentrace.r')])", tmp_path, GREENTRACE="flight")
    assert done.stdout.startswith("[] ")
    # A program without green threads is not touched either.
    assert (with_it.stdout, with_it.stderr) == ("[]\n", "")


@pytest.mark.parametrize("module", ["greenlet", "gevent", "eventlet", "greentrace.hub"])
def test_recording_begins_with_the_first_runtime_and_the_program_finds_all_as_ever(tmp_path: Path, module: str) -> None:
    code = f"""
import sys, warnings
warnings.simplefilter("ignore")
import {module}
from greentrace.record.session import current
assert current() is not None
assert sys.modules["{module}"].__spec__.loader is not None
print([type(finder).__name__ for finder in sys.meta_path if type(finder).__name__ == "Doorkeeper"])
"""
    done = run(code, tmp_path, GREENTRACE="flight")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_record_writes_a_trace(tmp_path: Path) -> None:
    out = tmp_path / "out.gtrace"
    done = run("import gevent\ngevent.spawn(gevent.sleep, 0.01).join()\nimport greentrace\ngreentrace.stop()", tmp_path,
               GREENTRACE="record", GREENTRACE_OUT=str(out))  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(greentrace.open(out).greenlets) >= 3


@pytest.mark.parametrize(
    "wrong",
    [{"GREENTRACE": "nonsense"}, {"GREENTRACE": "flight", "GREENTRACE_TRIGGERS": "x"}, {"GREENTRACE": "flight", "GREENTRACE_RING": "x"}],
)
def test_what_means_nothing_is_said_in_a_line_and_the_program_runs(tmp_path: Path, wrong: dict[str, str]) -> None:
    done = run("import gevent\nprint('fine')", tmp_path, **wrong)
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert done.stderr.startswith("greentrace: ")
    assert done.stderr.count("\n") == 1


def test_our_own_tools_do_not_record_themselves(tmp_path: Path, deadlock: Path) -> None:
    environment = {**PLAIN, "GREENTRACE_HOME": str(tmp_path / "home"), "GREENTRACE": "flight"}
    (tmp_path / "home").mkdir(mode=0o700)
    for words in (["check", str(deadlock)], ["ps"]):
        subprocess.run([sys.executable, "-m", "greentrace", *words], env=environment, capture_output=True, timeout=60, cwd=tmp_path)
    assert list((tmp_path / "home").iterdir()) == []


def test_a_program_that_records_by_itself_takes_over(fly: Fly, tmp_path: Path) -> None:
    out = tmp_path / "own.gtrace"
    done = fly(f"with greentrace.record({str(out)!r}):\n    rt.wait(rt.spawn(rt.sleep, 0.01))\nprint('fine')", "gevent")
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
    assert len(greentrace.open(out).greenlets) >= 3


def test_children_by_fork_are_in_flight_too_and_those_by_exec_have_a_flight_of_their_own(fly: Fly) -> None:
    done = fly(
        f"""
if os.fork() == 0:
    exec({DEADLOCK!r})
    rt.sleep(1.2)
    os._exit(0)
import subprocess
subprocess.run([sys.executable, "-c", "import gevent, greentrace; greentrace.snapshot(); gevent.sleep(0.5)"])
print(os.wait()[1], len(os.listdir("/proc/self/task")) <= 2)
""",
        "gevent",
        hog_ms=300,
    )
    assert (done.returncode, done.stdout) == (0, "0 True\n")
    assert sorted(done.triggers) == ["deadlock", "snapshot"]


def test_a_fork_is_not_behind_a_thread_of_ours(fly: Fly) -> None:
    # Python warns of that, and some turn warnings into errors.
    done = fly(
        """
import warnings
warnings.simplefilter("error")
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        os._exit(len(os.listdir("/proc/self/task")) > 2)
    assert os.waitpid(pid, 0)[1] == 0
print("fine")
""",
        "hub",
        hog_ms=100,
    )
    assert (done.stdout, done.stderr, done.saved) == ("fine\n", "", [])


def test_the_follower_holds_nothing_of_the_program(fly: Fly, core: str, tmp_path: Path) -> None:
    code = """
import gevent, os, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
os.set_inheritable(listener.fileno(), True)
import greentrace
print(listener.getsockname()[1], flush=True)
gevent.sleep(0.5)
if os.fork() == 0:
    os.close(2); os.close(1); listener.close()
    gevent.sleep(3)
    os._exit(0)
"""
    # A daemon that lives on keeps the follower alive, and that keeps nobody waiting.
    done = subprocess.run([sys.executable, "-c", code], env=variables(core, tmp_path), capture_output=True, text=True, timeout=2.9 + 20)
    assert (done.returncode, done.stderr) == (0, "")
