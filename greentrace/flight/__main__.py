"""Main: the follower as a process of its own, nobody's child.

    python -m greentrace.flight DIRECTORY --pid PID --options JSON

It ends when every process of the run has. It says what it saves on the stderr that it was given, and lets go of that as soon as
PID has ended, for somebody may wait until nobody holds it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

# Before anything else: a listening socket, or a pipe, that the program meant to be inherited was not meant for us.
os.closerange(3, 1 << 20)
for _descriptor in range(3):
    try:
        os.fstat(_descriptor)
    except OSError:
        # Whatever is opened next would take its place, and be written into.
        os.open(os.devnull, os.O_RDWR)

from greentrace.flight.follower import TURN_SECONDS, Flights  # noqa: E402
from greentrace.follow import start_ticks  # noqa: E402
from greentrace.record.flight import Options  # noqa: E402

FOLLOWER = "follower"
"""The file beside the rings that holds our pid."""


def main(arguments: list[str]) -> int:
    """Follow until there is nothing more to follow."""
    source = Path(arguments[0])
    pid = int(arguments[arguments.index("--pid") + 1])
    options = Options.of_json(arguments[arguments.index("--options") + 1])
    os.nice(5)
    os.umask(0o077)
    (source / FOLLOWER).write_text(str(os.getpid()))
    flights = Flights(source, options)
    silent = False
    while flights.alive() or not flights.processes:
        flights.turn()
        if not flights.processes and not start_ticks(pid):
            break
        if not silent and flights.is_done(pid) and not start_ticks(pid):
            silent = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        time.sleep(TURN_SECONDS)
    flights.finish()
    (source / FOLLOWER).unlink(missing_ok=True)
    if not any(source.iterdir()):
        source.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
