"""Timeline: who was in which state when, as an SVG and as text.

In:  a Trace, a window and the greenlets to show. Out: an SVG document or lines of characters.
Each lane is cut into as many cells as there is room; a cell shows the state that filled most of it, and a bar for any
running at all, so that a burst of microseconds is never lost. The sums are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from greentrace.events import State
from greentrace.export.words import STATE_WORDS, clipped, duration
from greentrace.replay.model import Deadlock, GreenletEver
from greentrace.replay.reader import Trace
from greentrace.replay.spans import time_in_states

COLOURS = {
    State.UNKNOWN: "#d0d7de",
    State.CREATED: "#eaeef2",
    State.RUNNING: "#1a9c6b",
    State.RUNNABLE: "#e3b341",
    State.PARKED: "#8fa8c9",
    State.FINISHED: "#ffffff",
    State.COLLECTED: "#ffffff",
}
_GLYPHS = {
    State.UNKNOWN: "?",
    State.CREATED: ".",
    State.RUNNING: "█",
    State.RUNNABLE: "▒",
    State.PARKED: "─",
    State.FINISHED: " ",
    State.COLLECTED: " ",
}
INK, FAINT, RED, AMBER = "#24292f", "#57606a", "#b3261e", "#9a6700"
_LANE, _LEFT, _CELL = 18, 200, 3


def _cells(trace: Trace, lanes: Sequence[GreenletEver], t0: int, t1: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (dominant state [lanes, width], share of running [lanes, width])."""
    edges = np.linspace(t0, max(t1, t0 + 1), width + 1).astype(np.int64)
    sums = np.asarray(time_in_states(trace, [lane.key for lane in lanes], edges), dtype=np.float64)
    total = np.maximum(np.diff(edges), 1)[None, :]
    return sums.argmax(axis=2), sums[:, :, State.RUNNING] / total


def text_lines(trace: Trace, lanes: Sequence[GreenletEver], t0: int, t1: int, width: int = 80) -> list[str]:
    """Return one line a greenlet, with a legend."""
    lines = [f"{'':24} {trace.seconds(t0):<.6f} s{'':{max(width - 26, 1)}}{trace.seconds(t1):.6f} s"]
    if lanes:
        states, running = _cells(trace, lanes, t0, t1, width)
        for row, lane in enumerate(lanes):
            cells = "".join(
                "█" if share > 0.5 else "▄" if share > 0 else _GLYPHS[State(min(int(s), 6))]
                for s, share in zip(states[row], running[row], strict=True)
            )
            lines.append(f"{clipped(f'#{lane.id} {lane.label}', 24):24} {cells}")
    lines.append("█ running  ▄ ran a little  ▒ runnable  ─ parked  . created  ? unknown")
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
    title = "; ".join(d.line for d in deadlocks) or f"{trace.path.name}: {duration(t1 - t0)}"
    out.append(_text(10, 20, clipped(title, 150), RED if deadlocks else INK, ' font-size="13"'))
    for tick in range(9):
        x = _LEFT + width * _CELL * tick / 8
        out.append(_upright(x, height, "#d0d7de"))
        out.append(_text(x, 40, f"{trace.seconds(t0 + (t1 - t0) * tick // 8):.3f} s", FAINT, ' text-anchor="middle" font-size="9"'))
    if lanes:
        states, running = _cells(trace, lanes, t0, t1, width)
        for row, lane in enumerate(lanes):
            y = 50 + row * _LANE
            mark, colour = ("✖ ", RED) if lane.key in doomed else ("▲ ", AMBER) if lane.key in victims else ("", INK)
            out.append(_text(10, y + 12, mark + clipped(f"#{lane.id} {lane.label}", 28), colour))
            out += _lane_svg(states[row], running[row], y)
    for deadlock in deadlocks:
        if t0 <= deadlock.closed_ns <= t1:
            x = _LEFT + width * _CELL * (deadlock.closed_ns - t0) / max(t1 - t0, 1)
            out.append(_upright(x, height, RED, ' stroke-width="2" stroke-dasharray="4 2"'))
            out.append(_text(x + 4, height - 38, "deadlock closed", RED))
    for i, state in enumerate((State.RUNNING, State.RUNNABLE, State.PARKED, State.CREATED, State.UNKNOWN)):
        out.append(_rect(10 + 90 * i, height - 22, 12, 12, COLOURS[state], ' stroke="#57606a" stroke-width="0.5"'))
        out.append(_text(26 + 90 * i, height - 12, STATE_WORDS[state]))
    return "\n".join([*out, "</svg>", ""])


def _lane_svg(states: np.ndarray, running: np.ndarray, y: int) -> list[str]:
    """Return the rectangles of one lane: runs of equal cells as one, then bars for cells that ran."""
    out = []
    begin = 0
    for i in range(1, len(states) + 1):
        if i == len(states) or states[i] != states[begin]:
            state = State(min(int(states[begin]), 6))
            if state not in (State.FINISHED, State.COLLECTED):
                thin = state in (State.PARKED, State.CREATED, State.UNKNOWN)
                place = (_LEFT + begin * _CELL, y + (5 if thin else 2), (i - begin) * _CELL, 6 if thin else 12)
                out.append(_rect(*place, COLOURS[state]))
            begin = i
    for i, share in enumerate(running):
        if share > 0 and states[i] != State.RUNNING:
            tall = max(2.0, 12 * float(share))
            out.append(_rect(_LEFT + i * _CELL, y + 14 - tall, _CELL, tall, COLOURS[State.RUNNING]))
    return out
