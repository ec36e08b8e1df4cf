"""Summary: what is inside a trace.

In:  a Trace. Out: facts as a dict, and the same as lines.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from greentrace.export.words import count, duration
from greentrace.replay.reader import Trace
from greentrace.replay.stats import events_by_kind


def facts(trace: Trace) -> dict[str, Any]:
    """Return the document of `info --json`; times in seconds from the start of the trace."""
    processes = []
    for process in trace.processes:
        meta = process.meta
        processes.append(
            {
                "pid": process.pid,
                "ppid": meta.get("ppid"),
                "command": meta.get("argv", []),
                "python": meta.get("python"),
                "core": meta.get("core"),
                "events": process.event_count,
                "greenlets": sum(g.process == process.index for g in trace.greenlets),
                "threads": len({g.thread for g in trace.greenlets if g.process == process.index}),
                "start": round(trace.seconds(process.start_ns), 9),
                "end": round(trace.seconds(process.end_ns), 9),
                "exit": dict(process.exit) if process.exit else None,
            }
        )
    size = trace.path.stat().st_size if trace.path.is_file() else None
    offset = trace.wall_offset_ns
    return {
        "file": str(trace.path),
        "bytes": size,
        "bytes_per_event": round(size / trace.event_count, 2) if size and trace.event_count else None,
        "index_bytes": trace.index_bytes,
        "began": _iso(trace.start_ns + offset) if offset is not None else None,
        "seconds": round((trace.end_ns - trace.start_ns) / 1e9, 9),
        "events": trace.event_count,
        "events_by_kind": events_by_kind(trace),
        "greenlets": trace.greenlet_count,
        "processes": processes,
        "gaps": trace.lost,
        "damage": list(trace.damage),
    }


def _iso(wall_ns: int) -> str:
    """Return a wall clock time in ns as ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="milliseconds")


def _index_lines(index_bytes: int | None, events: int) -> list[str]:
    return [f"index: {index_bytes:,} bytes ({index_bytes / events:.2f} per event), which may be deleted"] if index_bytes else []


def lines(facts: dict[str, Any]) -> list[str]:
    """Return the facts as people read them."""
    size = f", {facts['bytes']:,} bytes" if facts["bytes"] is not None else ""
    per = f" ({facts['bytes_per_event']} per event)" if facts["bytes_per_event"] else ""
    span = duration(int(facts["seconds"] * 1e9))
    out = [
        f"{facts['file']}: {count(facts['events'], 'event')} in {span}{size}{per}",
        f"began: {facts['began'] or 'unknown'}",
        *_index_lines(facts["index_bytes"], facts["events"]),
        f"greenlets: {facts['greenlets']:,}    lost events: {facts['gaps']:,}",
    ]
    for process in facts["processes"]:
        end = process["exit"]
        how = "" if not end else f", exit code {end['code']}" if end.get("code") is not None else f", ended by signal {end.get('signal')}"
        command = " ".join(map(str, process["command"])) or "python"
        out.append(f"process {process['pid']}: {command}  (Python {process['python']}, core {process['core']}{how})")
        out.append(
            f"    {count(process['events'], 'event')}, {count(process['greenlets'], 'greenlet')}, {count(process['threads'], 'thread')},"
            f" from {process['start']:.6f} s to {process['end']:.6f} s"
        )
    out.append("events by kind:")
    width = max((len(name) for name in facts["events_by_kind"]), default=0)
    out += [f"    {name:{width}}  {number:>12,}" for name, number in sorted(facts["events_by_kind"].items(), key=lambda item: -item[1])]
    out += [f"damage: {line}" for line in facts["damage"]]
    return out
