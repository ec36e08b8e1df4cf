"""The cells of the time-line, against adding up spans."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from greentrace.events import Op, State
from greentrace.export.looks import WORDS, Look
from greentrace.replay.reader import Trace
from greentrace.replay.spans import spans
from greentrace.tui.lanes import picture
from greentrace.tui.palette import HEIGHTS, PAINT, Ink
from tests.replay.programs import numbers, play
from tests.support.scribe import MS, Scribe


def drawn(trace: Trace, key: int, width: int, a_ns: int | None = None, b_ns: int | None = None) -> tuple[str, list[Look], list[Ink]]:
    a_ns, b_ns = trace.start_ns if a_ns is None else a_ns, trace.end_ns if b_ns is None else b_ns
    made = picture(trace, [key], [False], a_ns, b_ns, width)
    styles = made.styles[0].tolist()
    return "".join(map(chr, made.codes[0])), [Look(style & 15) for style in styles], [Ink(style >> 4) for style in styles]


@given(choices=numbers, width=st.integers(1, 60))
@example(choices=[98, 182, 0, 0, 0, 0, 0, 0, 0], width=1)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_every_cell_shows_its_longest_state_and_whether_anything_ran(choices: list[int], width: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        s = Scribe(Path(folder) / "a.ring", step_ns=997)
        play(s, choices)
        trace = s.open()
    a, b = trace.start_ns, trace.end_ns
    edges = [a + (b - a) * i // width for i in range(width + 1)]
    for g in trace.greenlets:
        codes, looks, inks = drawn(trace, g.key, width)
        found = spans(trace, g.key)
        for cell in range(width):
            inside = [0] * 7
            for span in found:
                inside[span.state] += max(0, min(span.t1_ns, edges[cell + 1]) - max(span.t0_ns, edges[cell]))
            ran = inside[State.RUNNING] > 0
            if inks[cell] != Ink.TEXT:
                assert (inks[cell] == Ink.RUN) == ran
                assert not ran or codes[cell] in HEIGHTS[1:]
            parked = looks[cell] in (Look.IO, Look.LOCK, Look.QUEUE, Look.SLEEP, Look.JOIN)
            rest = [*inside[: State.RUNNING], 0, *inside[State.RUNNING + 1 :]]
            if max(rest) > 0 and rest.count(max(rest)) == 1:
                assert parked == (rest.index(max(rest)) == State.PARKED)


def test_a_burst_of_a_nanosecond_in_a_long_cell_is_seen(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring", step_ns=1)
    alice = s.spawn("alice")
    s.switch(alice)
    s.park(s.lock())
    s.tick(1000 * MS)
    s.switch(alice)
    s.park(s.lock())
    s.tick(1000 * MS)
    s.switch(s.main)
    codes, _, inks = drawn(s.open(), alice, 10)
    assert inks[5] == Ink.RUN or inks[4] == Ink.RUN
    assert codes[inks.index(Ink.RUN)] == "▁"


def test_a_wait_looks_like_what_is_waited_for(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    waits = {"lock": (s.lock(), Op.ACQUIRE), "fd": (s.fd(7), Op.READ), "sleep": (2, Op.SLEEP), "join": (s.join_of(1), Op.JOIN)}
    keys = {}
    for name, (resource, op) in waits.items():
        keys[name] = s.spawn(name)
        s.switch(keys[name])
        s.park(resource, op=op)
    s.tick(100 * MS)
    s.switch(s.main)
    trace = s.open()
    for name, look in (("lock", Look.LOCK), ("fd", Look.IO), ("sleep", Look.SLEEP), ("join", Look.JOIN)):
        assert drawn(trace, keys[name], 40)[1][20] == look


def test_a_long_span_says_what_it_is_and_how_long_it_lasted(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice")
    s.switch(alice)
    s.park(s.lock())
    s.tick(99 * MS)
    s.switch(alice)
    s.tick(50 * MS)
    s.switch(s.main)
    assert " lock 99.0 ms" in drawn(s.open(), alice, 100)[0]


def test_what_still_lasts_at_the_end_has_no_length(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice")
    s.switch(alice)
    s.park(s.lock())
    s.tick(99 * MS)
    s.poll()
    assert " lock …" in drawn(s.open(), alice, 100)[0]


def test_outside_the_trace_and_before_a_birth_there_is_nothing(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    s.tick(50 * MS)
    alice = s.spawn("alice")
    s.tick(50 * MS)
    s.poll()
    trace = s.open()
    codes, looks, _ = drawn(trace, alice, 40, trace.start_ns - 100 * MS, trace.end_ns + 100 * MS)
    assert set(looks[:10] + looks[-10:]) == {Look.BLANK}
    assert not codes[:10].strip()


def test_every_look_has_a_glyph_of_its_own_or_a_word() -> None:
    glyphs = [paint.glyph for look, paint in PAINT.items() if look not in (Look.RUNNING, Look.HUB)]
    assert len(set(glyphs)) == len(glyphs)
    assert all(WORDS[look].word for look in PAINT if look != Look.BLANK)
    assert np.all([len(paint.glyph) == 1 for paint in PAINT.values()])
