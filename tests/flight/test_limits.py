"""Limits: never too often, never too much, and what was given up is said."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from greentrace.errors import CannotRecord
from greentrace.flight.snapshots import SUFFIX, fresh_name, prune, save
from greentrace.record.flight import DEFAULT_TRIGGERS, TRIGGERS, Options
from tests.support.scribe import Scribe

from .conftest import Fly

SAVED = """
def saved():
    # Once it is there, whenever that is.
    before = set(os.listdir("snapshots")) if os.path.isdir("snapshots") else set()
    greentrace.snapshot()
    while not (os.path.isdir("snapshots") and {name for name in os.listdir("snapshots") if name[0] != "."} - before):
        rt.sleep(0.02)
"""


def test_of_one_trigger_there_is_one_in_a_while_and_that_is_said_once(fly: Fly) -> None:
    done = fly(SAVED + "saved()\ngreentrace.snapshot()\ngreentrace.snapshot()", "gevent")
    assert done.triggers == ["snapshot"]
    assert sum("is not saved: the one before was" in line for line in done.said) == 1
    assert len(fly(SAVED + "saved()\nsaved()", "gevent", every=0).saved) == 3


def test_calls_that_come_together_are_answered_by_one_snapshot(fly: Fly) -> None:
    done = fly("greentrace.snapshot()\nos.kill(os.getpid(), signal.SIGUSR2)\nrt.sleep(0.6)", "gevent")
    assert (done.triggers, len(done.said)) == (["snapshot"], 1)


def test_the_oldest_are_removed_and_that_is_said(fly: Fly) -> None:
    done = fly(SAVED + "for _ in range(4):\n    saved()", "gevent", every=0, keep=2)
    assert len(done.saved) == 2
    assert sum("1 older snapshot removed" in line for line in done.said) == 2


def test_only_our_own_are_removed_by_number_or_size_and_never_the_newest(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}{SUFFIX}" for number in range(5)]
    other = tmp_path / "mine.gtrace"
    for number, path in enumerate([*paths, other]):
        path.write_bytes(bytes(100))
        os.utime(path, (number, number))
    link = tmp_path / f"link{SUFFIX}"
    link.symlink_to(other)
    newest = paths[0]
    assert prune(tmp_path, 4, 10_000, newest) == [paths[1]]
    assert prune(tmp_path, 4, 250, newest) == [paths[3], paths[2]]
    assert prune(tmp_path, 1, 0, newest) == [paths[4]]
    assert sorted(tmp_path.iterdir()) == sorted([newest, other, link])


def test_the_name_of_one_that_was_removed_is_not_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "20261127-081500")
    names = []
    for _ in range(4):
        names.append(fresh_name(tmp_path, "a[1]", 7, "hog"))
        names[-1].write_bytes(b"")
        if len(names) > 1:
            names[-2].unlink()
    assert [path.name for path in names] == [f"a[1]-7-20261127-081500-hog{end}{SUFFIX}" for end in ("", "-2", "-3", "-4")]


def test_a_link_that_somebody_planted_is_replaced_and_not_followed(tmp_path: Path) -> None:
    scribe = Scribe(tmp_path / "a.ring")
    scribe.spawn("alice")
    victim, out = tmp_path / "victim", tmp_path / "out.gtrace"
    victim.write_text("precious")
    out.symlink_to(victim)
    (tmp_path / f".out.gtrace-{os.getpid()}").symlink_to(victim)
    save(scribe.path, out, [])
    assert victim.read_text() == "precious"
    assert not out.is_symlink()
    assert out.stat().st_mode & 0o777 == 0o600
    assert fresh_name(tmp_path, "a", 1, "hog") != fresh_name(tmp_path, "a", 1, "signal")


def test_a_place_that_cannot_be_written_is_said_and_nothing_else_happens(fly: Fly) -> None:
    done = fly("greentrace.snapshot()\nrt.sleep(0.6)\nprint('fine')", "gevent", snapshots="/proc/nowhere")
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert len(done.said) == 1
    assert "snapshot in process" in done.said[0]


def test_options_are_read_from_texts_and_a_wrong_one_is_refused_with_advice() -> None:
    assert Options.of({}).triggers == DEFAULT_TRIGGERS
    assert Options.of({"triggers": "all"}).triggers == tuple(TRIGGERS)
    told = Options.of_environment({"GREENTRACE_TRIGGERS": "hog, exit", "GREENTRACE_HOG_MS": "50", "GREENTRACE_EVERY": "0.5"})
    assert (told.triggers, told.hog_ms, told.every) == (("hog", "exit"), 50, 0.5)
    assert Options.of_json(told.to_json()) == told
    for wrong in ({"triggers": "nonsense"}, {"signal": "SIGNOTHING"}, {"keep": "many"}, {"after": "-1"}):
        with pytest.raises(CannotRecord):
            Options.of(wrong)
