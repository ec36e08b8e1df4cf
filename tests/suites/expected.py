"""Expected: tests of the runtimes that may end otherwise when recorded: they assert that nobody traces, or that time is lost.

In:  a suite, a module, a test. Out: the reason, or None. Everything else must end under the recorder as it does without.
"""

from __future__ import annotations

from typing import NamedTuple

from .running import MODULE


class Excuse(NamedTuple):
    """Why a test may end differently, and under which cores."""

    cores: tuple[str, ...]
    reason: str


BOTH = ("native", "python")

EXPECTED: dict[tuple[str, str, str], Excuse] = {
    ("gevent", "test__hub", "TestPeriodicMonitoringThread.test_kill_removes_trace"): Excuse(
        BOTH, "asserts that greenlet.gettrace() is None once gevent's monitor has left; it is the recorder that was there before"
    ),
    ("gevent", "test__core_timer", "TestTimerResolution.test_resolution"): Excuse(
        BOTH,
        "asserts that one of 150 turns of a loop with a ready descriptor lasts a millisecond: on a fast machine, bare, none does",
    ),
    ("gevent", "test__threading_vs_settrace", "TestTrace.test_untraceable_lock"): Excuse(
        ("python",), "asserts that sys.settrace sees no Python code inside a lock; the Python recorder is Python code"
    ),
}
"""(suite, module, test id as compare.py prints it) to the excuse."""


def excuse(suite: str, module: str, test: str, core: str) -> str | None:
    """Return why that test may end differently. A module may end differently if one of its tests may."""
    known = [why for (s, m, t), why in EXPECTED.items() if (s, m) == (suite, module) and test in (t, MODULE) and core in why.cores]
    return known[0].reason if known else None
