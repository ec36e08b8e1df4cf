"""Entry: runs code in a process by the best way there is, and returns its answer.

    3.14 and newer, the main thread busy     sys.remote_exec; the injector when nothing began within 100 ms
    everything else                          the injector

Both ways may come to run the text: the first takes the token in the answer's directory, the other does nothing.

In:  a pid and code that sets `answer`. Out: the answer, and how it was got. Never: an answer without a time limit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from greentrace.attach import remote_exec
from greentrace.attach.answers import Answers
from greentrace.attach.injector import Injection, inject
from greentrace.attach.target import Target, examine
from greentrace.errors import CannotAttach


@dataclass(frozen=True)
class Entered:
    """The answer of code that ran in a process, and what was done to get it run."""

    answer: Any
    injection: Injection


def run_inside(pid: int, code: str, *, thread: int | None = None, seconds: float = 10.0, target: Target | None = None) -> Entered:
    """Run `code` once in process `pid`; return what it sets as `answer` (anything JSON can say).

    Raises `CannotAttach`: the process cannot be entered, did not come to a safe point in time, or the code failed.
    """
    target = target or examine(pid)
    with Answers(target) as answers:
        text = answers.wrap(code)
        injection = None
        if thread in (None, pid) and remote_exec.is_worth_trying(target):
            injection = _by_remote_exec(target, answers, text, seconds)
        if injection is None:
            injection = inject(pid, text, thread=thread, seconds=seconds, done=answers.is_there)
        return Entered(answers.answer(), injection)


def _by_remote_exec(target: Target, answers: Answers, text: str, seconds: float) -> Injection | None:
    """Return None when the other way is to be taken. The request is made void then."""
    began_ns = time.monotonic_ns()
    path = answers.leave(text)
    if not remote_exec.request(target, path):
        return None
    deadline, limit = time.monotonic() + remote_exec.ANSWER_SECONDS, time.monotonic() + seconds
    while not answers.is_there() and time.monotonic() <= (limit if answers.has_begun() else deadline):
        time.sleep(0.0005)
    if answers.is_there():
        return Injection(target.pid, target.pid, "remote_exec", time.monotonic_ns() - began_ns)
    if answers.has_begun():
        raise CannotAttach(
            f"What was begun in process {target.pid} did not answer within {seconds:g} s.",
            "The process goes on; what was begun in it comes to its end.",
            "Try again with a longer time limit.",
        )
    remote_exec.void(target, path)
    return None
