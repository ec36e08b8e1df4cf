"""Source: where a replay gets its records and names from.

In:  a .gtrace file, a .ring file, or a directory of rings.
Out: one `Feed` a process, which hands over what is new since it was asked last: records, names, how the process ended.
Never: an opinion on what the records mean. What was lost is handed over as a GAP record, in its place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from greentrace.errors import BadInput, BadRing, BadTrace
from greentrace.replay.names import clean
from greentrace.replay.spool import Spool
from greentrace.ring import SUFFIX, Follower
from greentrace.trace import EVENT_DTYPE, FIELDS, Block, BlockType, Columns, ProcessBlocks, TraceFile, gap_columns

_NO_END = "The trace has no end: it was cut off, or is still being written. What came later is unknown."
_SURE_BYTES = 64 << 20
MAX_PROCESSES = 4096
"""More processes than this are not opened: a file that claims them is hostile."""

Told = Callable[[float], None]


def untold(done: float) -> None:
    """Nobody wants to know."""


class Feed:
    """One process: `take` returns the new records, `names` the new bytes of names. `keeps`: what was taken can be had again.

    `number` is what the process is called in its file.
    """

    keeps = False
    number = 0

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta
        self.exit: dict[str, Any] | None = None

    @property
    def pid(self) -> int:
        pid = self.meta.get("pid")
        return pid if isinstance(pid, int) and 0 < pid < 1 << 31 else 0

    def take(self) -> Iterator[Columns]:
        """Yield the new records, a stretch at a time."""
        raise NotImplementedError

    def again(self, start: int, stop: int, fields: int = FIELDS) -> Columns:
        """Return the records [start, stop) of those taken, if it `keeps` them; what cannot be read any more is GAP records.

        Whoever asks for fewer fields has the others as 0, and less to wait for.
        """
        raise NotImplementedError

    def mark(self) -> tuple[int, int]:
        """Return (how many blocks were taken, a checksum of them all)."""
        return 0, 0

    def has(self, blocks: int, chain: int, position: int) -> bool:
        """Whether that is what `mark` would return when all records up to a position are taken."""
        return False

    def skip(self, position: int) -> None:
        """Begin with the record at a position."""
        raise NotImplementedError

    def rewind(self) -> None:
        """Begin once more with the first record and the first name."""
        raise NotImplementedError

    def names(self) -> bytes:
        """Return the new names. Take the records first: every name they use is then here."""
        raise NotImplementedError


class Source:
    """All processes of a run. `saved`: the file that has it, if it is one that may have an index. `ended`: nothing will follow."""

    live = False
    saved: Path | None = None
    ended = False

    def __init__(self) -> None:
        self.feeds: list[Feed] = []

    @property
    def damage(self) -> list[str]:
        """What is wrong with the files, a sentence each."""
        return []

    def refresh(self) -> None:
        """Look for processes that are new."""

    def close(self) -> None:
        """Let go of the files."""


class _RingFeed(Feed):
    keeps = True

    def __init__(self, path: Path) -> None:
        self.ring = Follower(path)
        self._spool = Spool()
        super().__init__(clean(self.ring.meta()))
        self.meta.setdefault("pid", self.ring.pid)
        self._last_ns = 0

    def take(self) -> Iterator[Columns]:
        # What there is now: a fast writer would keep us here for ever.
        until = self.ring.position + self.ring.pending
        while self.ring.position < until:
            chunk = self.ring.read()
            records = np.frombuffer(chunk.records, EVENT_DTYPE)
            if chunk.lost:
                yield self._spooled(gap_columns(self._last_ns, chunk.lost))
            if not len(records):
                break
            self._last_ns = int(records["t_ns"][-1])
            yield self._spooled(Columns.of(records))

    def _spooled(self, columns: Columns) -> Columns:
        self._spool.put(columns)
        return columns

    def again(self, start: int, stop: int, fields: int = FIELDS) -> Columns:
        return self._spool.again(start, stop, fields)

    def close(self) -> None:
        self.ring.close()
        self._spool.close()

    def names(self) -> bytes:
        return self.ring.read_names()


class RingSource(Source):
    """A ring, or a directory of rings, as they are being written."""

    live = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._known: set[Path] = set()
        self._refused: list[str] = []
        self.refresh()
        if not self.feeds:
            if path.is_dir():
                raise BadInput(
                    f"There is no ring in {path}.", "Nothing was changed.", "Give a .gtrace file, or the PID of a recorded process."
                )
            raise BadRing(
                f"{path} cannot be read as a ring.", "It was not touched.", "Give a .gtrace file, or the PID of a recorded process."
            )

    @property
    def damage(self) -> list[str]:
        return self._refused

    def refresh(self) -> None:
        for path in sorted(self._path.glob(f"*{SUFFIX}")) if self._path.is_dir() else [self._path]:
            if path in self._known or len(self.feeds) >= MAX_PROCESSES:
                continue
            try:
                self.feeds.append(_RingFeed(path))
            except BadRing as error:
                if not self._path.is_dir():
                    raise
                if error.happened not in self._refused:
                    self._refused.append(error.happened)
                continue
            except OSError as error:
                if not self._path.is_dir():
                    raise BadInput(
                        f"{path} cannot be opened ({error.strerror}).", "It was not touched.", "Check the path and its permissions."
                    ) from error
                continue
            self._known.add(path)

    def close(self) -> None:
        for feed in self.feeds:
            if isinstance(feed, _RingFeed):
                feed.close()


class _TraceFeed(Feed):
    keeps = True

    def __init__(self, file: TraceFile, blocks: ProcessBlocks, told: Told) -> None:
        super().__init__(clean(blocks.meta))
        self.number = blocks.index
        self._file = file
        self._told = told
        self._blocks = blocks
        self._starts = [0]
        """At which position the records of each block begin that was taken, and where the next one's will."""
        self._skipped = 0
        self._names = 0

    def take(self) -> Iterator[Columns]:
        self.meta, self.exit = clean(self._blocks.meta), clean(self._blocks.exit)
        while len(self._starts) <= len(self._blocks.event_blocks):
            block = self._blocks.event_blocks[len(self._starts) - 1]
            self._told(block.offset / max(self._file.scanned_bytes, 1))
            records = self._file.read(block)
            self._starts.append(self._starts[-1] + len(records))
            skipped, self._skipped = self._skipped, 0
            yield _padded(records, _length(block)).slice(skipped, _length(block)) if skipped else records

    def mark(self) -> tuple[int, int]:
        blocks = len(self._starts) - 1
        return blocks, self._blocks.event_blocks[blocks - 1].chain if blocks else 0

    def has(self, blocks: int, chain: int, position: int) -> bool:
        every = self._blocks.event_blocks
        if not 0 < blocks <= len(every) or every[blocks - 1].chain != chain:
            return False
        before = sum(_length(block) for block in every[: blocks - 1])
        return before <= position <= before + _length(every[blocks - 1])

    def rewind(self) -> None:
        self._starts, self._skipped, self._names = [0], 0, 0

    def skip(self, position: int) -> None:
        for block in self._blocks.event_blocks:
            if self._starts[-1] + _length(block) > position:
                break
            self._starts.append(self._starts[-1] + _length(block))
        self._skipped = position - self._starts[-1]

    def again(self, start: int, stop: int, fields: int = FIELDS) -> Columns:
        parts = []
        for number in range(bisect_right(self._starts, start) - 1, bisect_left(self._starts, stop)):
            begin, end = self._starts[number], self._starts[number + 1]
            records = _padded(self._file.read(self._blocks.event_blocks[number], fields), end - begin)
            parts.append(records.slice(max(start - begin, 0), stop - begin))
        return Columns.join(parts)

    def names(self) -> bytes:
        data = self._blocks.names()
        new, self._names = data[self._names :], len(data)
        return new


def _length(block: Block) -> int:
    """Return how many records a block of events is, if it can be read."""
    return 1 if block.type == BlockType.GAP else block.count + (block.lost_before > 0)


def _padded(records: Columns, count: int) -> Columns:
    """Return so many records: of a block that was spoilt since they were counted, each keeps its place."""
    if len(records) == count:
        return records
    return Columns.join([gap_columns(int(records.t_ns[0]), 1)] * count)


class TraceSource(Source):
    """A saved trace, perhaps one that is still being written."""

    def __init__(self, path: Path, told: Told = untold) -> None:
        super().__init__()
        self._file = TraceFile(path)
        self.saved = path
        self._told = told
        self._look()

    @property
    def damage(self) -> list[str]:
        return [*self._file.damage, *([] if self._file.ended else [_NO_END])]

    @property
    def ended(self) -> bool:  # type: ignore[override]
        return self._file.ended

    @property
    def event_count(self) -> int:
        """How many events the blocks claim to have."""
        return sum(block.count for process in self._file.processes for block in process.event_blocks)

    def is_whole(self) -> bool:
        """Whether all events can be read; a file that is too long to be asked at once is believed to be."""
        if self._file.scanned_bytes > _SURE_BYTES:
            return True
        return all(self._file.is_whole(block) for process in self._file.processes for block in process.event_blocks)

    def _look(self) -> None:
        for index in range(len(self.feeds), min(len(self._file.processes), MAX_PROCESSES)):
            self.feeds.append(_TraceFeed(self._file, self._file.processes[index], self._told))

    def refresh(self) -> None:
        self._file.refresh()
        self._look()

    def close(self) -> None:
        self._file.close()


def open_source(path: Path, told: Told = untold) -> Source:
    """Open whatever `path` is; `told` hears how much of a file has been read, from 0 to 1.

    Raises `BadTrace`, `BadRing` or `BadInput`, each with advice.
    """
    try:
        if path.is_dir() or path.suffix == SUFFIX:
            return RingSource(path)
        return TraceSource(path, told)
    except OSError as error:
        raise BadTrace(
            f"{path} cannot be opened ({error.strerror}).", "It was not touched.", "Check the path and its permissions."
        ) from error
