"""Timeline: who was in which state when, as an SVG and as text.

In:  a Trace, a window and the greenlets to show. Out: an SVG document or lines of characters.
Each lane is cut into as many cells as there is room; a cell shows the state that filled most of it, and a bar for any
running at all, so that a burst of microseconds is never lost. The sums are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from greentrace.export import cells
from greentrace.export.looks import WORDS, Look
from greentrace.export.words import clipped, duration
from greentrace.replay.model import Deadlock, GreenletEver
from greentrace.replay.reader import Trace

COLOURS = {
    Look.BLANK: "#ffffff", Look.UNKNOWN: "#d0d7de", Look.CREATED: "#eaeef2", Look.RUNNING: "#1a9c6b", Look.RUNNABLE: "#e3b341",
    Look.IO: "#8fb4dd", Look.LOCK: "#d9480f", Look.QUEUE: "#b280c4", Look.SLEEP: "#c4cad1", Look.JOIN: "#a39a5c",
    Look.FINISHED: "#ffffff", Look.HUB: "#2c6e55",
}  # fmt: skip
_GLYPHS = {
    Look.BLANK: " ", Look.UNKNOWN: "?", Look.CREATED: "'", Look.RUNNING: "█", Look.RUNNABLE: "+", Look.IO: "~", Look.LOCK: "x",
    Look.QUEUE: "=", Look.SLEEP: "-", Look.JOIN: "&", Look.FINISHED: "·", Look.HUB: "█",
}  # fmt: skip
_LEGEND = [look for look in Look if look not in (Look.BLANK, Look.HUB, Look.FINISHED)]
INK, FAINT, RED, AMBER = "#24292f", "#57606a", "#b3261e", "#9a6700"
_LANE, _LEFT, _CELL = 18, 200, 3


def _cells(trace: Trace, lanes: Sequence[GreenletEver], t0: int, t1: int, width: int) -> cells.Cells:
    return cells.cells(trace, [lane.key for lane in lanes], cells.edges(t0, t1, width))


def text_lines(trace: Trace, lanes: Sequence[GreenletEver], t0: int, t1: int, width: int = 80) -> list[str]:
    """Return one line a greenlet, with a legend."""
    lines = [f"{'':24} {trace.seconds(t0):<.6f} s{'':{max(width - 26, 1)}}{trace.seconds(t1):.6f} s"]
    looks, ran, _, _ = _cells(trace, lanes, t0, t1, width)
    for row, lane in enumerate(lanes):
        drawn = "".join(
            "█" if share > 0.5 else "▄" if share > 0 else _GLYPHS[Look(look)] for look, share in zip(looks[row], ran[row], strict=True)
        )
        lines.append(f"{clipped(f'#{lane.id} {lane.label}', 24):24} {drawn}")
    lines.append(
        "█ running  ▄ ran a little  " + "  ".join(f"{_GLYPHS[look]} {WORDS[look].word}" for look in _LEGEND if look != Look.RUNNING)
    )
    return lines


def _rect(x: float, y: float, width: float, height: float, fill: str, more: str = "") -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{more}/>'


def _text(x: float, y: float, words: str, fill: str = FAINT, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}"{more}>{escape(words)}</text>'


def _upright(x: float, height: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x:.1f}" y1="44" x2="{x:.1f}" y2="{height - 34}" stroke="{colour}"{more}/>'


def svg(trace: Trace, lanes: Sequence[GreenletEver], t0: int, t1: int, deadlocks: Sequence[Deadlock] = (), width: int = 320) -> str:
    """Return the time-line as an SVG document."""
    height = 70 + _LANE * len(lanes) + 34
    total = _LEFT + width * _CELL + 20
    doomed = {key for d in deadlocks for key in d.greenlets}
    victims = {key for d in deadlocks for key in d.victims}
    size = f'width="{total}" height="{height}" viewBox="0 0 {total} {height}"'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Arial,Helvetica,sans-serif" font-size="11">']
    out.append(_rect(0, 0, total, height, "white"))
    title = "; ".join(d.line for d in deadlocks) or f"{trace.name}: {duration(t1 - t0)}"
    out.append(_text(10, 20, clipped(title, 150), RED if deadlocks else INK, ' font-size="13"'))
    for tick in range(9):
        x = _LEFT + width * _CELL * tick / 8
        out.append(_upright(x, height, "#d0d7de"))
        out.append(_text(x, 40, f"{trace.seconds(t0 + (t1 - t0) * tick // 8):.3f} s", FAINT, ' text-anchor="middle" font-size="9"'))
    looks, ran, _, _ = _cells(trace, lanes, t0, t1, width)
    for row, lane in enumerate(lanes):
        y = 50 + row * _LANE
        mark, colour = ("✖ ", RED) if lane.key in doomed else ("▲ ", AMBER) if lane.key in victims else ("", INK)
        out.append(_text(10, y + 12, mark + clipped(f"#{lane.id} {lane.label}", 28), colour))
        out += _lane_svg(looks[row], ran[row], y)
    for deadlock in deadlocks:
        if t0 <= deadlock.closed_ns <= t1:
            x = _LEFT + width * _CELL * (deadlock.closed_ns - t0) / max(t1 - t0, 1)
            out.append(_upright(x, height, RED, ' stroke-width="2" stroke-dasharray="4 2"'))
            out.append(_text(x + 4, height - 38, "deadlock closed", RED))
    for i, look in enumerate(_LEGEND):
        out.append(_rect(10 + 84 * i, height - 22, 12, 12, COLOURS[look], ' stroke="#57606a" stroke-width="0.5"'))
        out.append(_text(26 + 84 * i, height - 12, WORDS[look].word))
    return "\n".join([*out, "</svg>", ""])


def _lane_svg(looks: np.ndarray, ran: np.ndarray, y: int) -> list[str]:
    """Return the rectangles of one lane: runs of equal cells as one, then bars for cells that ran."""
    out = []
    begin = 0
    for i in range(1, len(looks) + 1):
        if i == len(looks) or looks[i] != looks[begin]:
            look = Look(int(looks[begin]))
            if look not in (Look.BLANK, Look.FINISHED):
                tall = look in (Look.RUNNING, Look.RUNNABLE)
                place = (_LEFT + begin * _CELL, y + (2 if tall else 5), (i - begin) * _CELL, 12 if tall else 6)
                out.append(_rect(*place, COLOURS[look]))
            begin = i
    for i, share in enumerate(ran):
        if share > 0 and looks[i] != Look.RUNNING:
            tall_px = max(2.0, 12 * float(share))
            out.append(_rect(_LEFT + i * _CELL, y + 14 - tall_px, _CELL, tall_px, COLOURS[Look.RUNNING]))
    return out
