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

# Every way down into Python again: by C, by a with block, by the making of an object, by a generator, by an operator.
DOWN = """
import contextlib, greentrace, greenlet
main = greenlet.getcurrent()
def leave():
    main.switch()
def sorting(_):
    leave()
class Entered:
    def __enter__(self):
        sorted([1], key=sorting)
    def __exit__(self, *exc):
        leave()
class Made:
    def __init__(self):
        with Entered():
            pass
    def __add__(self, other):
        with contextlib.closing(other):
            list(map(lambda x: leave(), [1]))
    def close(self):
        leave()
def generator():
    yield Made()
def work():
    for made in generator():
        made + made
worker = greenlet.greenlet(work)
def deeper(levels):
    sorted([1], key=lambda _: deeper(levels - 1)) if levels else worker.switch()
while worker or not worker.dead:
    deeper(20)
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


def test_the_stack_of_whoever_left_has_every_frame_however_it_was_called(run: Runner) -> None:
    ring = run(DOWN).ok.ring
    worker = ring.number("work")
    left = [ring.stack(r.site) for r in ring.of(Kind.SWITCH, other=worker) if r.site]
    lines = DOWN.splitlines()
    stacks = [[f"{frame.function}: {lines[frame.line - 1].strip()}" for frame in stack if frame.file == "<string>"] for stack in left]
    entering = ["Made.__init__: with Entered():", "generator: yield Made()", "work: for made in generator():"]
    adding = "work: made + made"
    assert stacks == [
        ["leave: main.switch()", "sorting: leave()", "Entered.__enter__: sorted([1], key=sorting)", *entering],
        ["leave: main.switch()", "Entered.__exit__: leave()", *entering],
        [
            "leave: main.switch()",
            "Made.__add__.<locals>.<lambda>: list(map(lambda x: leave(), [1]))",
            "Made.__add__: list(map(lambda x: leave(), [1]))",
            adding,
        ],
        ["leave: main.switch()", "Made.close: leave()", "Made.__add__: with contextlib.closing(other):", adding],
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
