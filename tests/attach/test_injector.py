"""Injector: code runs in programs in every state, and the programs do not notice."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greentrace.attach import target
from greentrace.attach.answers import Answers
from greentrace.attach.entry import run_inside
from greentrace.attach.injector import inject
from greentrace.attach.processor import processor
from greentrace.attach.ptrace import Stop
from greentrace.attach.target import examine
from greentrace.errors import CannotAttach
from tests.attach.programs import Program, await_, await_sleep, borrowed

STATES = {
    "time.sleep": "import time; ready(); time.sleep(3600)",
    "Lock.acquire": "import threading; lock = threading.Lock(); lock.acquire(); ready(); lock.acquire()",
    "Lock.acquire, not for ever": "import threading; lock = threading.Lock(); lock.acquire(); ready(); lock.acquire(timeout=3600)",
    "poll": "import select; ready(); select.poll().poll(3600_000)",
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
    """A signal that comes while the thread is on our errand is caught, and ends the call that it slept in.

    Whoever stops a thread in a system call, a debugger or a shell's Ctrl-Z, leaves the kernel a moment after which a signal is caught
    and the call made again all the same. So every other round stops the thread and does nothing else: we may not do worse.
    """
    program = start("""
import signal
signal.signal(signal.SIGUSR1, lambda *a: os.write(1, b"caught\\n"))
signal.signal(signal.SIGUSR2, lambda *a: None)
ready()
while True:
    signal.pause(); os.write(1, b"woke\\n")
""")

    def stop() -> None:
        for _ in range(4):
            with Stop(program.pid, processor().Registers, time.monotonic() + 2):
                pass
            time.sleep(0.001)

    slept = {inject: 0, stop: 0}
    for number in range(rounds * 2):
        act, arguments = (inject, (program.pid, "import posix")) if number % 2 else (stop, ())
        await_sleep(program.pid)
        worker = threading.Thread(target=act, args=arguments)
        worker.start()
        time.sleep(random.Random(number).random() * 0.006)
        os.kill(program.pid, signal.SIGUSR1)
        if not program.speaks(5):
            slept[act] += 1
            os.kill(program.pid, signal.SIGUSR2)
        assert (program.line(), program.line()) == ("caught", "woke"), number
        worker.join()
    assert slept[inject] <= slept[stop] + 1
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
        already = borrowed(program.pid)
        worker.start()
        await_(lambda before=already: borrowed(program.pid) > before)  # type: ignore[misc]
        os.kill(program.pid, number)
        worker.join()
        assert text in str(failed.pop())
        if number == signal.SIGSTOP:
            os.kill(program.pid, signal.SIGCONT)


def test_a_program_that_ends_while_it_is_looked_at_has_ended(start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch) -> None:
    program = start("ready(); import time; time.sleep(3600)")
    look = target.python_of

    def ends_first(*arguments: Any) -> Any:
        program.process.kill()
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        return look(*arguments)

    monkeypatch.setattr(target, "python_of", ends_first)
    with pytest.raises(CannotAttach, match=f"Process {program.pid} has ended"):
        inject(program.pid, "")
