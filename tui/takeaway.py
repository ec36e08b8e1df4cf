"""Takeaway: what one takes out of the windows: what is seen as a picture or as text, the wait-for graph, a stack.

In:  the scene, what is on the screen. Out: bytes and texts, and a file name that nothing has yet.
"""

from __future__ import annotations

from pathlib import Path

from greentrace.export.words import STATE_WORDS, state_words
from greentrace.replay.model import shown

from .scene import Scene


def free_path(scene: Scene, screen: str, suffix: str) -> Path:
    """Return where a view of this moment may be written: `bank-waits-1.250000.svg`, with a number behind it if that is taken."""
    stem = f"{scene.trace.path.stem}-{screen}-{scene.trace.seconds(scene.place.t_ns):.6f}"
    path, number = Path(f"{stem}{suffix}"), 1
    while path.exists():
        number += 1
        path = Path(f"{stem}-{number}{suffix}")
    return path


def stack_text(scene: Scene) -> str | None:
    """Return the current greenlet at the cursor with its stack, innermost first, as text; None when it is not there."""
    now = scene.now
    if now is None:
        return None
    lines = [f"#{now.id} {scene.label(now)}: {STATE_WORDS[now.state]}, {state_words(scene.world, now)} ({scene.moment(scene.place.t_ns)})"]
    lines += [f"  at {frame}" for frame in now.stack]
    frame = shown(now.spawned_at)
    if frame is not None:
        lines.append(f"  created at {frame}")
    return "\n".join(lines) + "\n"
