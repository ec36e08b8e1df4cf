"""Shelf: the index of a trace as a file beside it, `x.gtrace.index`: a cache, which anybody may delete.

    header    64 bytes: magic, version, crc
    volumes   each: a header of 64 bytes, a table of sections, the sections; appended and never changed
              a section begins at a multiple of 64 bytes, so that numbers in it can be read where they are

In:  sections by number, as bytes, of one chapter of one process.
Out: the same, read where they stand: memory is that of the pages that are used.
Never: the truth. What has another version, does not fit its checksums, or was cut off, is not there; then the trace is read instead.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from greentrace.replay.index import Array
from greentrace.replay.packing import Arena

MAGIC = b"GTINDEX\n"
VERSION = 2
SUFFIX = ".index"
_HEAD = struct.Struct("<8sI48xI")
_VOLUME = struct.Struct("<4sIQII36xI")
_VOLUME_MAGIC = b"GTIX"
_SECTION = struct.Struct("<IIQQ")
_ALIGN = 64
_MOST_SECTIONS = 64


@dataclass(frozen=True)
class Volume:
    """One chapter of one process: sections by number, as u8, and where in the file each begins."""

    process: int
    sections: Mapping[int, Array]
    offsets: Mapping[int, int]


class Shelf:
    """An index file, open for reading, or for writing and reading."""

    def __init__(
        self, file: BinaryIO, is_new: bool, path: Path | None = None, target: Path | None = None, large: Collection[int] = ()
    ) -> None:
        """`path` is what the file is called now, `target` what it will be called when it is finished.

        Sections of the numbers in `large` are believed until `is_sure` has looked at them.
        """
        self._file = file
        self._large = large
        self._unsure: list[tuple[Array, int]] = []
        self.path, self._target = path, target
        self._size = 0
        self._is_given_up = False
        self.volumes: list[Volume] = []
        if is_new:
            self._write(_HEAD.pack(MAGIC, VERSION, zlib.crc32(_HEAD.pack(MAGIC, VERSION, 0)[:-4])))
        else:
            self._scan()

    @property
    def is_writable(self) -> bool:
        return not self._is_given_up and (self._target is not None or self.path is None)

    @property
    def kept_bytes(self) -> int | None:
        """How large the file is, None if it will not be found the next time."""
        return self._size if self.path is not None and self._target is None else None

    @cached_property
    def data(self) -> Array:
        """All bytes that there are now."""
        mapped = mmap.mmap(self._file.fileno(), self._size, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.uint8)

    @cached_property
    def arena(self) -> Arena:
        return Arena(self.data)

    def _scan(self) -> None:
        self._size = os.fstat(self._file.fileno()).st_size
        if self._size < _HEAD.size:
            raise ValueError("no header")
        head = self.data[: _HEAD.size].tobytes()
        magic, version, crc = _HEAD.unpack(head)
        if magic != MAGIC or version != VERSION or crc != zlib.crc32(head[:-4]):
            raise ValueError("another kind of file, or another version")
        at = _HEAD.size
        while (volume := self._volume(at)) is not None:
            self.volumes.append(volume[0])
            at = volume[1]

    def _volume(self, at: int) -> tuple[Volume, int] | None:
        """Return (the volume at `at`, where the next one begins), None if no whole one stands there."""
        head = self.data[at : at + _VOLUME.size].tobytes()
        if len(head) < _VOLUME.size:
            return None
        magic, process, size, count, table_crc, crc = _VOLUME.unpack(head)
        if magic != _VOLUME_MAGIC or crc != zlib.crc32(head[:-4]) or count > _MOST_SECTIONS:
            return None
        if size < _VOLUME.size or size % _ALIGN or at + size > self._size:
            return None
        table = self.data[at + _VOLUME.size : at + _VOLUME.size + count * _SECTION.size].tobytes()
        if zlib.crc32(table) != table_crc:
            return None
        sections, offsets = {}, {}
        for number, section_crc, offset, length in _SECTION.iter_unpack(table):
            if offset + length > size or offset % _ALIGN:
                return None
            section = self.data[at + offset : at + offset + length]
            if number in self._large:
                self._unsure.append((section, section_crc))
            elif zlib.crc32(section.data) != section_crc:
                return None
            sections[number], offsets[number] = section, at + offset
        return Volume(process, sections, offsets), at + size

    def is_sure(self) -> bool:
        """Look at what was only believed until now; return whether all of it is as it was written."""
        # The sums of large sections are worked out without the interpreter's lock.
        good = all(zlib.crc32(section.data) == crc for section, crc in self._unsure)
        if good:
            self._unsure.clear()
        return good

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view):
            view = view[self._file.write(view) :]
        self._size += len(data)
        for name in ("data", "arena"):
            self.__dict__.pop(name, None)

    def append(self, process: int, sections: Mapping[int, bytes]) -> Volume:
        """Write a volume and return it as it stands there. Raises `OSError` when that is not possible."""
        begin = self._size
        self.write(process, sections)
        volume = self._volume(begin)
        assert volume is not None
        self.volumes.append(volume[0])
        return volume[0]

    def write(self, process: int, sections: Mapping[int, bytes]) -> None:
        """Write a volume. Raises `OSError` when that is not possible."""
        at = _padded(_VOLUME.size + len(sections) * _SECTION.size)
        table, parts = [], []
        for number, data in sections.items():
            table.append(_SECTION.pack(number, zlib.crc32(data), at, len(data)))
            parts.append(data + bytes(-len(data) % _ALIGN))
            at = _padded(at + len(data))
        rows = b"".join(table)
        fields = (_VOLUME_MAGIC, process, at, len(sections), zlib.crc32(rows))
        head = _VOLUME.pack(*fields, 0)
        head = _VOLUME.pack(*fields, zlib.crc32(head[:-4]))
        self._write((head + rows).ljust(_padded(len(head) + len(rows)), b"\0") + b"".join(parts))

    def finish(self) -> None:
        """Let the file be found from now on."""
        if self.path is not None and self._target is not None:
            try:
                os.replace(self.path, self._target)
            except OSError:
                self.discard()
            self.path, self._target = self._target, None

    def discard(self) -> None:
        """Remove a file that was not finished, and write no more; what it holds can be read until it is closed."""
        self._is_given_up = True
        if self.path is not None and self._target is not None:
            self.path.unlink(missing_ok=True)
            self.path = self._target = None

    def close(self) -> None:
        """Close the file; what was read of it stays readable."""
        self.discard()
        self._file.close()


def _padded(size: int) -> int:
    return size + -size % _ALIGN


def _places(trace: Path) -> list[Path]:
    """Return where the index of a trace may lie: beside it, else in the user's cache."""
    resolved = trace.resolve()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "greentrace"
    return [trace.with_name(trace.name + SUFFIX), cache / f"{zlib.crc32(os.fsencode(resolved)):08x}-{trace.name}{SUFFIX}"]


def find(trace: Path, large: Collection[int] = ()) -> Shelf | None:
    """Return the index of a trace, None if there is none that can be read; `large` as `Shelf` takes it."""
    for place in _places(trace):
        try:
            file = open(place, "rb", buffering=0)
        except OSError:
            continue
        try:
            return Shelf(file, is_new=False, path=place, large=large)
        except (ValueError, OSError):
            file.close()
    return None


def make(trace: Path) -> Shelf:
    """Return an index to be written, where it will be found the next time if that is possible.

    Raises `OSError` when it can be written nowhere.
    """
    for place in _places(trace):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(SUFFIX, f".{trace.name}-", place.parent)
        except OSError:
            continue
        with suppress(OSError):
            # Whoever may read the trace may read its index.
            os.fchmod(number, trace.stat().st_mode & 0o666)
        return Shelf(open(number, "w+b", buffering=0), is_new=True, path=Path(name), target=place)
    return make_nameless()


def make_nameless() -> Shelf:
    """Return an index to be written for as long as somebody looks on. Raises `OSError`."""
    return Shelf(tempfile.TemporaryFile(buffering=0), is_new=True)


def remove_beside(trace: Path) -> None:
    """Remove the index that lies beside a trace, if one does."""
    with suppress(OSError):
        _places(trace)[0].unlink()


def make_beside(trace: Path) -> Shelf:
    """Return a new index beside a trace that is being written, to be found from the beginning. Raises `OSError`."""
    place = _places(trace)[0]
    # Whoever reads the one that lies there goes on reading it.
    place.unlink(missing_ok=True)
    return Shelf(open(place, "x+b", buffering=0), is_new=True, path=place)
