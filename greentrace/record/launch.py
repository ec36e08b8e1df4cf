"""Launch: how a program is started recorded, as Python itself would have started it.

The child is a plain `python SCRIPT ARGS` (or `-m MODULE`); Python imports boot/sitecustomize.py on its way up, which
calls `begin`. So argv, path, `__main__`, tracebacks, signals and exit codes are the program's own.

    python -m greentrace.record.launch [-m MODULE | SCRIPT] ARGS...     the same for a shell, rings in GREENTRACE_DIRECTORY
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greentrace.record.flight import Options

DIRECTORY = "GREENTRACE_DIRECTORY"
RING = "GREENTRACE_RING"
DEPTH = "GREENTRACE_DEPTH"
FLIGHT = "GREENTRACE_FLIGHT"
_PATH_BEFORE = "GREENTRACE_PYTHONPATH"
_BOOT = str(Path(__file__).resolve().parent / "boot")


def environment(directory: Path, ring_bytes: int, depth: int = 32, flight: Options | None = None) -> dict[str, str]:
    """Return the environment in which a Python child records itself into `directory`, as a flight recorder if `flight` says so."""
    values = dict(os.environ)
    before = values.get("PYTHONPATH")
    if before is not None:
        values[_PATH_BEFORE] = before
    values["PYTHONPATH"] = os.pathsep.join([_BOOT, before] if before else [_BOOT])
    values[DIRECTORY] = str(directory)
    values[RING] = str(ring_bytes)
    values[DEPTH] = str(depth)
    if flight is not None:
        values[FLIGHT] = flight.to_json()
    return values


def begin(boot: str) -> None:
    """Start the session, with the environment as it was before `environment` changed it. A child of `exec` is on its own."""
    directory = os.environ.pop(DIRECTORY, "")
    ring_bytes = os.environ.pop(RING, "0")
    depth = os.environ.pop(DEPTH, "32")
    flight = os.environ.pop(FLIGHT, "")
    before = os.environ.pop(_PATH_BEFORE, None)
    os.environ.pop("PYTHONPATH", None)
    if before is not None:
        os.environ["PYTHONPATH"] = before
    if not directory:
        return
    try:
        from greentrace.record.session import Session

        session = Session(Path(directory), int(ring_bytes), int(depth))
        session.start()
        if flight and session.recorder is not None:
            from greentrace.record.flight import Flight, Options

            Flight(session.recorder, Options.of_json(flight)).start()
    except Exception as error:
        # The program runs all the same.
        os.write(2, f"greentrace: {error}\n".encode(errors="replace"))


if __name__ == "__main__":
    os.execve(
        sys.executable,
        [sys.executable, *sys.argv[1:]],
        environment(Path(os.environ.get(DIRECTORY, ".")), int(os.environ.get(RING, "0")), int(os.environ.get(DEPTH, "32"))),
    )
