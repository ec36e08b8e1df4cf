"""Expected: tests of the runtimes that a recorded run cannot pass, because they assert that nobody traces.

In:  a suite, a module, a test. Out: the reason, or None. Everything else must end under the recorder as it does without.
"""

from __future__ import annotations

from .running import MODULE

EXPECTED: dict[tuple[str, str, str], str] = {
    ("gevent", "test__hub", "TestPeriodicMonitoringThread.test_kill_removes_trace"): (
        "asserts that greenlet.gettrace() is None once gevent's monitor has left; it is the recorder that was there before"
    ),
}
"""(suite, module, test id as compare.py prints it) to the reason."""


def reason(suite: str, module: str, test: str) -> str | None:
    """Return why that test may end differently. A module may end differently if one of its tests may."""
    if test == MODULE:
        return next((why for (s, m, _), why in EXPECTED.items() if (s, m) == (suite, module)), None)
    return EXPECTED.get((suite, module, test))
