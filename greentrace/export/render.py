"""Render: DOT to SVG and PNG.

In:  a graphviz.Digraph. Out: bytes. The system's `dot` draws where there is one; graphviz-pure, which pip installs with
us, everywhere else. PDF needs the system's and says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import graphviz

from greentrace.errors import BadInput

Renderer = Literal["system", "pure"]
_SECONDS = 60


def renderer() -> Renderer:
    """Return which renderer draws on this machine."""
    return "system" if shutil.which("dot") else "pure"


def _pure_program() -> str:
    """Return the path of graphviz-pure's program: beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("graphviz-pure")
    return str(beside) if beside.exists() else shutil.which("graphviz-pure") or ""


def render(dot: graphviz.Digraph, form: str, using: Renderer | None = None) -> bytes:
    """Return the picture as "svg", "png" or "pdf".

    Raises `BadInput` when no renderer can do it.
    """
    using = using or renderer()
    program = shutil.which("dot") if using == "system" else _pure_program()
    if form == "pdf" and using == "pure":
        raise BadInput(
            "PDF needs Graphviz itself, which is not on the path.",
            "Nothing was written.",
            "Install graphviz from your system's packages, or use --as svg.",
        )
    if not program:
        raise BadInput(
            "There is no renderer for pictures.",
            "Nothing was written.",
            "Install graphviz, or reinstall greentrace with its dependencies; --as dot works without.",
        )
    source = dot.source.encode()
    command = [program, f"-T{form}"] + (["-Gdpi=144"] if form == "png" else [])
    try:
        done = subprocess.run(command, input=source, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(
            f"The picture could not be drawn ({error}).", "Nothing was written.", "Try --as dot and draw it with another program."
        ) from error
    if done.returncode or not done.stdout:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise BadInput(
            f"The picture could not be drawn ({reason}).", "Nothing was written.", "Try --as dot and draw it with another program."
        )
    return done.stdout
