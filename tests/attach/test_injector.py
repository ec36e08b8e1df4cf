"""Injector: code runs in programs in every state, and the programs do not notice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from greentrace.attach.answers import Answers
from greentrace.attach.entry import run_inside
from greentrace.attach.injector import inject
from greentrace.attach.mappings import mappings
from greentrace.attach.target import examine
from greentrace.errors import CannotAttach
from tests.attach.programs import Program, await_, await_sleep

STATES = {
    "time.sleep": "import time; ready(); time.sleep(3600)",
    "Lock.acquire": "import threading; lock = threading.Lock(); lock.acquire(); ready(); lock.acquire()",
    "Thread.join": """
import threading, time
thread = threading.Thread(target=time.sleep, args=(3600,), daemon=True); thread.start(); ready(); thread.join()""",
    "epoll": "import select; ready(); select.epoll().poll(3600)",
    "busy": "ready()\nwhile True: [{i: str(i)} for i in range(50)]",
    "malloc": "ready()\nwhile True:\n    for i in range(200): bytearray(3000 + i * 37)",
    "garbage": "import gc; rest = [[i] for i in range(30000)]; ready()\nwhile True: gc.collect()",
    "threads": """
import threading, time
def burn():
    while True: sum(range(1000))
for _ in range(3): threading.Thread(target=burn, daemon=True).start()
ready(); time.sleep(3600)""",
    "eventlet, busy": "import eventlet; eventlet.monkey_patch(); ready()\nwhile True: eventlet.sleep(0.001)",
    "eventlet, idle": "import eventlet; eventlet.monkey_patch(); ready(); eventlet.sleep(3600)",
    "eventlet, a server": "import eventlet; eventlet.monkey_patch(); s = eventlet.listen(('127.0.0.1', 0)); ready(); s.accept()",
    "gevent, busy": "import gevent.monkey; gevent.monkey.patch_all(); import gevent; ready()\nwhile True: gevent.sleep(0.001)",
    "gevent, idle": "import gevent.monkey; gevent.monkey.patch_all(); import gevent; ready(); gevent.sleep(3600)",
    "gevent, a server": """
import gevent.monkey; gevent.monkey.patch_all()
from gevent.server import StreamServer
server = StreamServer(('127.0.0.1', 0), lambda s, a: None); server.start(); ready(); server.serve_forever()""",
}
# Allocates, collects, imports: all that would meet its own half-done work if it ran at the wrong moment.
HEAVY = """
import gc, sys, json, _thread
rest = [{"a": [i]} for i in range(3000)]
del rest
gc.collect()
import html.parser
for name in ("html.parser", "html", "html.entities", "_markupbase"):
    sys.modules.pop(name, None)
answer = _thread.get_native_id()
"""


def check(program: Program, times: int) -> None:
    for _ in range(times):
        entered = run_inside(program.pid, HEAVY)
        assert entered.answer == program.pid
        assert entered.injection.gave_back
    assert program.is_alive()


@pytest.mark.parametrize("state", STATES)
def test_code_runs_in_the_main_thread_whatever_it_does(start: Callable[..., Program], state: str) -> None:
    program = start(STATES[state])
    before = borrowed(program.pid)
    check(program, 5)
    assert borrowed(program.pid) <= before
    assert program.end() == (0, "")


@pytest.mark.soak
@pytest.mark.parametrize("state", STATES)
def test_code_runs_a_thousand_times(start: Callable[..., Program], state: str) -> None:
    program = start(STATES[state])
    check(program, 1000)
    assert program.end() == (0, "")


def borrowed(pid: int) -> int:
    """Count the mappings that are executable and of no file: the code page of an area is one, and a program has none."""
    return sum(1 for row in mappings(pid) if "x" in row.access and not row.path)


CALLS = {
    "sleep": ("time.sleep(1)", None),
    "epoll": ("(e.register(a, 1), e.poll(1))[1]", []),
    "poll": ("(p.register(a, 1), p.poll(1000))[1]", []),
    "select": ("select.select([a], [], [], 1)", [[], [], []]),
    "lock": ("(lock.acquire(), lock.acquire(timeout=1))[1]", False),
    "event": ("threading.Event().wait(1)", False),
    "join": ("(thread.start(), thread.join())[1]", None),
    "recv": ("(later(b.send, b'x'), a.recv(1).decode())[1]", "x"),
    "read": ("(later(os.write, pipe[1], b'x'), os.read(pipe[0], 1).decode())[1]", "x"),
    "accept": ("(later(socket.create_connection, server.getsockname()), type(server.accept()).__name__)[1]", "tuple"),
    "child": ("subprocess.run(['sleep', '1']).returncode", 0),
    "sigwait": ("(later(os.kill, os.getpid(), signal.SIGUSR1), signal.sigwait([signal.SIGUSR1]))[1]", signal.SIGUSR1),
    "C usleep": ("ctypes.CDLL(None).usleep(900000)", 0),
    "C poll": ("ctypes.CDLL(None).poll(None, 0, 1000)", 0),
}
INTERRUPTED = """
import ctypes, json, select, signal, socket, subprocess, threading, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
thread = threading.Thread(target=time.sleep, args=(1,))
e, p, lock, pipe = select.epoll(), select.poll(), threading.Lock(), os.pipe()
a, b = socket.socketpair()
server = socket.create_server(("127.0.0.1", 0))
def later(function, *arguments):
    threading.Timer(1, function, arguments).start()
ready()
began = time.monotonic()
result = {call}
took = time.monotonic() - began
print(json.dumps([result, took]), flush=True)
os.read(0, 1)
"""


def test_calls_that_were_interrupted_have_the_right_result_and_end_in_time(start: Callable[..., Program]) -> None:
    programs = {name: start(INTERRUPTED.format(call=call)) for name, (call, _) in CALLS.items()}
    for _ in range(3):
        for program in programs.values():
            inject(program.pid, "import posix")
    for name, program in programs.items():
        result, took = json.loads(program.line())
        assert result == CALLS[name][1], name
        # It did not come back early; of what is late a busy machine is as good a reason as we.
        assert took >= 0.89, name
        assert program.end() == (0, ""), name


def test_a_thread_of_its_own_is_entered_while_it_sleeps(start: Callable[..., Program]) -> None:
    program = start("""
import threading
def hub():
    import eventlet
    print("thread", threading.get_native_id(), flush=True)
    eventlet.sleep(3600)
thread = threading.Thread(target=hub, daemon=True); thread.start()
ready(); thread.join()
""")
    thread = int(program.line().split()[1])
    await_sleep(program.pid, thread)
    for _ in range(5):
        entered = run_inside(program.pid, HEAVY, thread=thread)
        assert entered.answer == thread
        assert entered.injection.thread == thread
        assert entered.injection.how == "asleep"
    with pytest.raises(CannotAttach, match="has no thread 1"):
        inject(program.pid, "", thread=1)
    assert program.end() == (0, "")


def test_code_that_ends_with_an_exception_does_no_harm(start: Callable[..., Program]) -> None:
    for state in ("time.sleep", "busy"):
        program = start(STATES[state])
        inject(program.pid, "raise SystemExit(3)")
        inject(program.pid, "this is no Python")
        with pytest.raises(CannotAttach, match="ZeroDivisionError"):
            run_inside(program.pid, "1 / 0")
        assert run_inside(program.pid, "import __main__; answer = sorted(vars(__main__))").answer.count("ready") == 1
        assert program.end() == (0, "")


@pytest.mark.parametrize("rounds", [40, pytest.param(2000, marks=pytest.mark.soak)])
def test_a_program_with_a_thousand_signals_a_second(start: Callable[..., Program], rounds: int) -> None:
    program = start("""
import signal, time
count = 0
def handler(number, frame):
    global count
    count += 1
signal.signal(signal.SIGALRM, handler); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
ready()
while True:
    time.sleep(0.01); [i for i in range(1000)]
""")
    for _ in range(rounds):
        assert run_inside(program.pid, "answer = 1").answer == 1
    counts = [run_inside(program.pid, "import __main__; answer = __main__.count").answer for _ in range(2)]
    assert counts[0] > rounds
    await_(lambda: run_inside(program.pid, "import __main__; answer = __main__.count").answer > counts[1])
    assert program.end() == (0, "")


@pytest.mark.parametrize("rounds", [30, pytest.param(3000, marks=pytest.mark.soak)])
def test_no_signal_is_lost_and_none_is_slept_through(start: Callable[..., Program], rounds: int) -> None:
    """A signal that comes while the thread is on our errand still ends the call that it slept in."""
    program = start("""
import signal
signal.signal(signal.SIGUSR1, lambda *a: None)
ready()
while True:
    signal.pause(); os.write(1, b"woke\\n")
""")
    for number in range(rounds):
        await_sleep(program.pid)
        worker = threading.Thread(target=inject, args=(program.pid, "import posix"))
        worker.start()
        time.sleep(random.Random(number).random() * 0.006)
        os.kill(program.pid, signal.SIGUSR1)
        assert program.line() == "woke", number
        worker.join()
    assert program.end() == (0, "")


def test_a_handler_that_raises_raises_in_the_program_and_not_in_our_code(start: Callable[..., Program]) -> None:
    program = start("""
import signal
def handler(number, frame):
    raise KeyError("from the handler")
signal.signal(signal.SIGUSR1, handler)
def work():
    while True: sum(range(100))
ready()
while True:
    try:
        work()
    except KeyError:
        os.write(1, b"raised\\n")
""")
    # It sends the signal while the program is in its `work`, and goes on for a while.
    code = """
import os, signal, sys, time
names, frame = [], sys._getframe()
while frame is not None:
    names.append(frame.f_code.co_name)
    frame = frame.f_back
answer = "work" in names
if answer:
    os.kill(os.getpid(), signal.SIGUSR1)
    until = time.monotonic() + 0.05
    while time.monotonic() < until: pass
"""

    def happened() -> bool:
        # Not by sys.remote_exec: what a handler raises while Python runs a remote script, Python itself drops.
        with Answers(examine(program.pid)) as answers:
            inject(program.pid, answers.wrap(code), done=answers.is_there)
            return bool(answers.answer())

    for _ in range(5):
        await_(happened)
        assert program.line() == "raised"
    assert program.end() == (0, "")


C_CALL = """
import ctypes
lib = ctypes.PyDLL(None)
ready(); lib.usleep({us}); os.write(1, b'free\\n')
for _ in range(1000): pass
os.read(0, 1)
"""


def test_c_code_that_keeps_the_gil_is_waited_for(start: Callable[..., Program]) -> None:
    program = start(C_CALL.format(us=300_000))
    assert run_inside(program.pid, "answer = 1").answer == 1
    assert program.line() == "free"
    assert program.end() == (0, "")


def test_a_request_that_is_given_up_is_void(start: Callable[..., Program], tmp_path: Path) -> None:
    program = start(C_CALL.format(us=1_500_000))
    await_sleep(program.pid)
    ran = tmp_path / "ran"
    with pytest.raises(CannotAttach, match="did not come to a safe point within 0.2 s") as refused:
        inject(program.pid, f"open({str(ran)!r}, 'w').close()", seconds=0.2)
    assert "was cancelled" in refused.value.kept
    with pytest.raises(CannotAttach, match="did not come to a safe point"):
        run_inside(program.pid, "print('RAN', flush=True)", seconds=0.2)
    assert program.line() == "free"
    assert run_inside(program.pid, "answer = 1").answer == 1
    assert not ran.exists()
    assert program.end() == (0, "")


def test_a_thread_that_never_sleeps_is_given_up(start: Callable[..., Program]) -> None:
    program = start("""
import threading, time
def burn():
    os.write(1, b"%d\\n" % threading.get_native_id())
    while True: sum(range(1000))
threading.Thread(target=burn, daemon=True).start(); ready(); time.sleep(3600)
""")
    thread = int(program.line())
    with pytest.raises(CannotAttach, match="was not found asleep") as refused:
        inject(program.pid, "", thread=thread, seconds=0.3)
    assert "main thread" in refused.value.advice
    assert program.end() == (0, "")


def test_a_program_that_is_stopped_or_ends_meanwhile(start: Callable[..., Program]) -> None:
    program = start(C_CALL.format(us=60_000_000))
    await_sleep(program.pid)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            inject(program.pid, "", seconds=60)
        except CannotAttach as error:
            failed.append(error)

    for number, text in ((signal.SIGSTOP, "kill -CONT"), (signal.SIGKILL, "ended")):
        worker = threading.Thread(target=work)
        worker.start()
        await_(lambda: borrowed(program.pid) > 0)
        os.kill(program.pid, number)
        worker.join()
        assert text in str(failed.pop())
        if number == signal.SIGSTOP:
            os.kill(program.pid, signal.SIGCONT)


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
    program = start("import json, signal, threading\n" + STATES["eventlet, idle"])

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
