"""Band: a line that is written to the terminal in few bytes.

    ESC[38;2;…;48;2;…m a ESC[48;2;…m b ESC[49m c ESC[0m      only what changes from one piece to the next, and one reset at the end

In:  pieces of text and their styles: colours and bold, nothing else. Out: what a `Strip` is, with an own way of writing itself.
Of a line of two hundred cells that all look different a third is saved; over a slow link that is seen.
"""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color, ColorSystem
from rich.console import Console
from rich.style import Style
from textual.strip import Strip

_DEFAULTS = ("39", "49")


class Band(Strip):
    """A line. It stays one as long as it is not cut; what is cut out of it is a `Strip`, and looks the same."""

    def render(self, console: Console) -> str:
        """Return the line as it is written."""
        if self._render_cache is None:
            system = console._color_system or ColorSystem.TRUECOLOR
            out, before = [], ("", *_DEFAULTS)
            for text, style, _ in self._segments:
                now = _codes(style, system)
                # Bold is taken back by a reset, which takes the colours with it.
                base = ("", *_DEFAULTS) if before[0] and not now[0] else before
                changed = [code for code, was in zip(now, base, strict=True) if code != was]
                if base is not before:
                    changed.insert(0, "0")
                out.append(f"\x1b[{';'.join(changed)}m{text}" if changed else text)
                before = now
            self._render_cache = "".join((*out, "\x1b[0m"))
        return self._render_cache


@lru_cache(maxsize=4096)
def _codes(style: Style | None, system: ColorSystem) -> tuple[str, str, str]:
    """Return what writes bold, the colour and the background of a style."""
    if style is None:
        return "", *_DEFAULTS
    return "1" if style.bold else "", _code(style.color, system, True), _code(style.bgcolor, system, False)


def _code(colour: Color | None, system: ColorSystem, is_foreground: bool) -> str:
    if colour is None:
        return _DEFAULTS[0 if is_foreground else 1]
    return ";".join(colour.downgrade(system).get_ansi_codes(is_foreground))
