"""Messages: everything that a widget of the TUI can say.

In:  nothing. Out: message classes; a widget posts them, the app alone answers by moving the one cursor.
Never: a widget that moves the cursor itself.
"""

from __future__ import annotations

import re

from textual.message import Message

from greentrace.replay.model import Key


class Pointed(Message):
    """Somebody pointed at a moment and, perhaps, at a greenlet's lane."""

    def __init__(self, t_ns: int | None, greenlet: Key | None) -> None:
        super().__init__()
        self.t_ns = t_ns
        self.greenlet = greenlet


class RowsTurned(Message):
    """The wheel was turned over the lanes or the list: so many rows down."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows


class Zoomed(Message):
    """The wheel was turned with Ctrl: the window shall be `factor` times as wide, around a moment."""

    def __init__(self, t_ns: int, factor: float) -> None:
        super().__init__()
        self.t_ns = t_ns
        self.factor = factor


class GreenletChosen(Message):
    """Somebody follows a link to another greenlet."""

    def __init__(self, greenlet: Key) -> None:
        super().__init__()
        self.greenlet = greenlet


class FindingChosen(Message):
    """A finding was picked from the list."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index


class ScreenChosen(Message):
    """The name of a screen was clicked on."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.screen = name


class Asked(Message):
    """The line at the bottom was closed: what it asked for, and the answer, or None when it was given up."""

    def __init__(self, what: str, text: str | None) -> None:
        super().__init__()
        self.what = what
        self.text = text


class EventChosen(Message):
    """An event was picked from the log."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class ResourceChosen(Message):
    """Somebody follows a link to a resource."""

    def __init__(self, resource: Key) -> None:
        super().__init__()
        self.resource = resource


class FilterChosen(Message):
    """Somebody wants to see those alone whom a line of the filter's language means."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line

    @classmethod
    def having(cls, field: str, text: str) -> FilterChosen:
        """Return the wish for those of whom a field has a text; what the language takes for its own stands for any character."""
        return cls(f"{field}:" + re.sub(r"[^\w.:/-]", "?", text))
