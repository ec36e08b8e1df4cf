"""The TUI in a real terminal: tmux gives it one, types, and reads the screen."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greentrace.attach.capabilities import capabilities
from greentrace.processes import is_recording
from tests.conftest import GREENTRACE, SAMPLES

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
_PATIENCE_SECONDS = 30


class Terminal:
    """A terminal of `width` x `height` in which a shell runs."""

    def __init__(self, socket: Path, width: int, height: int) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(socket)]
        environment = {**os.environ, "PS1": "$ ", "ENV": "", "LC_ALL": "C.UTF-8"}
        size = ["-x", str(width), "-y", str(height)]
        subprocess.run([*self._tmux, "-u", "new-session", "-d", *size, "/bin/sh"], check=True, env=environment)

    def type(self, *keys: str) -> None:
        subprocess.run([*self._tmux, "send-keys", *keys], check=True)

    def run(self, *command: str) -> None:
        self.type(shlex.join(command), "Enter")

    def screen(self) -> str:
        return subprocess.run([*self._tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True).stdout

    def shows(self, *texts: str) -> str:
        """Wait until all the texts are on the screen, and return it."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not all(text in (seen := self.screen()) for text in texts):
            assert time.monotonic() < end, f"{texts} never came:\n{seen}"
            time.sleep(0.05)
        return seen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[int, int], Terminal]]:
    opened: list[Terminal] = []

    def make(width: int, height: int) -> Terminal:
        opened.append(Terminal(tmp_path / f"tmux-{len(opened)}", width, height))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_replay_shows_the_deadlock_and_leaves_the_terminal_as_it_was(
    terminal: Callable[[int, int], Terminal], deadlock: Path, size: tuple[int, int]
) -> None:
    t = terminal(*size)
    t.run(*GREENTRACE, "replay", str(deadlock))
    t.shows("Deadlock: alice and bob wait for each other", "✖ #", "deadlocked", "held by")
    t.type("4")
    t.shows("✖ DEADLOCK of 2", "held by #")
    t.type("9")
    t.shows("▶#", "SWITCH")
    t.type("?")
    t.shows("Everything shows one moment")
    t.type("Escape")
    t.shows("9 log")
    t.type("q")
    t.shows("greentrace replay")
    t.type("echo code=$?", "Enter")
    t.shows("code=0")
    t.type("stty -a", "Enter")
    assert " echo " in t.shows("icanon")


def test_attach_follows_a_program_that_records_itself(terminal: Callable[[int, int], Terminal], tmp_path: Path) -> None:
    command = [*GREENTRACE, "record", "-q", "-o", str(tmp_path / "a.gtrace"), str(SAMPLES / "victims.py"), "hub", "--for", "60"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        pid = _child(program.pid)
        t = terminal(100, 30)
        t.run(*GREENTRACE, "attach", str(pid))
        t.shows("LIVE", "Deadlock: left and right wait for each other")
        first = _cursor(t.screen())
        # The worker ticks on, and so does the cursor.
        end = time.monotonic() + _PATIENCE_SECONDS
        while _cursor(t.screen()) <= first:
            assert time.monotonic() < end, "the cursor stands still"
        t.type("f")
        t.shows("standing still")
        t.type("q")
        assert program.poll() is None, "the program lives on"
    finally:
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=30)


def test_attach_enters_a_program_that_never_heard_of_us_and_leaves_it(terminal: Callable[[int, int], Terminal]) -> None:
    if capabilities().refusal is not None:
        pytest.skip("no process can be entered here")
    program = subprocess.Popen([sys.executable, str(SAMPLES / "victims.py"), "gevent", "--for", "60"], stdout=subprocess.PIPE)
    try:
        t = terminal(100, 30)
        t.run(*GREENTRACE, "attach", str(program.pid))
        # How many may hold a semaphore of gevent nobody can see afterwards.
        t.shows("LIVE", "Suspected deadlock: ", " wait for each other")
        assert is_recording(program.pid)
        t.type("q")
        end = time.monotonic() + _PATIENCE_SECONDS
        while is_recording(program.pid):
            assert time.monotonic() < end, "it is still being recorded"
            time.sleep(0.05)
        assert program.poll() is None, "the program lives on"
    finally:
        program.kill()
        program.communicate(timeout=30)


def test_what_is_no_terminal_gets_a_word_instead_of_a_tui(deadlock: Path) -> None:
    done = subprocess.run([*GREENTRACE, "replay", str(deadlock)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert "Traceback" not in done.stderr


def _child(pid: int) -> int:
    """Return the pid of the recorded program, once its ring is there."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        rings = list(Path(os.environ["GREENTRACE_HOME"]).glob(f"run-*/{children[0]}-*.ring")) if children else []
        if rings:
            return int(children[0])
        time.sleep(0.02)
    raise AssertionError(f"{sys.argv}: the program never began to record")


def _cursor(screen: str) -> float:
    return float(screen.partition("cursor ")[2].split()[0])
