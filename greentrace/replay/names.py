"""Names: what the numbers of one process stand for.

In:  the bytes of a names arena, as they come.
Out: strings, and sites as tuples of frames; both are made once and kept.
Never: an error. A number whose name was lost, or a payload that is damaged, reads as "" and as no frames.
"""

from __future__ import annotations

import struct
from typing import Any

from greentrace.replay.model import Frame, Stack
from greentrace.ring import CODE_LIBRARY, CODE_RUNTIME, NameKind, name_entries

MAX_FRAMES = 256
_CODE = struct.Struct("<III")
_STEERING = (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CLEAN = dict.fromkeys(_STEERING, "\N{REPLACEMENT CHARACTER}")
"""Control characters, and those that turn the direction of writing, are replaced."""


def clean(value: Any) -> Any:
    """Return text without what would steer a terminal; of a JSON value, every text in it. A trace comes from strangers."""
    if isinstance(value, str):
        return value.translate(_CLEAN)
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value


class Names:
    """Strings, codes and sites of one process."""

    def __init__(self) -> None:
        self._strings: dict[int, str] = {}
        self._codes: dict[int, tuple[int, int, int, int]] = {}
        self._sites: dict[int, bytes] = {}
        self._stacks: dict[int, Stack] = {0: ()}
        self.version = 0
        """Grows with every name: what was made of names before may be made again."""

    def feed(self, data: bytes) -> None:
        """Take in more entries."""
        for kind, flags, number, payload in name_entries(data):
            if kind == NameKind.STRING:
                self._strings[number] = clean(payload.decode("utf-8", "replace"))
            elif kind == NameKind.SITE:
                self._sites[number] = payload
            elif kind == NameKind.CODE and len(payload) >= _CODE.size:
                self._codes[number] = (*_CODE.unpack_from(payload), flags)
            self.version += 1

    def string(self, number: int) -> str:
        """Return a string, "" if it is not known."""
        return self._strings.get(number, "")

    def stack(self, site: int) -> Stack:
        """Return the frames of a site, innermost first; none if it is not known."""
        made = self._stacks.get(site)
        if made is not None:
            return made
        payload = self._sites.get(site)
        if payload is None:
            return ()
        pairs = struct.unpack_from(f"<{min(len(payload) // 8, MAX_FRAMES) * 2}I", payload)
        stack = tuple(self._frame(code, line) for code, line in zip(pairs[::2], pairs[1::2], strict=True) if code in self._codes)
        if len(stack) * 2 == len(pairs):
            self._stacks[site] = stack
        return stack

    def _frame(self, code: int, line: int) -> Frame:
        file, function, first_line, flags = self._codes[code]
        return Frame(self.string(file), line or first_line, self.string(function), bool(flags & CODE_RUNTIME), bool(flags & CODE_LIBRARY))
