"""Mappings: /proc/PID/maps as rows, and holes between them.

In:  a pid, or the text of such a file. Out: rows, in the order of their addresses; an address at which nothing stands.
Never: a read of the memory itself.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

_PAGE = 4096
# Below stands a program that was loaded low, above the libraries and stacks.
_LOWEST, _HIGHEST = 1 << 32, 1 << 46


@dataclass(frozen=True)
class Mapping:
    """One row: `start` to `end`, "r-xp", the offset in the file, and the file's path in the target's own mount namespace."""

    start: int
    end: int
    access: str
    offset: int
    path: str

    @property
    def is_file(self) -> bool:
        return self.path.startswith("/") and not self.path.startswith("//")


def parsed(text: str) -> list[Mapping]:
    """Return the rows of a maps file. A path may hold blanks; one that was deleted says so behind its name."""
    rows = []
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 5:
            continue
        start, _, end = fields[0].partition("-")
        rows.append(Mapping(int(start, 16), int(end, 16), fields[1], int(fields[2], 16), fields[5] if len(fields) > 5 else ""))
    return rows


def mappings(pid: int) -> list[Mapping]:
    """Return the rows of a process.

    Raises `OSError` when it is gone or may not be looked at.
    """
    return parsed(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape"))


def at(rows: list[Mapping], address: int) -> Mapping | None:
    """Return the row in which an address lies."""
    return next((row for row in rows if row.start <= address < row.end), None)


def hole(rows: list[Mapping], size: int) -> int:
    """Return an address somewhere in the widest stretch in which nothing is mapped."""
    edges = [_LOWEST, *(edge for row in rows for edge in (row.start, row.end)), _HIGHEST]
    width, low = max((min(high, _HIGHEST) - low, low) for low, high in zip(edges[0::2], edges[1::2], strict=True))
    # Not near its edges: the program's own heap and stacks grow into it from there.
    return low + random.SystemRandom().randrange(width // 4, width // 2) // _PAGE * _PAGE - size // _PAGE * _PAGE
