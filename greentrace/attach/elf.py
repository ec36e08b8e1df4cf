"""ELF: what an executable file says of itself: its symbols, and where its program text ends.

In:  a 64-bit ELF file, opened for reading. Out: addresses as the file counts them; `bias` turns them into those of a process.
Never: a whole file in memory; a word about Python.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_LOAD, _EXECUTABLE, _DYNSYM, _SYMTAB, _FIXED = 1, 1, 11, 2, 2
_PAGE = 4096
# A table of symbols that is larger is not read: it is that of somebody's debug build of something huge.
_MAX_TABLE_BYTES = 256 << 20


class NotElf(ValueError):
    """A file that is no 64-bit little-endian ELF file, or one that is cut off."""


@dataclass(frozen=True)
class Symbol:
    """Where a symbol stands, as the file counts, and its size in bytes (0 when the file does not say)."""

    address: int
    size: int


@dataclass(frozen=True)
class Segment:
    """A stretch of the file that is loaded: at which address, from which offset, how much of it is the file's own."""

    address: int
    offset: int
    file_bytes: int
    memory_bytes: int
    is_executable: bool


class Elf:
    """One file. Reads what it is asked for and no more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            header = _HEADER.unpack(self._read(0, _HEADER.size))
        except struct.error as error:
            raise NotElf("too short") from error
        if header[0][:6] != b"\x7fELF\x02\x01":
            raise NotElf("not a 64-bit little-endian ELF file")
        self.machine = header[2]
        self._is_fixed = header[1] == _FIXED
        self._sections_at, section_bytes, sections = header[6], header[11], header[12]
        self._sections = sections if section_bytes == _SECTION.size else 0
        if header[9] != _SEGMENT.size:
            raise NotElf("segments of an unknown form")
        try:
            rows = list(_SEGMENT.iter_unpack(self._read(header[5], _SEGMENT.size * header[10])))
        except struct.error as error:
            raise NotElf("cut off") from error
        self.segments = [Segment(row[3], row[2], row[5], row[6], bool(row[1] & _EXECUTABLE)) for row in rows if row[0] == _LOAD]

    def bias(self, start: int) -> int:
        """Return what has to be added to the file's addresses when its first byte is mapped at `start`."""
        if self._is_fixed or not self.segments:
            return 0
        first = min(self.segments, key=lambda segment: segment.address)
        return start - (first.address & ~(_PAGE - 1)) + (first.offset & ~(_PAGE - 1))

    def symbols(self, names: Iterable[str], everything: bool = False) -> dict[str, Symbol]:
        """Return the symbols of `names` that the file defines for others; with `everything`, also its private ones, if not stripped."""
        found: dict[str, Symbol] = {}
        wanted = list(names)
        for symbols, strings in self._tables((_DYNSYM, _SYMTAB) if everything else (_DYNSYM,)):
            for name in wanted:
                if name not in found and (symbol := _symbol(name.encode() + b"\0", symbols, strings)):
                    found[name] = symbol
        return found

    def text_gap(self) -> tuple[int, int] | None:
        """Return (address, size) of the rest of the page behind the program text; it is mapped, and nobody's."""
        ends = [segment.address + segment.memory_bytes for segment in self.segments if segment.is_executable]
        gaps = [(-end % _PAGE, end) for end in ends]
        return (max(gaps)[1], max(gaps)[0]) if gaps else None

    def _tables(self, kinds: tuple[int, ...]) -> Iterator[tuple[bytes, bytes]]:
        data = self._read(self._sections_at, _SECTION.size * self._sections)
        rows = list(_SECTION.iter_unpack(data)) if len(data) == _SECTION.size * self._sections else []
        for kind in kinds:
            for row in rows:
                if row[1] == kind and row[6] < len(rows) and row[9] == _SYMBOL.size:
                    strings = rows[row[6]]
                    if max(row[5], strings[5]) <= _MAX_TABLE_BYTES:
                        yield self._read(row[4], row[5]), self._read(strings[4], strings[5])

    def _read(self, offset: int, size: int) -> bytes:
        # A damaged file may name a place that no file can have.
        if offset >= self._file.seek(0, os.SEEK_END):
            return b""
        self._file.seek(offset)
        return self._file.read(size)


def _symbol(name: bytes, symbols: bytes, strings: bytes) -> Symbol | None:
    """Return a symbol that is defined. Its name may be the end of a longer one: the linker stores both once."""
    at = strings.find(name)
    while at >= 0:
        row = _row(at, symbols)
        if row is not None:
            return row
        at = strings.find(name, at + 1)
    return None


def _row(name_at: int, symbols: bytes) -> Symbol | None:
    wanted = struct.pack("<I", name_at)
    at = symbols.find(wanted)
    while at >= 0:
        if at % _SYMBOL.size == 0 and at + _SYMBOL.size <= len(symbols):
            _, _, _, section, address, size = _SYMBOL.unpack_from(symbols, at)
            if section:
                return Symbol(address, size)
        at = symbols.find(wanted, at + 1)
    return None
