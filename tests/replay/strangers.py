"""Strangers: trace files that nobody's recorder wrote, and everything that can be asked of one.

In:  bytes, whatever they are. Out: a file whose checksums are right all the same, so that what lies behind them is reached.
The first byte chooses: a file's blocks, given right checksums (`mended`), or records and names that are written as a trace
(`written`). `ask_everything` lets through nothing but the refusals that a user is told.

    python -m tests.replay.strangers CORPUS -max_total_time=3600    by hand: libFuzzer, with atheris (pip install atheris)
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import greentrace
from greentrace.errors import BadInput
from greentrace.events import RECORD, Kind
from greentrace.export import documents, summary, text, timeline, views
from greentrace.replay import measures, process, stats
from greentrace.replay.touches import Touches
from greentrace.trace import _BLOCK, _FILE, MAGIC, VERSION, BlockType, TraceFile, TraceWriter

BYS: tuple[measures.By, ...] = ("function", "resource", "site")
META = {"pid": 4242, "runtime": "gevent", "argv": ["bank.py"], "clock": {"monotonic_ns": 0, "wall_ns": 0}}
_SEED_BYTES = 1 << 16


def made(data: bytes, path: Path) -> Path:
    """Write the trace that these bytes stand for."""
    rest = data[1:]
    if data[:1] and data[0] & 1:
        return written(rest, path)
    path.write_bytes(mended(rest))
    return path


def mended(blocks: bytes) -> bytes:
    """Return a trace of these blocks: each with its magic and the checksums that belong to it."""
    out = bytearray(_FILE.pack(MAGIC, VERSION, zlib.crc32(_FILE.pack(MAGIC, VERSION, 0)[:-4])))
    at = 0
    while at + _BLOCK.size <= len(blocks):
        fields = list(_BLOCK.unpack_from(blocks, at))
        fields[0] = b"GTBK"
        at += _BLOCK.size
        payload = blocks[at : at + fields[5] % (1 << 20)]
        at += len(payload)
        fields[5], fields[-2], fields[-1] = len(payload), zlib.crc32(payload), 0
        fields[-1] = zlib.crc32(_BLOCK.pack(*fields))
        out += _BLOCK.pack(*fields) + payload
    return bytes(out)


def written(data: bytes, path: Path) -> Path:
    """Write names, as many bytes as the first two say, and records, in blocks whose lengths the names' bytes choose."""
    many = int.from_bytes(data[:2], "little")
    names, records = data[2 : 2 + many], data[2 + many :]
    events = [RECORD.unpack_from(records, at) for at in range(0, len(records) - RECORD.size + 1, RECORD.size)]
    events.sort(key=lambda event: event[0])
    with TraceWriter(path) as writer:
        writer.process(0, META)
        writer.names(0, names)
        per = 1 + (sum(names[:8]) % 64) * 8
        for first in range(0, len(events), per):
            part = b"".join(RECORD.pack(*event) for event in events[first : first + per])
            writer.events(0, first, part)
        writer.close({})
    return path


def seeds(trace: Path) -> list[bytes]:
    """Return the bytes that stand for a trace, both ways."""
    whole = trace.read_bytes()
    file = TraceFile(trace)
    try:
        names = b"".join(each.names() for each in file.processes)[:_SEED_BYTES]
        blocks = [block for block in file.blocks if block.type == BlockType.EVENTS]
        records = b"".join(file.read(block).records().tobytes() for block in blocks)
    finally:
        file.close()
    return [b"\x00" + whole[_FILE.size :], b"\x01" + struct.pack("<H", len(names) & 0xFFFF) + names[:0xFFFF] + records[:_SEED_BYTES]]


def ask_everything(path: Path) -> None:
    """Ask of a trace what the commands and the screens ask."""
    with suppress(BadInput), greentrace.open(path) as trace:
        if not trace.processes:
            return
        start, end, count = trace.start_ns, trace.end_ns, trace.event_count
        moments = sorted({start, (start + end) // 2, end})
        json.dumps(summary.facts(trace))
        summary.lines(summary.facts(trace))
        findings = trace.findings()
        json.dumps(documents.check(trace, findings))
        text.check_lines(trace, findings)
        for number in range(0, count, max(1, count // 12)):
            trace.describe_event(number)
            trace.at_position(*trace.find(number))
        for t_ns in moments:
            _ask_a_moment(trace, t_ns, findings)
        lanes = list(trace.greenlets)[:40]
        if end > start:
            timeline.text_lines(trace, lanes, start, end)
            timeline.svg(trace, lanes, start, end, trace.deadlocks(), 40)
            for by in BYS:
                for row in list(measures.measures(trace, start, end, by).rows)[:20]:
                    [(lengths.percentile_ns(99), lengths.histogram()) for lengths in (row.run, row.latency, row.wait)]
        stats.events_by_kind(trace)
        stats.time_by_state(trace)


def _ask_a_moment(trace: Any, t_ns: int, findings: list[Any]) -> None:
    world, graph = trace.at(t_ns), trace.graph(t_ns)
    json.dumps(documents.dump(trace, world, graph, findings))
    json.dumps(documents.waits(trace, graph))
    text.dump_lines(trace, world, graph, findings)
    text.waits_lines(graph)
    text.tree_lines(world)
    trace.states_at(t_ns)
    views.exported(trace, "waits", "dot", t_ns, lambda: findings)
    touches = Touches(trace)
    for key in list(world.resources)[:5]:
        touches.within(Kind.FD_READY, key, trace.start_ns, t_ns)


def main() -> None:
    """Let libFuzzer think of files; CORPUS is where it keeps those that reached something new."""
    import atheris

    for name, module in list(sys.modules.items()):
        if name.startswith("greentrace."):
            for _what, value in vars(module).items():
                if isinstance(value, FunctionType) and value.__module__ == name:
                    atheris.instrument_func(value)
    # So that small files reach what only large ones do.
    process.SEAL_FILE = 64
    directory = Path(tempfile.mkdtemp())
    atheris.Setup(sys.argv, lambda data: ask_everything(made(data, directory / "a.gtrace")))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
