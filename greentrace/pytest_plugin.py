"""Pytest plugin: a test that hangs says who waits for whom.

    --greentrace-flight         record the session in a flight recorder; save a snapshot of a test that hangs
    --greentrace-timeout=S      the same, and let a test fail that takes longer
    --greentrace-snapshots=DIR  where to

A hang is: our own timeout, pytest-timeout's, or a failure by a timeout's exception or gevent's LoopExit.
In:  pytest's hooks. Out: snapshots, and the verdict in the report. Never: anything at all without one of the options.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

_WAIT_SECONDS = 15.0
_MOST_LINES = 60


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("greentrace", "execution traces of green threads")
    group.addoption("--greentrace-flight", action="store_true", help="Record in a flight recorder; save a snapshot of a test that hangs.")
    group.addoption("--greentrace-timeout", type=float, metavar="S", help="The same, and let a test fail that takes longer than S seconds.")
    group.addoption("--greentrace-snapshots", default="greentrace-snapshots", metavar="DIR", help="Where the snapshots go.")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before a conftest imports a runtime."""
    options = early_config.known_args_namespace
    if not (options.greentrace_flight or options.greentrace_timeout):
        return
    distributes = getattr(options, "numprocesses", None) or getattr(options, "dist", "no") != "no"
    if distributes and "PYTEST_XDIST_WORKER" not in os.environ:
        # The tests run elsewhere.
        return
    plugin = Hangs(Path(options.greentrace_snapshots).absolute(), options.greentrace_timeout)
    early_config.pluginmanager.register(plugin, "greentrace-hangs")


class Hangs:
    """Watches one session."""

    def __init__(self, snapshots: Path, timeout: float | None) -> None:
        from greentrace import recording
        from greentrace.record.flight import Options

        self._snapshots = snapshots
        self._timeout = timeout
        self._saved: dict[str, Path] = {}
        self._began_ns = 0
        self._undo: list[Callable[[], object]] = []
        snapshots.mkdir(mode=0o700, parents=True, exist_ok=True)
        recording.start(flight=Options(("timeout", "snapshot"), str(snapshots), signal="", every=0, after=0.2))

    def pytest_unconfigure(self) -> None:
        from greentrace import recording

        recording.stop()

    # ---- a test that takes too long

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        import greenlet

        self._began_ns = time.monotonic_ns()
        if self._timeout:
            seconds, test = self._timeout, greenlet.getcurrent()

            def late(signum: int, frame: FrameType | None) -> None:
                path = self._save(item.nodeid)
                failure = pytest.fail.Exception(f"Timeout: longer than {seconds:g} s (--greentrace-timeout). Snapshot: {path}")
                current = greenlet.getcurrent()
                # eventlet's hub would go on with its wait for as long as was asked before, whatever is due by then: it has to end,
                # and hands the failure to its parent. The next who switches to it makes a new one.
                if current is test or (current.parent is test and _is_eventlets_wait(frame)):
                    raise failure
                # The test itself is parked: the hub, or whoever runs in its place, hands the failure over.
                test.throw(failure)

            self._arm(late)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            self._undo.append(functools.partial(signal.setitimer, signal.ITIMER_REAL, 0))
        try:
            return (yield)
        finally:
            self._disarm()

    def _arm(self, handler: Callable[[int, FrameType | None], None]) -> None:
        before = signal.signal(signal.SIGALRM, handler)
        self._undo.append(functools.partial(signal.signal, signal.SIGALRM, before))

    def _disarm(self) -> None:
        while self._undo:
            self._undo.pop()()

    @pytest.hookimpl(wrapper=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> Generator[None, Any, Any]:
        """pytest-timeout sets its timer: whatever it will do then, a snapshot comes first."""
        done = yield
        if settings.method == "signal":
            theirs = signal.getsignal(signal.SIGALRM)
            if callable(theirs):

                def late(signum: int, frame: FrameType | None) -> None:
                    self._save(item.nodeid)
                    theirs(signum, frame)

                signal.signal(signal.SIGALRM, late)
        else:
            # It ends the process.
            theirs_exit = os._exit

            def _exit(status: int) -> Any:
                path = self._save(item.nodeid)
                sys.stderr.write(f"greentrace: {item.nodeid}: saved {path}\n{self._verdict(path)}\n")
                sys.stderr.flush()
                theirs_exit(status)

            os._exit = _exit  # type: ignore[assignment]
            self._undo.append(lambda: setattr(os, "_exit", theirs_exit))
        return done

    # ---- the snapshot and what it says

    def _save(self, nodeid: str) -> Path:
        """Have a snapshot of this moment, and wait for it."""
        from greentrace import recording
        from greentrace.record import flight
        from greentrace.record.twin_world import native_lock

        path = self._snapshots / (re.sub(r"[^\w.-]+", "-", nodeid)[-150:].strip("-") + ".flight.gtrace")
        path.unlink(missing_ok=True)
        recorder = flight.current()
        if recorder is None:
            return path
        recorder.say("timeout", nodeid, str(path))
        recording.wait_natively(path.exists, _WAIT_SECONDS, native_lock())
        self._saved[nodeid] = path
        return path

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        report = yield
        if call.excinfo is not None and item.nodeid not in self._saved and _is_hang(call.excinfo.value):
            self._save(item.nodeid)
        path = self._saved.get(item.nodeid)
        if path is not None and report.failed:
            report.sections.append((f"greentrace: {path}", self._verdict(path)))
            del self._saved[item.nodeid]
        return report

    def _verdict(self, path: Path) -> str:
        """Return what is wrong since this test began, or else where everybody is."""
        from greentrace.errors import BadInput
        from greentrace.export import text
        from greentrace.replay import reader

        try:
            with reader.open(path) as trace:
                findings = [finding for finding in trace.findings() if finding.t_ns >= self._began_ns]
                if findings:
                    return "\n".join(text.check_lines(trace, findings))
                graph = trace.graph(trace.end_ns)
                return "\n".join(text.dump_lines(trace, graph.world, graph, findings)[1:_MOST_LINES])
        except BadInput as error:
            return str(error)


def _is_eventlets_wait(frame: FrameType | None) -> bool:
    name = frame.f_globals.get("__name__", "") if frame is not None else ""
    return frame is not None and name.startswith("eventlet.hubs.") and frame.f_code.co_name in ("do_poll", "wait")


def _is_hang(error: BaseException) -> bool:
    name = type(error).__name__
    return name == "LoopExit" or "Timeout" in name or str(error).startswith("Timeout")
