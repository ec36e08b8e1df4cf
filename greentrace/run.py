"""Run: the parent of a recorded program.

In:  a command line. Out: its exit code, and a trace of everything between.
The child is the program; this process follows its rings and those of whatever it forks, passes signals on, and dies of the
same signal as the program did. A signal that a terminal sends reaches both of us, so only what somebody sent to us alone
is passed on. What somebody sends to our whole process group reaches the program twice: the two cases look the same.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greentrace import ring
from greentrace.errors import BadInput, CannotRecord
from greentrace.follow import Follow
from greentrace.record.launch import environment
from greentrace.recording import run_directory

if TYPE_CHECKING:
    from greentrace.flight.follower import Flights
    from greentrace.record.flight import Options

_PASSED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
_TURN_SECONDS = 0.02


@dataclass(frozen=True)
class Outcome:
    """How the program ended (`returncode` as in subprocess: negative for a signal) and what was recorded.

    `kept` is the directory of the rings when the trace could not be written to its end.
    """

    returncode: int
    events: int
    processes: int
    lost: int
    still_running: tuple[int, ...]
    kept: Path | None = None


def command_of(arguments: list[str]) -> list[str]:
    """Return the Python command for `SCRIPT ARGS...` or `-m MODULE ARGS...`.

    Raises `BadInput` when there is no such script, or when it is not Python's.
    """
    if arguments[0] == "-m":
        if len(arguments) < 2:
            raise BadInput("-m needs the name of a module.", "Nothing was run.", "For example: greentrace record -m gunicorn app:app")
        return [sys.executable, *arguments]
    script = arguments[0]
    if Path(script).is_dir() or (Path(script).is_file() and not os.access(script, os.R_OK)):
        raise BadInput(f"{script} cannot be read as a program.", "Nothing was run.", "Give the path of a Python script.")
    if not Path(script).is_file():
        found = shutil.which(script)
        if found is None:
            raise BadInput(
                f"There is no file {script}, and no program of that name.", "Nothing was run.", "Check the path, or use -m MODULE."
            )
        with open(found, "rb") as file:
            first = file.readline(200)
        if not (first.startswith(b"#!") and b"python" in first):
            raise BadInput(
                f"{found} is not a Python program.", "Nothing was run.", "greentrace records Python programs; use -m MODULE or a script."
            )
        script = found
    return [sys.executable, script, *arguments[1:]]


def record(
    command: list[str],
    out: Path,
    ring_bytes: int = ring.DEFAULT_BYTES,
    depth: int = 32,
    turned: Callable[[Follow | Flights], None] | None = None,
    flight: Options | None = None,
) -> Outcome:
    """Run a program and record it into `out`, or with `flight` into its ring alone and into snapshots.

    `turned` is called now and then with the follower, for a progress line. Raises `CannotRecord` before anything is run.
    """
    directory = run_directory()
    follow: Follow | Flights
    try:
        if flight is not None:
            from greentrace.flight.follower import Flights

            follow = Flights(directory, flight)
        else:
            follow = Follow(directory, out)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    waited = _PASSED | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    try:
        # The program gets every descriptor that it would have had without us.
        child = subprocess.Popen(
            command,
            env=environment(directory, ring_bytes, depth, flight),
            close_fds=False,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),
        )
        trouble: CannotRecord | None = None
        while child.poll() is None:
            information = signal.sigtimedwait(waited, _TURN_SECONDS)
            if information is not None and information.si_signo in _PASSED and information.si_code <= 0:
                child.send_signal(information.si_signo)
            if trouble is None:
                try:
                    follow.turn()
                except CannotRecord as error:
                    # The program goes on; its rings stay for whoever wants to look.
                    trouble = error
                    sys.stderr.write(f"greentrace: {error}\n")
            if turned is not None:
                turned(follow)
        code = child.returncode
        if trouble is not None:
            return Outcome(code, follow.events, follow.processes, follow.lost, (), directory)
        follow.exited(child.pid, code if code >= 0 else None, -code if code < 0 else None)
        try:
            running = follow.finish()
        except CannotRecord as error:
            sys.stderr.write(f"greentrace: {error}\n")
            return Outcome(code, follow.events, follow.processes, follow.lost, (), directory)
        return Outcome(code, follow.events, follow.processes, follow.lost, tuple(running))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if directory.exists() and not any(directory.iterdir()):
            directory.rmdir()


def fly(command: list[str], ring_bytes: int, depth: int, triggers: Sequence[str], snapshots: str | None) -> Outcome:
    """Run a program with a flight recorder: its options are those of the environment, but for what is told here.

    Raises `CannotRecord` before anything is run.
    """
    from greentrace.record.flight import Options

    told = Options.of_environment(os.environ)
    chosen = Options.of({"triggers": ",".join(triggers)}).triggers if triggers else told.triggers
    return record(command, Path(), ring_bytes, depth, flight=replace(told, triggers=chosen, snapshots=snapshots or told.snapshots))


def end_like(returncode: int) -> None:
    """End this process as the program ended: the same exit code, or the same signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    if returncode < 0:
        number = -returncode
        # One core dump is enough.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(returncode if returncode >= 0 else 128 - returncode)
