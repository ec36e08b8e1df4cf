"""Run: the parent of a recorded program is not noticed: not by the program, not by its terminal, not by whoever started it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import greentrace
from greentrace import ring, run
from greentrace.errors import BadInput
from greentrace.events import Kind
from tests.conftest import GREENTRACE


def script(folder: Path, text: str) -> str:
    path = folder / "program.py"
    path.write_text(text)
    return str(path)


def command(folder: Path, *words: str) -> list[str]:
    return [*GREENTRACE, "record", "-q", "-o", str(folder / "t.gtrace"), *words]


def both(folder: Path, text: str, *arguments: str) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """Run a program bare and recorded."""
    program = script(folder, text)
    settings: dict[str, object] = {"capture_output": True, "text": True, "timeout": 60, "stdin": subprocess.DEVNULL, "cwd": folder}
    bare = subprocess.run([sys.executable, program, *arguments], **settings)  # type: ignore[call-overload]
    return bare, subprocess.run(command(folder, program, *arguments), **settings)  # type: ignore[call-overload]


LOOKS = {
    "argv and path": "import sys; print(sys.argv, sys.path, __name__, __file__, sys.flags)",
    "environment": "import os; print(sorted((k, v) for k, v in os.environ.items()))",
    "descriptors": "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))",
    "signals": "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), [signal.getsignal(n) for n in (2, 13, 15, 17)])",
    "session": "import os; print(os.getcwd(), os.getpriority(0, 0), os.umask(0))",
    "a traceback": "def f():\n    raise ValueError('boo')\nf()",
    "an exit code": "import sys; sys.exit(77)",
    "a message as exit code": "import sys; sys.exit('sorry')",
    "a wait for any child": "import os\ntry:\n    os.wait()\nexcept ChildProcessError as error:\n    print(error)",
    "a child of its own": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import os; print(sorted(os.environ))'])",
}


@pytest.mark.parametrize("look", LOOKS)
def test_the_program_finds_everything_as_it_would_without_us(tmp_path: Path, look: str) -> None:
    if look == "descriptors" and os.environ.get("GREENTRACE_CORE") == "python" and sys.version_info < (3, 13):
        pytest.skip("the Python recorder's mapping keeps a descriptor open before Python 3.13: the README says so")
    bare, recorded = both(tmp_path, LOOKS[look], "a b", "--flag")
    assert (recorded.returncode, recorded.stdout, recorded.stderr) == (bare.returncode, bare.stdout, bare.stderr)


def test_a_pythonpath_of_the_users_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text("import builtins\nbuiltins.customized = 'by the user'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "mine"))
    bare, recorded = both(tmp_path, "import os, sys\nprint(customized, os.environ['PYTHONPATH'], sys.path)")
    assert "by the user" in bare.stdout
    assert (recorded.stdout, recorded.stderr) == (bare.stdout, bare.stderr)


def test_a_module_is_run_as_python_runs_it(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text("import sys\nprint(sys.argv[1:], __package__, sys.path[0])\n")
    settings: dict[str, object] = {"capture_output": True, "text": True, "timeout": 60, "cwd": tmp_path}
    bare = subprocess.run([sys.executable, "-m", "package", "-x"], **settings)  # type: ignore[call-overload]
    recorded = subprocess.run(command(tmp_path, "-m", "package", "-x"), **settings)  # type: ignore[call-overload]
    assert (recorded.stdout, recorded.stderr, bare.returncode) == (bare.stdout, bare.stderr, 0)


HANDLER = """
import gevent, signal, sys
got = []
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGINT):
    signal.signal(number, lambda number, frame: got.append(number))
print("up", flush=True)
while not got:
    gevent.sleep(0.005)
gevent.sleep(0.05)
print([signal.Signals(number).name for number in got], flush=True)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGINT"])
def test_a_signal_for_the_command_reaches_the_program_once(tmp_path: Path, name: str) -> None:
    process = subprocess.Popen(
        command(tmp_path, script(tmp_path, HANDLER)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.Signals[name])
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, f"['{name}']\n", "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGABRT", "SIGUSR1"])
def test_a_program_that_dies_of_a_signal_takes_the_command_along_by_the_same(tmp_path: Path, name: str) -> None:
    program = script(tmp_path, f"import gevent, os, signal\ngevent.sleep(0)\nos.kill(os.getpid(), signal.{name})\n")
    done = subprocess.run(command(tmp_path, program), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.Signals[name], "")
    trace = greentrace.open(tmp_path / "t.gtrace")
    assert trace.processes[0].exit is not None
    assert trace.processes[0].exit["signal"] == signal.Signals[name]
    assert any(greenlet.is_hub for greenlet in trace.greenlets)


class Terminal:
    """The master's side of a pseudo-terminal on which a command runs."""

    def __init__(self, words: list[str]) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        self.process = subprocess.Popen(
            words,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.text = ""

    def until(self, words: str) -> str:
        """Read until these words have come, for at most 30 s."""
        limit = time.monotonic() + 30
        while words not in self.text:
            assert time.monotonic() < limit, self.text
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.master, 4096).decode()
                except OSError:
                    assert words in self.text, self.text
        return self.text

    def types(self, keys: str) -> None:
        os.write(self.master, keys.encode())


@contextmanager
def terminal(words: list[str]) -> Iterator[Terminal]:
    made = Terminal(words)
    try:
        yield made
        made.process.wait(timeout=30)
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        os.close(made.master)


def test_the_program_has_the_terminal_its_size_and_what_is_typed(tmp_path: Path) -> None:
    look = "print(sys.stdin.isatty(), sys.stdout.isatty(), os.get_terminal_size(), flush=True)"
    text = f"import os, sys\n{look}\nprint('got', input('name? '))\n"
    with terminal(command(tmp_path, script(tmp_path, text))) as screen:
        screen.until("name? ")
        assert "True True os.terminal_size(columns=111, lines=33)" in screen.text
        screen.types("alice\n")
        screen.until("got alice")
    assert screen.process.returncode == 0


def test_ctrl_c_on_the_terminal_reaches_the_program_once(tmp_path: Path) -> None:
    with terminal(command(tmp_path, script(tmp_path, HANDLER))) as screen:
        screen.until("up")
        screen.types("\x03")
        screen.until("['SIGINT']")
    assert screen.process.returncode == 0


def test_ctrl_c_that_ends_the_program_ends_the_command_by_the_same_signal_and_the_trace_is_whole(tmp_path: Path) -> None:
    with terminal(
        command(tmp_path, script(tmp_path, "import gevent, os\ngevent.sleep(0)\nprint('up', os.getpid(), flush=True)\ngevent.sleep(60)\n"))
    ) as screen:
        # What comes just before gevent's loop falls asleep is noticed when it wakes, with us or without.
        pid = int(screen.until("\n").split()[1])
        while "S (sleeping)" not in Path(f"/proc/{pid}/status").read_text():
            time.sleep(0.001)
        screen.types("\x03")
        screen.until("KeyboardInterrupt")
    assert screen.process.returncode == -signal.SIGINT
    trace = greentrace.open(tmp_path / "t.gtrace")
    assert not trace.damage
    assert trace.processes[0].exit is not None
    assert trace.processes[0].exit["signal"] == signal.SIGINT


def test_a_child_that_outlives_the_program_is_named_and_its_ring_stays(tmp_path: Path, home: Path) -> None:
    text = "import os, sys, gevent\nif not os.fork():\n    os.close(1); os.close(2)\n    os.read(0, 1)\n    os._exit(0)\ngevent.sleep(0)\n"
    words = [*GREENTRACE, "record", "-o", str(tmp_path / "t.gtrace"), script(tmp_path, text)]
    read, write = os.pipe()
    try:
        done = subprocess.run(words, stdin=read, capture_output=True, text=True, timeout=60)
        assert "still running and no longer saved: " in done.stderr, done.stderr
        pid = int(done.stderr.split("no longer saved: ")[1].split(".")[0])
        assert list(home.glob(f"run-*/{pid}-*{ring.SUFFIX}"))
    finally:
        os.close(write)
        os.close(read)


def test_nothing_is_left_in_the_home_of_the_rings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENTRACE_HOME", str(ring.private_directory(tmp_path / "home")))
    subprocess.run(
        command(tmp_path, script(tmp_path, "import gevent, os\nif not os.fork(): os._exit(0)\nos.wait()\n")), timeout=60, check=True
    )
    assert list((tmp_path / "home").rglob("*")) == []


def test_the_outcome_counts_what_is_in_the_trace(tmp_path: Path) -> None:
    out = tmp_path / "t.gtrace"
    turns: list[int] = []
    program = script(tmp_path, "import gevent, sys\ngevent.sleep(0.1)\nsys.exit(3)\n")
    outcome = run.record([sys.executable, program], out, turned=lambda follow: turns.append(follow.events))
    trace = greentrace.open(out)
    assert (outcome.returncode, outcome.processes, outcome.lost, outcome.still_running, outcome.kept) == (3, 1, 0, (), None)
    assert outcome.events == trace.event_count > 5
    assert turns


@pytest.mark.parametrize("words", [["-m"], ["no_such.py"], ["."], ["cat"]])
def test_what_is_no_python_program_is_refused(words: list[str]) -> None:
    with pytest.raises(BadInput):
        run.command_of(words)


def test_a_console_script_on_the_path_is_run_by_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mytool"
    path.write_text("#!/usr/bin/env python3\nprint('ran')\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert run.command_of(["mytool", "-v"]) == [sys.executable, str(path), "-v"]


def test_threads_and_forks_of_one_program_land_in_one_trace(tmp_path: Path) -> None:
    # From 3.12 on Python warns of a fork while the system still counts a thread that has just been joined.
    text = (
        "import gevent, os, threading, warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n"
        "thread = threading.Thread(target=gevent.sleep, args=(0.01,)); thread.start(); thread.join()\n"
        "for code in (1, 2):\n    pid = os.fork()\n    if not pid:\n        gevent.sleep(0.01); os._exit(code)\n    os.waitpid(pid, 0)\n"
    )
    done = subprocess.run(command(tmp_path, script(tmp_path, text)), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(subprocess.run([*GREENTRACE, "info", str(tmp_path / "t.gtrace"), "--json"], capture_output=True, check=True).stdout)
    assert len(facts["processes"]) == 3
    assert facts["events_by_kind"][Kind.FORK.name] >= 2
