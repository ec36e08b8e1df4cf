"""Diagnosis: what works on this machine, and what to do about the rest.

In:  nothing. Out: rows of what was looked at, what was found, and advice where something is missing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass

from greentrace import ring
from greentrace.errors import GreentraceError


@dataclass(frozen=True)
class Row:
    """One thing that was looked at."""

    what: str
    found: str
    good: bool
    advice: str = ""
    needed: bool = False


def examine() -> list[Row]:
    """Look at everything that recording, attaching and drawing need."""
    return [_python(), _core(), _rings(), *_runtimes(), _renderer(), _terminal(), *_attaching()]


def _python() -> Row:
    version = sys.version.split()[0]
    good = sys.version_info >= (3, 11) and sys.implementation.name == "cpython"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return Row("Python", f"cpython {version} without its GIL", False, "Programs are recorded with PYTHON_GIL=1 only.", needed=True)
    return Row(
        "Python", f"{sys.implementation.name} {version}", good, "" if good else "greentrace needs CPython 3.11 or newer.", needed=True
    )


def _core() -> Row:
    if importlib.util.find_spec("greentrace.record._native") is not None:
        return Row("recorder", "native core", True)
    return Row(
        "recorder", "Python twin (slower)", False, "For the native core: have a C compiler, then pip install --force-reinstall greentrace."
    )


def _rings() -> Row:
    try:
        place = ring.private_directory(ring.home())
        space = os.statvfs(place)
    except GreentraceError as error:
        return Row("rings", error.happened, False, error.advice, needed=True)
    except OSError as error:
        return Row("rings", str(error), False, "Set GREENTRACE_HOME to a directory of yours.", needed=True)
    free = space.f_bavail * space.f_frsize
    needed = ring.Layout.of(ring.DEFAULT_BYTES).file_bytes
    found = f"{place}, {free >> 20:,} MiB free"
    if free < needed:
        return Row("rings", found, False, f"A process needs {needed >> 20} MiB: free some, or record with a smaller --ring.", needed=True)
    return Row("rings", found, True)


def _runtimes() -> list[Row]:
    rows = [Row("built-in hub", "always there", True)]
    for name in ("eventlet", "gevent"):
        there = importlib.util.find_spec(name) is not None
        rows.append(Row(name, "installed" if there else "not installed here", True))
    return rows


def _renderer() -> Row:
    program = shutil.which("dot")
    if program:
        return Row("pictures", f"Graphviz: {program}", True)
    if importlib.util.find_spec("graphviz_pure") is not None or shutil.which("graphviz-pure"):
        return Row("pictures", "graphviz-pure (SVG and PNG; PDF needs Graphviz itself)", True)
    return Row("pictures", "no renderer", False, "Reinstall greentrace with its dependencies, or install graphviz.")


def _terminal() -> Row:
    colours = os.environ.get("COLORTERM", "") or os.environ.get("TERM", "none")
    return Row("terminal", f"{colours}{' (NO_COLOR)' if os.environ.get('NO_COLOR') else ''}", True)


def _attaching() -> list[Row]:
    """Say what was found by entering a child of ours, and what that tells of other processes."""
    from greentrace.attach.capabilities import capabilities

    found = capabilities()
    recording = Row("following a program that records", "needs no privileges", True)
    if found.refusal is not None:
        return [recording, Row("entering a running program", found.refusal.happened, False, found.refusal.advice)]
    scope = "no ptrace_scope here" if found.scope is None else f"ptrace_scope {found.scope}"
    whose = "everybody's" if found.is_root and found.has_sys_ptrace else "your own"
    if found.can_enter_others:
        return [recording, Row("entering a running program", f"works, {whose} ({scope})", True)]
    advice = "Run greentrace as root, or allow it until the next boot: sysctl kernel.yama.ptrace_scope=0."
    return [recording, Row("entering a running program", f"works for children of one's own alone ({scope})", False, advice)]
