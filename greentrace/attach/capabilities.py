"""Capabilities: whether this user, on this machine, can get into a running program. Found out by doing it, on a child of our own.

In:  nothing. Out: `Capabilities`, for `greentrace doctor`. Never: a process that is not ours touched; a child left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from greentrace.attach.entry import run_inside
from greentrace.attach.injector import Injection
from greentrace.attach.processor import processor
from greentrace.attach.target import has_sys_ptrace, ptrace_scope
from greentrace.errors import CannotAttach

# It says that it is there, and ends when we do.
_CHILD = "import os; os.write(1, b'.'); os.read(0, 1)"


@dataclass(frozen=True)
class Capabilities:
    """What stands in the way of an attach.

    `scope` is Yama's ptrace_scope (None: no Yama). `tried` is what entering a child of ours took, `refusal` why it failed: one of
    the two is None. A child may be entered under ptrace_scope 1; `can_enter_others` says whether other processes of ours may.
    """

    machine: str
    is_root: bool
    has_sys_ptrace: bool
    scope: int | None
    tried: Injection | None
    refusal: CannotAttach | None

    @property
    def can_enter_a_child(self) -> bool:
        return self.tried is not None

    @property
    def can_enter_others(self) -> bool:
        return self.can_enter_a_child and (self.scope in (None, 0) or self.has_sys_ptrace)


def capabilities(seconds: float = 5.0) -> Capabilities:
    """Find out, within `seconds` or a little more."""
    tried: Injection | None = None
    refusal: CannotAttach | None = None
    try:
        processor()
        tried = _try_a_child(seconds)
    except CannotAttach as error:
        refusal = error
    return Capabilities(os.uname().machine, os.geteuid() == 0, has_sys_ptrace(), ptrace_scope(), tried, refusal)


def _try_a_child(seconds: float) -> Injection:
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.read(1)
        return run_inside(child.pid, "answer = True", seconds=seconds).injection
    finally:
        child.kill()
        child.communicate()
