"""Spool: the records that were taken from a ring, so that they can be had again when the ring has forgotten them.

    in a file without a name, compressed | in memory, until there are enough for a block

In:  columns of records, as they come.
Out: the records of any stretch of positions.
Never: more memory than a block takes, however long one looks on; only where there is no room on disk the blocks stay in memory.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from bisect import bisect_right
from contextlib import suppress
from typing import BinaryIO

from greentrace.trace import FIELDS, Columns, decode, encode

BLOCK = 1 << 15
"""Records of a block."""


class Spool:
    """The records of one ring from its first one on."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._mapped: mmap.mmap | None = None
        self._size = 0
        self._is_full = False
        self._starts: list[int] = []
        self._blocks: list[tuple[int, int] | bytes] = []
        """Of each block (where it lies, how long it is), or the block itself."""
        self._pending: list[Columns] = []
        self._first_pending = self._count = 0

    def put(self, columns: Columns) -> None:
        """Take in the next records."""
        self._pending.append(columns)
        self._count += len(columns)
        while self._count - self._first_pending >= BLOCK:
            every = Columns.join(self._pending)
            self._starts.append(self._first_pending)
            self._blocks.append(self._kept(encode(bytes(every.slice(0, BLOCK).records()))))
            self._pending = [every.slice(BLOCK, len(every))]
            self._first_pending += BLOCK

    def _kept(self, payload: bytes) -> tuple[int, int] | bytes:
        if not self._is_full:
            with suppress(OSError):
                if self._file is None:
                    self._file = tempfile.TemporaryFile(buffering=0)
                if os.pwrite(self._file.fileno(), payload, self._size) == len(payload):
                    self._size += len(payload)
                    return self._size - len(payload), len(payload)
            self._is_full = True
        return payload

    def again(self, start: int, stop: int, fields: int = FIELDS) -> Columns:
        """Return the records [start, stop) of those taken in; whoever asks for fewer fields has the others as 0."""
        parts = []
        for number in range(max(bisect_right(self._starts, start) - 1, 0), len(self._blocks)):
            first = self._starts[number]
            if first >= stop:
                break
            records = decode(self._payload(self._blocks[number]), BLOCK, fields)
            parts.append(records.slice(max(start - first, 0), stop - first))
        if stop > self._first_pending:
            first = self._first_pending
            parts.append(Columns.join(self._pending).slice(max(start - first, 0), stop - first))
        return Columns.join(parts)

    def _payload(self, block: tuple[int, int] | bytes) -> bytes:
        if isinstance(block, bytes):
            return block
        offset, length = block
        if self._mapped is not None:
            return self._mapped[offset : offset + length]
        assert self._file is not None
        return os.pread(self._file.fileno(), length, offset)

    def close(self) -> None:
        """Take in nothing more; what was taken in can be had again as long as somebody asks."""
        if self._file is not None:
            if self._size:
                self._mapped = mmap.mmap(self._file.fileno(), self._size, access=mmap.ACCESS_READ)
            self._file.close()
            self._file = None
