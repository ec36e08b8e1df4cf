"""Trace: the saved file, `.gtrace`; one for all processes of a run.

    header   64 bytes: magic, version, crc
    blocks   each: a header of 56 bytes with its own crc, then its payload with a crc, appended and never changed
             PROCESS (JSON), NAMES (entries as in the ring), EVENTS (up to 65,536), GAP, NOTE (JSON), END (JSON)

Events are stored by column: times as differences, every column split into its bytes' planes, then zstd. The file is whole
after every block: cut off anywhere it opens up to the last whole one. A damaged block is left out, named in `damage`, and
shows as a gap, because every block tells the position of its first event.

In:  bytes of records and names. Out: the same, or `BadTrace`. A file from a stranger is hostile: sizes are checked before
memory is taken, nothing in it is executed. Never imported inside a traced program: it needs numpy and zstd.
One room, because writer and reader have to agree on every byte of the same blocks.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from greentrace.errors import BadTrace, CannotRecord
from greentrace.events import RECORD, Kind
from greentrace.ring import name_entries

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b"GTRACE\r\n"
VERSION = 1
MAX_EVENTS = 1 << 16
MAX_NAMES = 64 << 20
MAX_JSON = 1 << 20
LEVEL = 1

_FILE = struct.Struct("<8sI48xI")
_BLOCK = struct.Struct("<4sBBHIIIQQQII4x")
_BLOCK_MAGIC = b"GTBK"
_COLUMNS = ("kind", "flags", "thread", "greenlet", "other", "site", "arg")

EVENT_DTYPE = np.dtype(
    [
        ("t_ns", "<u8"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("thread", "<u2"),
        ("greenlet", "<u4"),
        ("other", "<u4"),
        ("site", "<u4"),
        ("arg", "<u8"),
    ]
)
"""The 32-byte record as numpy sees it."""
FIELDS = len(EVENT_DTYPE.names or ())
Records = npt.NDArray[np.void]


class Columns(NamedTuple):
    """Records as contiguous columns: numpy copies a strided field every time it is searched."""

    t_ns: npt.NDArray[Any]
    kind: npt.NDArray[Any]
    flags: npt.NDArray[Any]
    thread: npt.NDArray[Any]
    greenlet: npt.NDArray[Any]
    other: npt.NDArray[Any]
    site: npt.NDArray[Any]
    arg: npt.NDArray[Any]

    @classmethod
    def of(cls, records: npt.NDArray[Any]) -> Columns:
        """Return the columns of structured records."""
        return cls(*(np.ascontiguousarray(records[name]) for name in cls._fields))

    def records(self) -> Records:
        """Return the same as structured records."""
        records = np.empty(len(self), EVENT_DTYPE)
        for name, column in zip(self._fields, self, strict=True):
            records[name] = column
        return records

    def slice(self, start: int, stop: int) -> Columns:
        return Columns(*(column[start:stop] for column in self))

    @classmethod
    def join(cls, parts: list[Columns]) -> Columns:
        return parts[0] if len(parts) == 1 else cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def __len__(self) -> int:  # type: ignore[override]
        return len(self.t_ns)


class BlockType(IntEnum):
    """What a block holds."""

    PROCESS = 1
    NAMES = 2
    EVENTS = 3
    GAP = 4
    NOTE = 5
    END = 6


class Block(NamedTuple):
    """Where one block stands and what its header says. `lost_before`: events that are missing between it and the one before.

    `chain` is a checksum of this block of events and of all before it of the same process; 0 for blocks of another type.
    """

    type: BlockType
    process: int
    count: int  # type: ignore[assignment]
    stored: int
    raw: int
    first: int
    t0_ns: int
    t1_ns: int
    crc: int
    offset: int
    lost_before: int = 0
    chain: int = 0


_CHAINED = (BlockType.EVENTS, BlockType.GAP)
_LINK = struct.Struct("<BIQQQI")


def chained(chain: int, kind: BlockType, count: int, first: int, t0_ns: int, t1_ns: int, crc: int) -> int:
    """Return the checksum of a block of events and of all before it."""
    return zlib.crc32(_LINK.pack(kind, count, first, t0_ns, t1_ns, crc), chain)


def encode(records: bytes) -> bytes:
    """Return the compressed columns of `records`."""
    events = np.frombuffer(records, EVENT_DTYPE)
    t_ns = events["t_ns"].astype(np.uint64)
    planes = [planes_of(np.diff(t_ns, prepend=np.uint64(0)))]
    planes += [planes_of(np.ascontiguousarray(events[name])) for name in _COLUMNS]
    return deflate(b"".join(planes))


def planes_of(column: npt.NDArray[Any]) -> bytes:
    """Return the bytes of a contiguous column: all first bytes, then all second ones, and so on."""
    return column.view(np.uint8).reshape(len(column), column.itemsize).T.tobytes()


def unplaned(data: bytes, count: int, dtype: npt.DTypeLike, at: int = 0) -> npt.NDArray[Any]:
    """Return the column of `count` numbers whose planes stand at `at` in the data."""
    width = np.dtype(dtype).itemsize
    plane = np.frombuffer(data, np.uint8, count * width, at).reshape(width, count)
    return np.ascontiguousarray(plane.T).view(dtype).reshape(count)


def deflate(data: bytes, level: int = LEVEL) -> bytes:
    """Return the data compressed."""
    return zstd.compress(data, level=level)


def decode(payload: bytes, count: int, fields: int = FIELDS) -> Columns:
    """Return the events of an EVENTS payload; only so many of their fields, if fewer are asked for: the others are 0.

    Raises `ValueError` when it does not hold exactly `count` of them; where not all is read, that may go unnoticed.
    """
    names = Columns._fields
    sizes = [count * EVENT_DTYPE[name].itemsize for name in names]
    data = inflate(payload, sum(sizes[:fields]), fields == len(names))
    columns = [unplaned(data, count, EVENT_DTYPE[name], sum(sizes[:at])) for at, name in enumerate(names[:fields])]
    columns[0] = np.cumsum(columns[0], dtype=np.uint64)
    missing = [np.broadcast_to(EVENT_DTYPE[name].type(0), count) for name in names[fields:]]
    return Columns(*columns, *missing)


def inflate(payload: bytes | memoryview, raw: int, is_all: bool = True) -> bytes:
    """Return the `raw` bytes that were compressed, or the first so many of them, and never take more.

    Raises `ValueError` when there are others.
    """
    inflater = zstd.ZstdDecompressor()
    try:
        data = inflater.decompress(payload, max_length=raw + is_all)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error
    if len(data) != raw:
        raise ValueError(f"{len(data)} bytes instead of {raw}")
    return data


class TraceWriter:
    """Appends blocks. Each call leaves a whole file behind."""

    def __init__(self, path: Path) -> None:
        """Make the file.

        Raises `CannotRecord` when that is not possible; nothing has been started then.
        """
        self.path = Path(path)
        self.chains: dict[int, int] = {}
        """Of each process the `chain` of its last block of events."""
        try:
            self._file = open(self.path, "wb", buffering=0)
            self._write(_FILE.pack(MAGIC, VERSION, zlib.crc32(_FILE.pack(MAGIC, VERSION, 0)[:-4])))
        except OSError as error:
            raise CannotRecord(
                f"The trace {self.path} cannot be written ({error.strerror}).", "Nothing was recorded.", "Choose another place with -o."
            ) from error

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view):
            view = view[self._file.write(view) :]

    def _block(
        self, kind: BlockType, process: int, payload: bytes, *, count: int = 0, raw: int = 0, first: int = 0, t0: int = 0, t1: int = 0
    ) -> None:
        crc = zlib.crc32(payload)
        fields = (_BLOCK_MAGIC, kind, 0, process, count, len(payload), raw, first, t0, t1, crc)
        header = _BLOCK.pack(*fields, 0)
        header = _BLOCK.pack(*fields, zlib.crc32(header))
        try:
            self._write(header + payload)
        except OSError as error:
            raise CannotRecord(
                f"The trace {self.path} could not be written on ({error.strerror}).",
                "What it holds until here is whole and can be opened; the newest events are still in the ring.",
                "Free some room; greentrace attach PID shows what the ring holds.",
            ) from error
        if kind in _CHAINED:
            self.chains[process] = chained(self.chains.get(process, 0), kind, count, first, t0, t1, crc)

    def process(self, index: int, meta: dict[str, Any]) -> None:
        """Introduce a process."""
        self._block(BlockType.PROCESS, index, json.dumps(meta).encode())

    def names(self, index: int, data: bytes) -> None:
        """Append names entries; they must come before the events that use them."""
        for at in range(0, len(data), MAX_NAMES):
            part = data[at : at + MAX_NAMES]
            self._block(BlockType.NAMES, index, deflate(part, level=3), raw=len(part))

    def events(self, index: int, first_position: int, records: bytes) -> None:
        """Append events, in blocks of at most 65,536."""
        size = RECORD.size
        for at in range(0, len(records), MAX_EVENTS * size):
            part = records[at : at + MAX_EVENTS * size]
            count = len(part) // size
            t0, t1 = struct.unpack_from("<Q", part)[0], struct.unpack_from("<Q", part, (count - 1) * size)[0]
            self._block(BlockType.EVENTS, index, encode(part), count=count, raw=len(part), first=first_position + at // size, t0=t0, t1=t1)

    def gap(self, index: int, t_ns: int, lost: int, first_position: int = 0) -> None:
        """Say that `lost` events from `first_position` on are missing."""
        self._block(BlockType.GAP, index, struct.pack("<Q", lost), first=first_position, t0=t_ns, t1=t_ns)

    def note(self, note: dict[str, Any]) -> None:
        """Append a remark about the run."""
        self._block(BlockType.NOTE, 0, json.dumps(note).encode())

    def close(self, totals: dict[str, Any] | None = None) -> None:
        """Append the end, which says that nothing is missing, and close the file."""
        if self._file.closed:
            return
        try:
            if totals is not None:
                self._block(BlockType.END, 0, json.dumps(totals).encode())
        finally:
            self._file.close()

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


@dataclass
class ProcessBlocks:
    """What a trace holds of one process."""

    index: int
    meta: dict[str, Any] = field(default_factory=dict)
    event_blocks: list[Block] = field(default_factory=list)
    exit: dict[str, Any] | None = None
    chain: int = 0
    _names: bytearray = field(default_factory=bytearray)
    _next: int = -1

    def names(self) -> bytes:
        """Return all names entries so far."""
        return bytes(self._names)


class TraceFile:
    """A trace, read. Damage is passed over and named."""

    def __init__(self, path: Path) -> None:
        """Open and scan the blocks' headers.

        Raises `BadTrace` when it is no trace or one of a newer version, `OSError` when it cannot be read.
        """
        self.path = Path(path)
        self.blocks: list[Block] = []
        self.damage: list[str] = []
        self.notes: list[dict[str, Any]] = []
        self.ended = False
        self._processes: dict[int, ProcessBlocks] = {}
        self._file = open(self.path, "rb")
        head = self._file.read(_FILE.size)
        if len(head) < _FILE.size or head[:8] != MAGIC:
            self._file.close()
            raise BadTrace(f"{path} is not a trace.", "It was not touched.", "Give a .gtrace file that greentrace has recorded.")
        _, version, crc = _FILE.unpack(head)
        if crc != zlib.crc32(head[:-4]):
            self._file.close()
            raise BadTrace(f"{path} is damaged at its very beginning.", "It was not touched.", "Use another copy of it.")
        if version > VERSION:
            self._file.close()
            raise BadTrace(
                f"{path} was written by a newer greentrace (trace version {version}, this one reads up to {VERSION}).",
                "It was not touched.",
                "Install a newer greentrace to read it: pip install -U greentrace.",
            )
        self._at = _FILE.size
        self.refresh()

    @property
    def scanned_bytes(self) -> int:
        """How much of the file was scanned: all of it, but for what is damaged or being written at its end."""
        return self._at

    @property
    def processes(self) -> list[ProcessBlocks]:
        """All processes, in the order of their first block."""
        return list(self._processes.values())

    def refresh(self) -> bool:
        """Pick up blocks that were appended; return whether there were any."""
        before = len(self.blocks)
        size = os.fstat(self._file.fileno()).st_size
        while self._at + _BLOCK.size <= size:
            block = self._header(self._at, size)
            if block is None:
                if not self._resynchronise(size):
                    text = f"What follows byte {self._at:,} is no whole block and was passed over."
                    if text not in self.damage:
                        self.damage.append(text)
                    break
                continue
            if block.offset + block.stored > size:
                # Cut off, or still being written.
                break
            self._at = block.offset + block.stored
            self._take(block)
        return len(self.blocks) > before

    def _header(self, at: int, size: int) -> Block | None:
        """Return the block at `at`, None when what stands there is none."""
        self._file.seek(at)
        head = self._file.read(_BLOCK.size)
        if len(head) < _BLOCK.size or head[:4] != _BLOCK_MAGIC:
            return None
        magic, kind, flags, process, count, stored, raw, first, t0, t1, payload_crc, crc = _BLOCK.unpack(head)
        if zlib.crc32(_BLOCK.pack(magic, kind, flags, process, count, stored, raw, first, t0, t1, payload_crc, 0)) != crc:
            return None
        if kind not in BlockType._value2member_map_:
            return None
        if kind == BlockType.EVENTS and not (0 < count <= MAX_EVENTS and raw == count * RECORD.size):
            return None
        if kind == BlockType.NAMES and raw > MAX_NAMES:
            return None
        return Block(BlockType(kind), process, count, stored, raw, first, t0, t1, payload_crc, at + _BLOCK.size)

    def _resynchronise(self, size: int) -> bool:
        """Look for the next block behind damage; return whether there is one."""
        begin = self._at
        at = begin + 1
        while at < size:
            self._file.seek(at)
            data = self._file.read(1 << 20)
            found = data.find(_BLOCK_MAGIC)
            if found < 0:
                if len(data) < 1 << 20:
                    break
                at += len(data) - 3
                continue
            if self._header(at + found, size) is not None:
                self._at = at + found
                self.damage.append(f"{self._at - begin:,} bytes from {begin:,} on are damaged and were passed over.")
                return True
            at += found + 1
        return False

    def _payload(self, block: Block) -> bytes | None:
        # A read that does not move the file's place: windows read in a thread of their own too.
        payload = os.pread(self._file.fileno(), block.stored, block.offset)
        return payload if len(payload) == block.stored and zlib.crc32(payload) == block.crc else None

    def _spoilt(self, block: Block) -> None:
        text = f"A block of {block.type.name} at {block.offset:,} is damaged and was left out."
        if text not in self.damage:
            self.damage.append(text)

    def _json(self, block: Block) -> dict[str, Any] | None:
        payload = self._payload(block) if block.stored <= MAX_JSON else None
        try:
            value = json.loads(payload) if payload is not None else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            self._spoilt(block)
            return None
        return value

    def _take(self, block: Block) -> None:
        """Sort a block in."""
        if block.type in (BlockType.PROCESS, BlockType.NAMES, BlockType.EVENTS, BlockType.GAP):
            process = self._processes.setdefault(block.process, ProcessBlocks(block.process))
            if block.type == BlockType.PROCESS:
                process.meta = self._json(block) or {}
            elif block.type == BlockType.NAMES:
                self._take_names(process, block)
            else:
                block = self._in_sequence(process, block)
                process.event_blocks.append(block)
        elif block.type == BlockType.NOTE:
            note = self._json(block)
            if note is not None:
                self.notes.append(note)
                self._take_exit(note)
        else:
            self.ended = True
        self.blocks.append(block)

    def _take_names(self, process: ProcessBlocks, block: Block) -> None:
        payload = self._payload(block)
        try:
            data = inflate(payload, block.raw) if payload is not None else None
        except ValueError:
            data = None
        if data is None or len(process._names) + len(data) > MAX_NAMES * 4:
            self._spoilt(block)
        else:
            process._names += data

    def _take_exit(self, note: dict[str, Any]) -> None:
        end = note.get("exit")
        if isinstance(end, dict):
            for process in self._processes.values():
                if process.meta.get("pid") == end.get("pid"):
                    process.exit = end

    def _in_sequence(self, process: ProcessBlocks, block: Block) -> Block:
        """Note how many events are missing before the block."""
        process.chain = chained(process.chain, block.type, block.count, block.first, block.t0_ns, block.t1_ns, block.crc)
        expected, process._next = process._next, block.first + block.count
        if block.type == BlockType.GAP:
            payload = self._payload(block)
            lost = struct.unpack("<Q", payload)[0] if payload is not None and len(payload) == 8 else 0
            process._next = block.first + lost
            return block._replace(count=0, raw=lost, chain=process.chain)
        return block._replace(lost_before=max(block.first - expected, 0) if expected >= 0 else 0, chain=process.chain)

    def read(self, block: Block, fields: int = FIELDS) -> Columns:
        """Return the events of an EVENTS or GAP block, or some fields of them; a GAP record stands wherever some are missing."""
        if block.type == BlockType.GAP:
            return gap_columns(block.t0_ns, block.raw)
        payload = self._payload(block)
        try:
            events = decode(payload, block.count, fields) if payload is not None else None
            if events is not None and (np.any(events.t_ns[1:] < events.t_ns[:-1]) or events.t_ns[-1] != block.t1_ns):
                events = None
        except ValueError:
            events = None
        if events is None:
            self._spoilt(block)
            return gap_columns(block.t0_ns, block.count + block.lost_before)
        return Columns.join([gap_columns(block.t0_ns, block.lost_before), events]) if block.lost_before else events

    def is_whole(self, block: Block) -> bool:
        """Whether the payload of a block is as it was written."""
        return self._payload(block) is not None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def gap_columns(t_ns: int, lost: int) -> Columns:
    """Return one GAP record."""
    gap = np.zeros(1, EVENT_DTYPE)
    gap["t_ns"], gap["kind"], gap["arg"] = t_ns, Kind.GAP, lost
    return Columns.of(gap)


def whole_names(data: bytes) -> int:
    """Return how many bytes of `data` are whole names entries."""
    size = 0
    for _, _, _, payload in name_entries(data):
        size += 16 + len(payload) + -len(payload) % 8
    return size
