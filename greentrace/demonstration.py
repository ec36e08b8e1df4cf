"""Demonstration: the main job from end to end, on a bundled sample.

In:  the name of a sample. Out: a trace, a picture of its wait-for graph, the verdict on stdout, and the TUI on a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from greentrace import run
from greentrace.errors import BadInput

if TYPE_CHECKING:
    from greentrace.replay.reader import Trace


def samples() -> dict[str, Path]:
    """Return the bundled samples by name."""
    import greentrace.samples

    folder = Path(next(iter(greentrace.samples.__path__)))
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem not in ("__init__", "runtime")}


def show(sample: str, runtime: str, folder: Path, tui: Callable[[Trace, bool], int]) -> int:
    """Record, check, draw and open; return the exit code. The verdict is the demo's success, so a deadlock ends with 0."""
    from greentrace.export import text, views
    from greentrace.replay import reader

    known = samples()
    if sample not in known:
        raise BadInput(f"There is no sample named {sample}.", "Nothing was run.", f"The samples are: {', '.join(known)}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} cannot be made ({error.strerror}).", "Nothing was run.", "Choose another place with -o.") from error
    out = folder / f"{sample}.gtrace"
    click.echo(f"recording samples/{sample}.py on {runtime} …", err=True)
    outcome = run.record([sys.executable, str(known[sample]), runtime], out)
    if not outcome.events:
        raise BadInput(
            "The sample ran, but nothing of it was recorded.", f"{out} is empty.", "Say greentrace doctor; is the installation whole?"
        )
    trace = reader.open(out)
    findings = trace.findings()
    click.echo("\n".join(text.check_lines(trace, findings)))
    t_ns = max((d.closed_ns for d in trace.deadlocks()), default=trace.end_ns)
    picture = folder / f"{sample}.svg"
    picture.write_bytes(views.picture(trace, t_ns))
    click.echo(f"\ntrace:   {out}\npicture: {picture}\nlook:    greentrace replay {out}")
    if sys.stdin.isatty() and sys.stdout.isatty():
        return tui(trace, False)
    return 0
