"""Ring: the live, bounded, shared memory of one recorded process.

One file a process, in a directory that is the user's alone, mapped by the writer (the C core, or `Writer` here) and
by any number of readers (`Follower`). The writer never waits; a reader takes no lock, notices what was overwritten
under it and counts it as lost. The file outlives the process, so that nothing is lost to SIGKILL.

    0     header: magic, version, sizes, pid, start time      written once
    128   live words: head, names_head, lost names, partial keyframes, phase
    4096  names arena: entries, appended
    ...   records: `generations` times `generation_records` records, reused in turn

The record at position p stands in slot p mod (generations * generation_records). A position that is a multiple of
`generation_records` begins a generation, and there stands a KEYFRAME. What a names entry is, says `NameKind`.

In: bytes of records and names. Out: the same, in order. Never: an opinion on what they mean; nor a call of `os.open` where a ring is
made, for that is within the traced program, and a runtime may have put something of its own there.
"""

from __future__ import annotations

import json
import mmap
import os
import posix
import stat
import struct
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from greentrace.errors import BadRing, CannotRecord
from greentrace.events import RECORD

MAGIC = b"GTRING\x00\n"
VERSION = 1
HEADER_BYTES = 4096
RECORD_BYTES = RECORD.size
GENERATIONS = 8
DEFAULT_BYTES = 16 << 20
MIN_BYTES = 1 << 20
MAX_BYTES = 8 << 30

_FIXED = struct.Struct("<8sIIIIIIQQQQ")
_NAME = struct.Struct("<IBBHII")
"""Entry of the arena: payload bytes, NameKind, flags, count, id; then the payload; then zeros up to a multiple of 8."""

# Indices into the header seen as 64-bit words.
HEAD, NAMES_HEAD, LOST_NAMES, PARTIAL_KEYFRAMES, PHASE = 16, 17, 18, 19, 20
SUFFIX = ".ring"


class Phase(IntEnum):
    """What the writer says of itself; a dead process leaves what it said last."""

    NEW = 0
    RECORDING = 1
    STOPPED = 2


class NameKind(IntEnum):
    """What an entry of the names arena holds.

    STRING: UTF-8. CODE: file string id, function string id, first line (3 u32); flags: `CODE_RUNTIME`, `CODE_LIBRARY`.
    SITE: (code id, line) u32 pairs, innermost first. META: JSON about the process.
    """

    STRING = 1
    CODE = 2
    SITE = 3
    META = 4


CODE_RUNTIME = 1
"""The function belongs to a green-thread runtime."""
CODE_LIBRARY = 2
"""The function belongs to the standard library."""


class Layout(NamedTuple):
    """The sizes of a ring, in bytes and records."""

    generation_records: int
    generations: int
    names_bytes: int

    @property
    def names_offset(self) -> int:
        return HEADER_BYTES

    @property
    def records_offset(self) -> int:
        return HEADER_BYTES + self.names_bytes

    @property
    def records(self) -> int:
        return self.generation_records * self.generations

    @property
    def file_bytes(self) -> int:
        return self.records_offset + self.records * RECORD_BYTES

    @classmethod
    def of(cls, ring_bytes: int) -> Layout:
        """Return the layout for about `ring_bytes` of records; the names take a quarter more."""
        ring_bytes = min(max(ring_bytes, MIN_BYTES), MAX_BYTES)
        return cls(ring_bytes // RECORD_BYTES // GENERATIONS, GENERATIONS, max(ring_bytes // 4, MIN_BYTES) // 4096 * 4096)


def bytes_for_keyframe(records: int) -> int:
    """Return how large a ring must be for keyframes of so many records: each may take half a generation."""
    return min(records * 2 * GENERATIONS * RECORD_BYTES, MAX_BYTES)


def home() -> Path:
    """Return the directory for this user's rings (not made yet): shared memory where there is some."""
    base = os.environ.get("GREENTRACE_HOME")
    if base:
        return Path(base)
    parent = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(os.environ.get("TMPDIR") or "/tmp")
    return parent / f"greentrace-{os.getuid()}"


def private_directory(path: Path) -> Path:
    """Make `path` a directory of mode 0700 that belongs to us, or refuse what is there.

    Raises `CannotRecord`: somebody else may have planted a link or a directory in a shared place.
    """
    try:
        path.mkdir(mode=0o700, parents=False, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise CannotRecord(
            f"The directory {path} cannot be made ({error.strerror}).",
            "Nothing was recorded.",
            "Set GREENTRACE_HOME to a directory of yours that can be written.",
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise CannotRecord(
            f"{path} is not a directory of yours.", "Nothing was recorded.", "Remove it, or set GREENTRACE_HOME to another directory."
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def create(path: Path, ring_bytes: int, start_ticks: int, meta: dict[str, Any]) -> Layout:
    """Make a ring file whose whole space is reserved, with `meta` as its first name.

    Raises `CannotRecord` when there is no room or no permission; no file is left behind then.
    """
    layout = Layout.of(ring_bytes)
    try:
        fd = posix.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _no_ring(path, error) from error
    try:
        # Reserved now: writing into a hole of a full disk would kill the traced program with SIGBUS.
        posix.posix_fallocate(fd, 0, layout.file_bytes)
        header = _FIXED.pack(
            MAGIC, VERSION, HEADER_BYTES, RECORD_BYTES, layout.generation_records, layout.generations,
            os.getpid(), start_ticks, layout.names_offset, layout.names_bytes, layout.records_offset,
        )  # fmt: skip
        entry = name_entry(NameKind.META, 0, 0, json.dumps(meta).encode())
        posix.pwrite(fd, entry, layout.names_offset)
        posix.pwrite(fd, struct.pack("<Q", len(entry)), NAMES_HEAD * 8)
        # The magic goes last: a file with it is whole.
        posix.pwrite(fd, header, 0)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _no_ring(path, error) from error
    finally:
        posix.close(fd)
    return layout


def _no_ring(path: Path, error: OSError) -> CannotRecord:
    return CannotRecord(
        f"No ring can be made at {path} ({error.strerror}).",
        "The program was not disturbed; nothing was recorded.",
        "Free some room there, ask for less with --ring, or set GREENTRACE_HOME to another directory.",
    )


def name_entry(kind: NameKind, flags: int, number: int, payload: bytes) -> bytes:
    """Return one entry of the names arena."""
    return _NAME.pack(len(payload), kind, flags, 0, number, 0) + payload + bytes(-len(payload) % 8)


def name_entries(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (kind, flags, id, payload) of every whole entry in `data`; stop quietly at the first that is not."""
    at, end = 0, len(data)
    while at + _NAME.size <= end:
        size, kind, flags, _, number, _ = _NAME.unpack_from(data, at)
        after = at + _NAME.size + size
        if after > end or not kind:
            return
        yield kind, flags, number, data[at + _NAME.size : after]
        at = after + -size % 8


class Mapping:
    """A ring file, mapped: its layout and its live words."""

    def __init__(self, path: Path, *, write: bool = False) -> None:
        """Map the file.

        Raises `BadRing` when it is no ring, is damaged, or is of a newer version; `OSError` when it cannot be opened.
        """
        self.path = Path(path)
        fd = posix.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            size = os.fstat(fd).st_size
            head = os.pread(fd, _FIXED.size, 0)
            if len(head) < _FIXED.size or head[:8] != MAGIC:
                raise BadRing(
                    f"{path} is not a ring.", "It was not touched.", "Give a file that ends in .ring, or the PID of a recorded process."
                )
            (_, version, header_bytes, record_bytes, per, count, self.pid, self.start_ticks, names_at, names_bytes, records_at) = (
                _FIXED.unpack(head)
            )
            if version > VERSION:
                raise BadRing(
                    f"{path} was written by a newer greentrace (ring version {version}, this one reads up to {VERSION}).",
                    "It was not touched.",
                    "Install a newer greentrace to read it: pip install -U greentrace.",
                )
            self.layout = Layout(per, count, names_bytes)
            sane = (
                header_bytes == HEADER_BYTES == names_at
                and record_bytes == RECORD_BYTES
                and 0 < per <= 1 << 28
                and 1 < count <= 1 << 10
                and names_bytes % 8 == 0
                and records_at == self.layout.records_offset
                and self.layout.file_bytes <= size
            )
            if not sane:
                raise BadRing(
                    f"{path} is damaged: its sizes do not fit together.",
                    "It was not touched.",
                    "Nothing can be read from it; use another ring or a saved trace.",
                )
            # A descriptor kept open would be one more in the traced program; before 3.13 there is no way to do without.
            untracked: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
            self._map = mmap.mmap(fd, self.layout.file_bytes, prot=mmap.PROT_READ | (mmap.PROT_WRITE if write else 0), **untracked)
        finally:
            posix.close(fd)
        self.view = memoryview(self._map)
        # One aligned 64-bit load or store each: never torn.
        self.words = self.view[:HEADER_BYTES].cast("Q")

    def close(self) -> None:
        """Unmap; the object is of no use afterwards."""
        self.words.release()
        self.view.release()
        self._map.close()


class Writer(Mapping):
    """The writing half for the Python recorder; the C core has its own."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, write=True)
        self._slots = self.layout.records
        self._records = self.view[self.layout.records_offset :]
        self._names = self.view[self.layout.names_offset : self.layout.records_offset]
        self.head = self.words[HEAD]
        self.words[PHASE] = Phase.RECORDING

    def append(self, record: bytes) -> None:
        """Write one record and publish it."""
        at = self.head % self._slots * RECORD_BYTES
        # Taken first: a signal handler may write one more before this line's next.
        self.head += 1
        self._records[at : at + RECORD_BYTES] = record
        self.words[HEAD] = self.head

    def add_name(self, kind: NameKind, flags: int, number: int, payload: bytes) -> bool:
        """Append an entry to the names; return False, and count it, when the arena is full."""
        entry = name_entry(kind, flags, number, payload)
        at = self.words[NAMES_HEAD]
        if at + len(entry) > self.layout.names_bytes:
            self.words[LOST_NAMES] += 1
            return False
        self._names[at : at + len(entry)] = entry
        self.words[NAMES_HEAD] = at + len(entry)
        return True

    def names(self) -> bytes:
        """Return all entries written so far."""
        return bytes(self._names[: self.words[NAMES_HEAD]])

    def stopped(self) -> None:
        """Say that nothing more will come. The mapping stays: what dies later may still look at it."""
        self.words[PHASE] = Phase.STOPPED

    def close(self) -> None:
        """Say STOPPED and unmap."""
        self.stopped()
        self._records.release()
        self._names.release()
        super().close()


class Chunk(NamedTuple):
    """What `Follower.read` found: `records` that begin at position `first`, after `lost` that were overwritten."""

    first: int
    lost: int
    records: bytes


class Follower(Mapping):
    """The reading half: follows the writer without a lock, from the oldest whole generation on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.position = self._oldest(self.words[HEAD])
        self.skipped = self.position
        """Events that were already overwritten when following began."""
        self._names_at = 0

    @property
    def phase(self) -> Phase:
        word = self.words[PHASE]
        return Phase(word) if word in Phase._value2member_map_ else Phase.NEW

    @property
    def lost_names(self) -> int:
        return int(self.words[LOST_NAMES])

    @property
    def pending(self) -> int:
        """How many records wait to be read."""
        return int(self.words[HEAD]) - self.position

    def _oldest(self, head: int) -> int:
        """Return the first position that begins a generation and is not being overwritten."""
        per = self.layout.generation_records
        # The writer may already be inside the slot of the record at `head`.
        first = max(0, head + 1 - self.layout.records)
        return -(-first // per) * per

    def read(self, most: int = 1 << 16) -> Chunk:
        """Return up to `most` new records (perhaps none), in order, whole."""
        lost = 0
        while True:
            head = self.words[HEAD]
            if head - self.position >= self.layout.records:
                jump = self._oldest(head)
                lost += jump - self.position
                self.position = jump
            first = self.position
            count = max(0, min(most, head - first))
            data = self._copy(first, count)
            # What the writer reached while we copied may be torn: look again and keep only what it cannot have touched.
            if self.words[HEAD] + 1 - self.layout.records <= first:
                self.position = first + count
                return Chunk(first, lost, data)

    def _copy(self, first: int, count: int) -> bytes:
        slots = self.layout.records
        start = first % slots
        base = self.layout.records_offset
        until = min(start + count, slots)
        data = bytes(self.view[base + start * RECORD_BYTES : base + until * RECORD_BYTES])
        rest = count - (until - start)
        return data + bytes(self.view[base : base + rest * RECORD_BYTES]) if rest else data

    def read_names(self) -> bytes:
        """Return the new whole entries of the names arena. Read the records first: every name they use is then here."""
        head = min(int(self.words[NAMES_HEAD]), self.layout.names_bytes)
        base = self.layout.names_offset
        data = bytes(self.view[base + self._names_at : base + head])
        self._names_at = max(head, self._names_at)
        return data

    def meta(self) -> dict[str, Any]:
        """Return what the process said about itself.

        Raises `BadRing` when it is not there.
        """
        base = self.layout.names_offset
        head = min(int(self.words[NAMES_HEAD]), self.layout.names_bytes)
        for kind, _, _, payload in name_entries(bytes(self.view[base : base + head])):
            if kind == NameKind.META:
                try:
                    meta = json.loads(payload)
                except ValueError:
                    break
                if isinstance(meta, dict):
                    return meta
            break
        raise BadRing(
            f"{self.path} does not say whose it is.",
            "It was not touched.",
            "Wait until the process has started recording, or use another ring.",
        )
