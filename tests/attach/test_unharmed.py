"""What an attacher must not do to a program: harm it by dying, by being one of many, by who it is; and what is left when it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from greentrace.attach.answers import Answers
from greentrace.attach.entry import run_inside
from greentrace.attach.injector import inject
from greentrace.attach.target import examine
from tests.attach.programs import Program, borrowed

WHOLE = """
import math, time
expected = [math.sqrt(i) * 1.1 for i in range(300)]
ready()
while True:
    assert [math.sqrt(i) * 1.1 for i in range(300)] == expected
    time.sleep({pause})
"""
KILLED = """
import os, random, signal, sys, time
sys.path.insert(0, {root!r})
from greentrace.attach.injector import inject
random = random.Random({seed})
for number in range({rounds}):
    child = os.fork()
    if not child:
        try:
            while True: inject({pid}, "import gc; gc.collect(); x = 0.5 * 3")
        except BaseException as error:
            print(error, flush=True)
        finally:
            os._exit(0)
    time.sleep(random.random() * 0.04)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
REPOSITORY = str(Path(__file__).resolve().parents[2])


@pytest.mark.parametrize("pause", ["0", "0.002", "3600"])
@pytest.mark.parametrize("rounds", [25, pytest.param(1000, marks=pytest.mark.soak)])
def test_the_death_of_the_attacher_at_any_moment_leaves_the_program_whole(start: Callable[..., Program], rounds: int, pause: str) -> None:
    program = start(WHOLE.format(pause=pause))
    script = KILLED.format(root=REPOSITORY, pid=program.pid, rounds=rounds, seed=rounds)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60 + rounds)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert program.is_alive()
    assert run_inside(program.pid, "answer = 1").answer == 1
    assert program.end() == (0, "")


def test_six_attachers_take_turns(start: Callable[..., Program]) -> None:
    program = start(WHOLE.format(pause="0.001"))
    script = f"""
import sys
sys.path.insert(0, {REPOSITORY!r})
from greentrace.attach.entry import run_inside
for _ in range(5): print(run_inside({program.pid}, "answer = 1", seconds=60).answer)
"""
    attachers = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    for attacher in attachers:
        assert attacher.communicate(timeout=120) == ("1\n" * 5, "")
    assert program.end() == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces here")
def test_a_program_in_other_namespaces(start: Callable[..., Program], python: str) -> None:
    if python != sys.executable:
        pytest.skip("once is enough: it is the same way in")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode:
        pytest.skip("no namespaces can be made here")
    program = start("import time; os.mkdir('/dev/shm/only-here'); ready(); time.sleep(3600)", *CONTAINER)
    (child,) = (int(pid) for pid in Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split())
    try:
        assert not examine(child).is_namespace_ours
        entered = run_inside(child, "import os; answer = [os.getpid(), os.listdir('/dev/shm')]")
        assert entered.answer[0] == 1
        assert "only-here" in entered.answer[1]
        assert not Path("/dev/shm/only-here").exists()
        assert [name for name in os.listdir(f"/proc/{child}/root/dev/shm") if name.startswith("greentrace-")] == []
    finally:
        os.kill(child, signal.SIGKILL)


CONTAINER = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", 'mount -t tmpfs none /dev/shm; exec "$@"', "sh")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_enters_the_program_of_another_user(start: Callable[..., Program]) -> None:
    program = start("import json, time; os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534); ready(); time.sleep(3600)")
    with Answers(examine(program.pid)) as answers:
        assert Path(answers.inside).stat().st_uid == 65534
        inject(program.pid, answers.wrap("import os; answer = os.getuid()"), done=answers.is_there)
        assert answers.answer() == 65534


def test_nothing_of_the_descriptors_threads_and_names_of_the_program_has_changed(start: Callable[..., Program]) -> None:
    look = """
import os, sys, threading
names = sorted(vars(sys.modules['__main__']))
answer = [sorted(os.listdir('/proc/self/fd')), threading.active_count(), sorted(sys.modules), names]
"""
    program = start("import json, signal, threading\n" + "import eventlet; eventlet.monkey_patch(); ready(); eventlet.sleep(3600)")

    def outside() -> list[object]:
        status = Path(f"/proc/{program.pid}/status").read_text().splitlines()
        wanted = ("SigBlk", "SigCgt", "SigIgn", "Threads")
        return [os.listdir(f"/proc/{program.pid}/fd"), [line for line in status if line.startswith(wanted)], borrowed(program.pid)]

    run_inside(program.pid, look)
    before, seen = outside(), run_inside(program.pid, look).answer
    for _ in range(20):
        run_inside(program.pid, "answer = 1")
    assert outside() == before
    assert run_inside(program.pid, look).answer == seen
    assert program.end() == (0, "")
