"""Indexing: makes the index of a trace while the trace is written.

In:  the records of each process, in the blocks in which they are written, and the checksum of all blocks so far.
Out: `x.gtrace.index` beside the trace, once that is long enough to be worth one; it grows a chapter at a time.
Never: a look back. What is filed is forgotten, so that whoever follows a program for days needs no more room than for an hour; and
never the end of a recording: what goes wrong here ends the index and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from greentrace.replay import filing, shelf
from greentrace.replay.chapters import RARE, Chapter
from greentrace.replay.index import Array
from greentrace.replay.packing import Packed
from greentrace.replay.process import ProcessHistory
from greentrace.replay.source import Feed
from greentrace.trace import EVENT_DTYPE, Columns, gap_columns

WORTH = 1 << 18
"""A trace of so many events is worth an index."""


class _Passing(Feed):
    """What is written right now."""

    keeps = True

    def __init__(self) -> None:
        super().__init__({})
        self.blocks = self.chain = 0
        self._records: Columns | None = None

    def put(self, records: Columns, chain: int) -> None:
        self._records, self.blocks, self.chain = records, self.blocks + 1, chain

    def take(self) -> Iterator[Columns]:
        if self._records is not None:
            records, self._records = self._records, None
            yield records

    def mark(self) -> tuple[int, int]:
        return self.blocks, self.chain

    def names(self) -> bytes:
        return b""


class _Forgetful(ProcessHistory):
    """A process of which nothing is asked: what is filed is forgotten."""

    def __init__(self, index: int, feed: _Passing, desk: _Desk) -> None:
        super().__init__(index, feed, live=False)
        self._desk = desk

    def _file(self, t0_ns: int, is_reset: bool, packed: Packed, rare: Array, long: Array) -> Chapter:
        self._desk.put(self.index, self.count, filing.sections(self._leaf(t0_ns, is_reset, self.ages.now.frozen()), packed, rare, long))
        self.sealed.forget()
        self._filed = len(self.sealed)
        self.ages.now.forget()
        nothing = np.empty(0, np.uint32)
        return Chapter(t0_ns, is_reset, nothing, np.zeros(1, np.uint32), 0, 0, nothing, np.empty(0, RARE), np.empty(0, RARE))


class _Desk:
    """Where chapters lie until there are enough for a file."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace
        self._shelf: shelf.Shelf | None = None
        self._waiting: list[tuple[int, Mapping[int, bytes]]] = []
        self._events: dict[int, int] = {}

    def put(self, process: int, events: int, sections: Mapping[int, bytes]) -> None:
        self._waiting.append((process, sections))
        self._events[process] = events
        if self._shelf is None and sum(self._events.values()) >= WORTH:
            self._shelf = shelf.make_beside(self._trace)
        if self._shelf is not None:
            for process, sections in self._waiting:
                self._shelf.write(process, sections)
            self._waiting.clear()

    def close(self) -> None:
        if self._shelf is not None:
            self._shelf.close()


class Indexing:
    """The index of one trace that is being written."""

    def __init__(self, trace: Path) -> None:
        """Nothing is written yet; what lies beside the trace from an earlier recording is removed."""
        self._desk = _Desk(trace)
        self._processes: dict[int, tuple[_Passing, _Forgetful]] = {}
        self._given_up = False
        shelf.remove_beside(trace)

    def events(self, process: int, records: bytes, chain: int) -> None:
        """Take in one block of events; `chain` as `TraceWriter.chains` has it after that block."""
        block = Columns.of(np.frombuffer(records, EVENT_DTYPE))
        if (block.t_ns[1:] < block.t_ns[:-1]).any():
            # Whoever reads the block will refuse it.
            self._give_up()
        self._take(process, block, chain)

    def gap(self, process: int, t_ns: int, lost: int, chain: int) -> None:
        """Take in a block that tells of lost events."""
        self._take(process, gap_columns(t_ns, lost), chain)

    def finish(self) -> None:
        """The trace has ended."""
        for _, history in list(self._processes.values()):
            if not self._given_up:
                try:
                    history.finish()
                except Exception:
                    self._give_up()
        self._desk.close()

    def _take(self, process: int, records: Columns, chain: int) -> None:
        if self._given_up:
            return
        try:
            if process not in self._processes:
                feed = _Passing()
                self._processes[process] = (feed, _Forgetful(process, feed, self._desk))
            feed, history = self._processes[process]
            feed.put(records, chain)
            history.refresh()
        except Exception:
            self._give_up()

    def _give_up(self) -> None:
        """What is filed already is right, and stays."""
        self._given_up = True
        self._processes.clear()
        with suppress(OSError):
            self._desk.close()
