"""Names: sites lead to the user's own line, are interned once, and a full arena loses names and no events."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from greentrace.events import Kind
from greentrace.record.names import Names
from greentrace.ring import CODE_LIBRARY, CODE_RUNTIME, MIN_BYTES, NameKind, Writer, create, name_entries

from .conftest import PROGRAMS, Run, Runner

CALLS = """
import greentrace
def inner(text):
    greentrace.mark(text)
def outer(text):
    inner(text)
def twice():
    for i in range(2):
        outer(f"same {i}")
    outer("other")
def deep(levels):
    deep(levels - 1) if levels else greentrace.mark("deep")
twice()
deep(100)
"""


@pytest.fixture
def names(tmp_path: Path) -> Names:
    path = tmp_path / "1-1.ring"
    create(path, MIN_BYTES, 1, {})
    found = Names(8)
    found.writer = Writer(path)
    return found


def test_a_site_is_the_stack_of_whoever_did_it_with_its_lines(run: Runner) -> None:
    ring = run(CALLS).ok.ring
    same = next(r for r in ring.of(Kind.MARK) if ring.strings[r.arg] != "deep")
    lines = CALLS.splitlines()
    stack = [(frame.function, lines[frame.line - 1].strip()) for frame in ring.stack(same.site) if frame.file == "<string>"]
    assert stack == [
        ("inner", "greentrace.mark(text)"),
        ("outer", "inner(text)"),
        ("twice", 'outer(f"same {i}")'),
        ("<module>", "twice()"),
    ]


def test_the_same_place_is_the_same_site_and_another_line_is_another(run: Runner) -> None:
    one, two, other, _ = run(CALLS).ok.ring.of(Kind.MARK)
    assert one.site == two.site
    assert one.arg != two.arg
    assert other.site != one.site


def test_a_site_keeps_the_innermost_frames_up_to_the_depth_that_was_asked_for(run: Runner) -> None:
    for depth in (1, 5, 32):
        ring = run(CALLS, depth=depth).ok.ring
        mark = ring.of(Kind.MARK)[-1]
        stack = ring.stack(mark.site)
        assert len(stack) == depth
        assert max(len(site) for site in ring.sites.values()) == depth
        assert {frame.function for frame in stack if frame.file == "<string>"} <= {"deep"}


def test_whose_code_a_frame_is_can_be_told(record_once: Callable[..., Run], core: str, runtime: str) -> None:
    ring = record_once("waits.py", core, runtime).ring
    flags = {ring.strings[file]: flag for file, _, _, flag in ring.codes.values()}
    assert {flag for file, flag in flags.items() if file.startswith(str(PROGRAMS))} == {0}
    package = {"hub": "greentrace/hub/", "eventlet": "/eventlet/", "gevent": "gevent/"}[runtime]
    assert {flag for file, flag in flags.items() if package in file and str(PROGRAMS) not in file} == {CODE_RUNTIME}
    assert CODE_LIBRARY in flags.values() or runtime != "eventlet"


def test_any_text_can_be_a_name(run: Runner) -> None:
    program = r"""
import greentrace
for text in ("", "über", "\U0001f40d", "lone \ud800", "x" * 10_000):
    greentrace.mark(text)
"""
    ring = run(program).ok.ring
    said = [ring.strings[r.arg] for r in ring.of(Kind.MARK)]
    assert said[1:3] == ["über", "\U0001f40d"]
    assert said[3].startswith("lone ")
    assert set(said[4]) == {"x"}
    assert len(said[4]) <= 4096


def test_a_full_arena_is_counted_and_events_go_on_without_names(run: Runner) -> None:
    program = """
import greentrace
for i in range(5000):
    greentrace.mark(f"{i:0500}")
"""
    ring = run(program).ok.ring
    marks = ring.of(Kind.MARK)
    assert len(marks) == 5000
    named = [r for r in marks if r.arg]
    assert 500 < len(named) < 5000
    assert [int(ring.strings[r.arg]) for r in named[:500]] == list(range(500))
    assert ring.follower.lost_names


def test_what_is_interned_is_written_once(names: Names) -> None:
    assert names.string("one") == names.string("one") != names.string("two")
    frame = sys._getframe()
    assert {names.site(frame) for _ in range(3)} == {1}
    assert names.writer is not None
    kinds = [kind for kind, *_ in name_entries(names.writer.names())]
    assert kinds.count(NameKind.SITE) == 1
    strings = [payload for kind, _, _, payload in name_entries(names.writer.names()) if kind == NameKind.STRING]
    assert len(strings) == len(set(strings))


def test_the_longest_prefix_says_whose_code_it_is(names: Names) -> None:
    names.add_path("/lib/", CODE_LIBRARY)
    names.add_path("/lib/site-packages/", 0)
    names.add_path("/lib/site-packages/gevent/", CODE_RUNTIME)
    assert names.writer is not None
    for path in ("/lib/queue.py", "/lib/site-packages/app.py", "/lib/site-packages/gevent/hub.py", "/home/app.py"):
        scope: dict[str, object] = {"sys": sys}
        exec(compile("def where():\n    return sys._getframe()\nframe = where()", path, "exec"), scope)
        names.site(scope["frame"])  # type: ignore[arg-type]
    entries = list(name_entries(names.writer.names()))
    strings = {number: payload.decode() for kind, _, number, payload in entries if kind == NameKind.STRING}
    flags = {strings[int.from_bytes(payload[:4], "little")]: flag for kind, flag, _, payload in entries if kind == NameKind.CODE}
    assert flags["/lib/queue.py"] == CODE_LIBRARY
    assert flags["/lib/site-packages/app.py"] == flags["/home/app.py"] == 0
    assert flags["/lib/site-packages/gevent/hub.py"] == CODE_RUNTIME


def test_names_of_the_ring_before_are_valid_in_the_next_one(names: Names, tmp_path: Path) -> None:
    number = names.string("kept")
    assert names.writer is not None
    before = names.writer.names()
    create(tmp_path / "2-2.ring", MIN_BYTES, 1, {})
    names.writer = Writer(tmp_path / "2-2.ring")
    names.adopt(before)
    found = {number: payload for kind, _, number, payload in name_entries(names.writer.names()) if kind == NameKind.STRING}
    assert found[number] == b"kept"
    assert names.string("kept") == number
