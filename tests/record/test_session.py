"""The session: the traced program is sacred, whatever becomes of it and of us, and `stop` gives everything back."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from greentrace.events import Kind
from greentrace.ring import MIN_BYTES, Phase

from .conftest import PROGRAMS, Runner, traced
from .grammar import walk
from .reading import expect

GREEN = """
import os, signal, sys
from greentrace import hub
def main():
    print("before")
    sys.stdout.flush()
    {end}
    print("after")
def other():
    hub.sleep(60)
hub.spawn(other)
hub.sleep(0)
main()
"""
ENDS = {
    "returns": ("pass", 0),
    "sys.exit(3)": ("sys.exit(3)", 3),
    "sys.exit('no')": ("sys.exit('no')", 1),
    "os._exit(5)": ("os._exit(5)", 5),
    "exception": ("{}['missing']", 1),
    "recursion": ("main()", 1),
    "keyboard": ("os.kill(os.getpid(), signal.SIGINT); hub.sleep(60)", -2),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); hub.sleep(60)", -15),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -9),
    "abort": ("os.abort()", -6),
}


@pytest.mark.parametrize("end", ENDS)
def test_however_a_program_ends_it_says_the_same_as_without_us(run: Runner, bare: Runner, end: str) -> None:
    code, returncode = ENDS[end]
    program = GREEN.format(end=code)
    with_us, without = run(program), bare(program)
    assert with_us.said == without.said
    assert with_us.returncode == returncode
    assert with_us.stdout.startswith("before\n")
    walk(with_us.ring)


@pytest.mark.parametrize("program", ["life.py", "waits.py", "timers.py", "io.py", "threads.py"])
def test_each_program_says_the_same_as_without_us(run: Runner, core: str, runtime: str, program: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / program), runtime], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert run(program, runtime).said == (done.returncode, done.stdout, done.stderr)


def test_the_program_finds_its_surroundings_as_without_us(run: Runner, bare: Runner, core: str) -> None:
    program = """
import json, os, sys, threading, warnings
print(json.dumps([sys.argv[2:], sys.path, sorted(os.environ.items()), __name__, sys.orig_argv[1:3], sys.flags.safe_path,
    threading.active_count(), len(os.listdir("/proc/self/fd")), "sitecustomize" in sys.modules, sys.gettrace(), sys.getprofile(),
    os.getcwd(), sys.getswitchinterval(), "numpy" in sys.modules, "eventlet" in sys.modules, "gevent" in sys.modules]))
"""
    with_us, without = run(program, "x", "one"), bare(program, "one")
    seen, expected = json.loads(with_us.ok.stdout), json.loads(without.ok.stdout)
    descriptors, sitecustomize = 7, 8
    seen[sitecustomize] = expected[sitecustomize]
    if core == "python" and sys.version_info < (3, 13):
        # Before 3.13 every map of Python's keeps a descriptor.
        seen[descriptors] = expected[descriptors]
    assert seen == expected


def test_a_program_that_ours_starts_is_its_own(run: Runner) -> None:
    program = """
import os, subprocess, sys
subprocess.run([sys.executable, "-c", "import sys; print([name for name in sys.modules if name.startswith('greentrace')])"])
"""
    done = run(program)
    assert done.ok.stdout == "[]\n"
    assert len(done.rings) == 1


def test_after_a_kill_everything_up_to_the_last_event_is_there(run: Runner) -> None:
    program = """
import os, signal
import greentrace
from greentrace import hub
def worker(number):
    for _ in range(20):
        hub.sleep(0)
    greentrace.mark(f"worker {number}")
for number in range(10):
    hub.spawn(worker, number).wait()
greentrace.mark("the last word")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run(program)
    assert done.returncode == -9
    ring = done.ring
    assert [ring.strings[r.arg] for r in ring.of(Kind.MARK)] == [*(f"worker {i}" for i in range(10)), "the last word"]
    assert ring.records[-1].kind == Kind.MARK
    assert ring.follower.phase == Phase.RECORDING, "it never had the time to say that it stopped"
    walk(ring)


# ---- whom we must not disturb

TRACER = """
import json, sys
from pathlib import Path
import greenlet
from greentrace.record.session import Session
seen = []
def earlier(event, args):
    seen.append(event)
def body():
    greenlet.getcurrent().parent.switch()
def dance():
    one = greenlet.greenlet(body)
    one.switch()
    one.switch()
session = Session(Path(sys.argv[1]), 1 << 20)
"""


def test_a_tracer_that_was_there_before_still_runs_and_is_back_afterwards(bare: Runner) -> None:
    program = f"""{TRACER}
greenlet.settrace(earlier)
dance()
alone = list(seen)
session.start()
seen.clear()
dance()
print(seen == alone, len(alone), greenlet.gettrace() is earlier)
print(session.stop(), greenlet.gettrace() is earlier)
seen.clear()
dance()
print(seen == alone)
"""
    done = bare(program)
    assert done.said == (0, "True 4 False\n[] True\nTrue\n", "")
    expect(done.ring).greenlet("body").parks_on("switch").then.runs(after="main").then.finishes()


def test_a_tracer_that_raises_raises_into_the_program_as_without_us(bare: Runner) -> None:
    program = f"""{TRACER}
def faulty(event, args):
    raise ValueError(event)
def attempt():
    greenlet.settrace(faulty)
    try:
        dance()
    except ValueError as error:
        return str(error)
alone = attempt()
session.start()
print(alone, attempt())
dance()
"""
    assert bare(program).said == (0, "switch switch\n", "")


def test_a_program_that_takes_our_place_is_left_there_and_the_trace_says_when(bare: Runner) -> None:
    program = f"""{TRACER}
session.start()
dance()
greenlet.settrace(earlier)
def marks():
    session.mark("unseen")
greenlet.greenlet(marks).switch()
print(session.stop(), greenlet.gettrace() is earlier, seen)
"""
    done = bare(program)
    assert done.said == (0, "['greenlet.settrace'] True ['switch', 'switch']\n", "")
    [displaced], [mark] = done.ring.of(Kind.DISPLACED), done.ring.of(Kind.MARK)
    assert displaced.at < mark.at
    assert displaced.at > max(r.at for r in done.ring.of(Kind.SWITCH))


STATE = """
import importlib, json, sys
from pathlib import Path
import greenlet
sys.path.insert(0, sys.argv[3])
sys.argv[1:] = [sys.argv[2], sys.argv[1]]
import face
from greentrace.hub import instrument
from greentrace.record import threads
from greentrace.record.session import ADAPTERS, Session
threads.WAIT_SECONDS = 30

def surroundings():
    found = {"tracer": greenlet.gettrace(), "observer": instrument.observer, "finders": list(sys.meta_path)}
    for adapter in ADAPTERS:
        for row in adapter.hooks:
            owner = getattr(sys.modules.get(row.module), row.owner, None)
            if owner is not None:
                found[row.module, row.owner, row.method] = owner.__dict__.get(row.method, "inherited")
    return found

def same(one, two):
    return one.keys() == two.keys() and all(one[key] is two[key] or key == "finders" and one[key] == two[key] for key in one)

def work():
    lock = face.Lock()
    with lock:
        face.sleep(0)
    face.Queue(), face.Event(), face.Semaphore(2)
"""


def test_stop_gives_everything_back(bare: Runner, runtime: str) -> None:
    program = f"""{STATE}
work()
before = surroundings()
for _ in range(6):
    session = Session(Path(sys.argv[2]), 1 << 20)
    session.start()
    during = surroundings()
    work()
    left = session.stop()
    print(left, same(before, surroundings()), same(before, during))
    work()
"""
    done = bare(program, runtime, str(PROGRAMS))
    assert done.said == (0, "[] True False\n" * 6, "")
    ring = done.ring
    assert ring.follower.phase == Phase.STOPPED
    walk(ring)
    kinds = {ring.what(r.other) for r in ring.of(Kind.RESOURCE) if not r.flags & 0x40}
    if ring.meta["core"] == "c":
        assert {"lock", "queue", "event", "semaphore"} <= kinds, "the sixth recording sees as much as the first"


def test_what_somebody_replaced_after_us_stays_and_is_named(bare: Runner) -> None:
    program = f"""{STATE}
from eventlet.semaphore import Semaphore
session = Session(Path(sys.argv[2]), 1 << 20)
session.start()
ours = Semaphore.acquire
def theirs(self, *args, **kwargs):
    return ours(self, *args, **kwargs)
Semaphore.acquire = theirs
print(session.stop(), Semaphore.__dict__["acquire"] is theirs)
work()
"""
    assert bare(program, "eventlet", str(PROGRAMS)).said == (0, "['eventlet.semaphore.Semaphore.acquire'] True\n", "")


def test_a_second_recording_of_one_process_is_refused_and_the_first_goes_on(bare: Runner) -> None:
    program = f"""{TRACER}
from greentrace.errors import CannotRecord
session.start()
try:
    Session(Path(sys.argv[1]), 1 << 20).start()
except CannotRecord as error:
    print(error)
session.mark("still")
"""
    done = bare(program)
    assert done.ok.stdout == "This process is being recorded already. That recording goes on. Stop it first: greentrace.stop().\n"
    assert len(done.ring.of(Kind.MARK)) == 1


def test_a_thread_that_was_running_before_is_recorded_from_its_next_word_on(bare: Runner, runtime: str) -> None:
    program = f"""{STATE}
import threading
done, ready, seen = [], threading.Event(), threading.Event()
def ticker():
    while not done:
        face.sleep(0.0005)
        ticks.append(1)
        ready.set()
        if len(ticks) > 40:
            seen.set()
def east():
    for each in [face.spawn(ticker), face.spawn(ticker)]:
        face.join(each)
ticks = []
thread = threading.Thread(target=east)
thread.start()
ready.wait()
session = Session(Path(sys.argv[2]), 1 << 20)
session.start()
ticks.clear()
seen.clear()
seen.wait()
print(session.stop())
done.append(1)
thread.join()
"""
    done = bare(program, runtime, str(PROGRAMS))
    assert done.said == (0, "[]\n", "")
    walk(done.ring)
    hub, *others = done.ring.of(Kind.HUB)
    assert not others
    for number in done.ring.numbers("ticker"):
        late = expect(done.ring).greenlet(number)
        late.at = hub.at
        late.runs().then.parks_on("sleep", deadline=True).then.is_woken_by("timer").then.runs()


# ---- when we cannot


def one_line(stderr: str) -> None:
    assert stderr.startswith("greentrace: ")
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr


def test_without_a_place_for_the_ring_the_program_runs_and_one_line_says_so(core: str, tmp_path: Path) -> None:
    environment = {**traced(core, tmp_path / "rings"), "GREENTRACE_DIRECTORY": str(tmp_path / "nowhere")}
    done = subprocess.run([sys.executable, "-c", "print('ran'); exit(3)"], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "ran\n")
    one_line(done.stderr)


def test_on_a_full_disk_the_program_runs_and_one_line_says_so(core: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "print('ran')"],
        env=traced(core, tmp_path / "rings"),
        capture_output=True,
        text=True,
        timeout=60,
        # A file may not grow beyond this: for a ring it is as if the disk were full.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIN_BYTES // 2, MIN_BYTES // 2)),
    )
    assert (done.returncode, done.stdout) == (0, "ran\n")
    one_line(done.stderr)
    assert not any((tmp_path / "rings").iterdir()), "nothing is left behind"


def test_a_forked_child_without_a_place_for_its_ring_lives_and_the_parents_goes_on(run: Runner) -> None:
    program = """
import os, sys
import greentrace
from greentrace import hub
from greentrace.record.session import current
folder = current().directory
os.rename(folder, str(folder) + "-moved")
pid = os.fork()
if not pid:
    hub.sleep(0.001)
    print("child", flush=True)
    os._exit(4)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.rename(str(folder) + "-moved", folder)
greentrace.mark("on")
"""
    done = run(program)
    assert (done.returncode, done.stdout) == (0, "child\n4\n")
    one_line(done.stderr)
    assert len(done.rings) == 1
    assert len(done.ring.of(Kind.MARK)) == 1


def test_a_fault_of_ours_ends_the_recording_and_not_the_program(run: Runner) -> None:
    program = """
import greentrace
from greentrace.record.runtimes.adapter import Patcher
def broken(*arguments):
    raise RuntimeError("a fault of ours")
Patcher.apply = broken
import gevent
greentrace.mark("unheard")
gevent.spawn(gevent.sleep, 0).join()
print("ran")
"""
    done = run(program)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    one_line(done.stderr)
    assert "a fault of ours" in done.stderr
    assert not done.ring.of(Kind.MARK)
    assert done.ring.follower.phase == Phase.STOPPED


def test_the_ring_says_whose_it_is(run: Runner) -> None:
    ring = run("import os\nprint(os.getpid())", "an argument").ok.ring
    assert ring.meta["host"] == os.uname().nodename
    assert ring.meta["argv"][-1] == "an argument"
    assert ring.meta["executable"] == sys.executable
    assert ring.meta["ppid"] == os.getpid()
    assert ring.path.name.startswith(f"{ring.meta['pid']}-")
