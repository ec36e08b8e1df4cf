"""Prompt: one line at the bottom that asks for a text: what to search, where to go.

In:  a question. Out: an `Asked` message.
"""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from .messages import Asked

_QUESTIONS = {
    "search": "search for a name, a function, a place; in the log also a kind of event: gap, fd_ready, timer_fire",
    "filter": "show only: state:parked since>1s | func:handle_* !waits:fd   (empty: all)",
    "go": "go to: 1.25 (seconds), #46 (an event), deadlock, end, 2026-01-31T12:00:00",
}


class Prompt(Input):
    """Hidden until it is asked for."""

    what = ""

    def ask(self, what: str, value: str = "") -> None:
        """Show the line, with what stands there already."""
        self.what = what
        self.placeholder = _QUESTIONS[what]
        self.value = value
        self.cursor_position = len(value)
        self.display = True
        self.focus()

    def _close(self, text: str | None) -> None:
        self.display = False
        self.screen.set_focus(None)
        self.post_message(Asked(self.what, text))

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            self._close(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close(event.value)
