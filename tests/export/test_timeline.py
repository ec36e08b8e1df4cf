"""The time-line as text and as SVG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from greentrace.export import timeline
from greentrace.export.words import clipped, duration
from greentrace.replay import reader


def test_the_text_has_a_lane_for_each_greenlet_of_exactly_the_width(deadlock: Path) -> None:
    trace = reader.open(deadlock)
    lanes = [g for g in trace.greenlets if not g.is_hub]
    lines = timeline.text_lines(trace, lanes, trace.start_ns, trace.end_ns, 60)
    rows = lines[1:-1]
    assert len(rows) == len(lanes)
    assert all(len(row) <= 25 + 60 for row in rows)
    assert "xxxxxxxx" in next(row for row in rows if "alice" in row), "alice waits for a lock"


def test_the_svg_is_well_formed_and_marks_the_deadlock(deadlock: Path) -> None:
    trace = reader.open(deadlock)
    lanes = [g for g in trace.greenlets if not g.is_hub]
    svg = timeline.svg(trace, lanes, trace.start_ns, trace.end_ns, trace.deadlocks())
    root = ElementTree.fromstring(svg)
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    assert any("deadlock closed" in text for text in texts)
    assert any("alice" in text for text in texts)


def test_a_trace_without_greenlets_has_a_time_line_too(deadlock: Path) -> None:
    trace = reader.open(deadlock)
    assert timeline.text_lines(trace, [], trace.start_ns, trace.end_ns)
    ElementTree.fromstring(timeline.svg(trace, [], trace.start_ns, trace.end_ns))


def test_durations_have_three_digits_and_a_unit() -> None:
    shown = [duration(ns) for ns in (0, 999, 1500, 12_340_000, 123_400_000, 1_250_000_000, 61_000_000_000, 7_260_000_000_000, -1500)]
    assert shown == ["0 ns", "999 ns", "1.50 µs", "12.3 ms", "123 ms", "1.25 s", "1 min 01 s", "2 h 01 min", "-1.50 µs"]


def test_clipping_keeps_both_ends() -> None:
    assert clipped("short", 10) == "short"
    assert clipped("a" * 20 + "b" * 20, 11) == "aaaaa…bbbbb"
