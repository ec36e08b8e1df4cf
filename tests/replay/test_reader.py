"""Opening, following, numbering, and moments as people write them."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from greentrace.errors import BadInput, BadRing, BadTime, BadTrace
from greentrace.events import RECORD, Kind, State
from greentrace.replay import process, reader
from greentrace.ring import Follower
from greentrace.trace import TraceWriter
from tests.conftest import SAMPLES
from tests.replay.programs import play
from tests.support.scribe import MS, START_NS, Scribe


def busy(s: Scribe, turns: int) -> None:
    alice = s.spawn("alice")
    for _ in range(turns):
        s.switch(alice)
        s.switch(s.main)


def save(s: Scribe, path: Path) -> Path:
    """Write what the scribe wrote into a .gtrace file."""
    follower = Follower(s.path)
    with TraceWriter(path) as writer:
        writer.process(0, follower.meta())
        chunk = follower.read(1 << 20)
        writer.names(0, follower.read_names())
        writer.events(0, chunk.first, chunk.records)
        writer.note({"exit": {"pid": 4242, "code": 3}})
        writer.close({})
    return path


def test_a_ring_and_the_trace_made_of_it_are_the_same(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    play(s, [random.Random(5).randrange(1 << 16) for _ in range(400)])
    live, saved = s.open(), reader.open(save(s, tmp_path / "a.gtrace"))
    assert live.live
    assert not saved.live
    assert live.events().tolist() == saved.events().tolist()
    assert live.at(live.end_ns).greenlets == saved.at(saved.end_ns).greenlets
    assert [saved.processes[0].pid, saved.processes[0].exit, saved.processes[0].label] == [4242, {"pid": 4242, "code": 3}, "bank.py 4242"]
    assert saved.at(saved.end_ns).ended == {0}


def test_following_a_ring_gives_what_opening_it_at_the_end_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SEAL_LIVE", 50)
    s = Scribe(tmp_path / "a.ring")
    trace = s.open()
    assert not trace.refresh()
    rng = random.Random(1)
    for _ in range(40):
        play(s, [rng.randrange(1 << 16) for _ in range(20)])
        assert trace.refresh()
        assert trace.end_ns == s.records[-1][0]
    fresh = s.open()
    for t_ns in range(trace.start_ns, trace.end_ns, (trace.end_ns - trace.start_ns) // 50):
        assert trace.at(t_ns) == fresh.at(t_ns)


def test_new_rings_in_a_directory_appear_as_processes(tmp_path: Path) -> None:
    first = Scribe(tmp_path / "a.ring", meta={"pid": 1})
    trace = reader.open(tmp_path)
    assert len(trace.processes) == 1
    second = Scribe(tmp_path / "b.ring", meta={"pid": 2})
    busy(first, 20)
    busy(second, 10)
    assert trace.refresh()
    assert [p.pid for p in trace.processes] == [1, 2]
    assert len(trace.at(trace.end_ns).greenlets) == 6


def test_events_of_all_processes_are_merged_by_time_and_numbered(tmp_path: Path) -> None:
    rng = random.Random(3)
    scribes = [Scribe(tmp_path / f"{i}.ring", meta={"pid": i + 1}) for i in range(3)]
    for s in scribes:
        for _ in range(200):
            s.tick(rng.randrange(3) * 1000)
            s.lock()
    trace = reader.open(tmp_path)
    merged = trace.events()
    expected = sorted((r[0], i, p) for i, s in enumerate(scribes) for p, r in enumerate(s.records))
    assert list(zip(merged["t_ns"].tolist(), merged["process"].tolist(), strict=True)) == [(t, i) for t, i, _ in expected]
    for number in [0, 1, len(expected) - 1, *rng.sample(range(len(expected)), 100)]:
        t_ns, process_index, position = expected[number]
        assert trace.find(number) == (process_index, position)
        assert trace.number(process_index, position) == number
        assert trace.event(number)[1].t_ns == t_ns
    assert trace.events(100, 150).tolist() == merged[100:150].tolist()
    assert len(trace.events(10**9)) == 0
    with pytest.raises(IndexError):
        trace.find(len(expected))


def test_events_that_are_out_of_order_are_put_in_order_and_named_as_damage(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    s.put(Kind.MARK, t_ns=START_NS - 500)
    s.put(Kind.MARK)
    trace = s.open()
    assert (np.diff(trace.events()["t_ns"].astype(np.int64)) >= 0).all()
    assert any("not in order" in line for line in trace.damage)


def test_moments_as_people_write_them(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    s.tick(2000 * MS)
    s.spawn("alice")
    trace = s.open()
    assert trace.parse_time("1.25") == trace.parse_time("1.25s") == START_NS + 1250 * MS
    assert trace.parse_time("0") == trace.parse_time("start") == START_NS
    assert trace.parse_time("end") == trace.end_ns
    assert trace.parse_time("#3") == s.records[3][0]
    assert trace.parse_time("2023-11-14T22:13:21+00:00") == START_NS + 1000 * MS
    assert trace.parse_time(f"{trace.seconds(trace.end_ns) + 4e-7:.6f}") <= trace.end_ns


@pytest.mark.parametrize("text", ["soon", "-1", "99", "#99999", "#x", "deadlock", "nan", "inf", "1e400", "2023-99-99", "1999-01-01"])
def test_a_moment_that_is_none_gets_three_sentences(tmp_path: Path, text: str) -> None:
    s = Scribe(tmp_path / "a.ring")
    with pytest.raises(BadTime) as caught:
        s.open().parse_time(text)
    assert caught.value.happened
    assert caught.value.kept
    assert caught.value.advice


def test_what_cannot_be_opened_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "a.gtrace").write_bytes(b"hello")
    (tmp_path / "a.ring").write_bytes(b"hello")
    (tmp_path / "empty").mkdir()
    kinds = {"a.gtrace": BadTrace, "a.ring": BadRing, "empty": BadInput, "none.gtrace": BadInput, "none.ring": BadInput}
    for name, kind in kinds.items():
        with pytest.raises(kind):
            reader.open(tmp_path / name)


@pytest.mark.parametrize("seed", range(30))
def test_records_of_pure_noise_never_break_the_reader(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    s = Scribe(tmp_path / "a.ring")
    kinds = [int(kind) for kind in Kind]
    for _ in range(300):
        small = rng.random() < 0.8
        number = (lambda: rng.randrange(6)) if small else (lambda: rng.randrange(1 << 32))
        arg = rng.randrange(20) if rng.random() < 0.7 else rng.randrange(1 << 64)
        t_ns = min(s.now + rng.randrange(9), (1 << 64) - 1) if rng.random() < 0.95 else rng.randrange(1 << 63)
        s._write(t_ns, rng.choice([*kinds, rng.randrange(256)]), rng.randrange(256), rng.randrange(3), number(), number(), number(), arg)
        assert len(s.records[-1]) == len(RECORD.unpack(bytes(32)))
    trace = s.open()
    for position in range(0, trace.event_count, 7):
        trace.at_position(0, position)
        assert trace.describe_event(position)
    trace.at(trace.end_ns)
    trace.findings()
    assert trace.greenlets


def test_every_event_can_be_told_in_words(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    lock, alice = s.lock(12), s.spawn("alice", line=3)
    s.switch(alice)
    s.switch(s.hub)
    s.switch(alice)
    position = s.park(lock, line=31)
    s.wake(alice)
    trace = s.open()
    lock_label = "lock created at app.py:12 (main)"
    assert trace.describe_event(position) == f"alice switched to hub and is now parked on {lock_label} at app.py:31 (work)"
    assert trace.describe_event(position - 1) == f"alice wants to acquire {lock_label} at app.py:31 (work)"
    assert trace.describe_event(position + 1) == "alice was woken by hub"
    assert "\n" not in "".join(trace.describe_event(i) for i in range(trace.event_count))


def test_every_greenlet_that_ever_was_is_listed(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    alice = s.spawn("alice", line=3)
    born = s.now
    s.switch(alice)
    s.finish(s.main)
    died = s.now
    s.collect(alice)
    trace = s.open()
    ever = trace.greenlets[-1]
    assert (ever.label, ever.spawner, str(ever.spawned_at[0])) == ("alice", s.main, "app.py:3 (spawning)")
    assert ever.born_ns is not None
    assert abs(ever.born_ns - born) <= 2000
    assert ever.died_ns is not None
    assert died - 2000 <= ever.died_ns <= died
    assert alice not in trace.at(trace.end_ns).greenlets
    assert trace.at(ever.died_ns).greenlets[alice].state == State.FINISHED


def test_a_closed_trace_leaves_nothing_open(tmp_path: Path) -> None:
    s = Scribe(tmp_path / "a.ring")
    with reader.open(save(s, tmp_path / "a.gtrace")) as trace:
        assert trace.event_count
    gc.collect()


def test_a_trace_that_was_cut_off_says_that_it_has_no_end(record: Callable[..., Path], tmp_path: Path) -> None:
    whole = record(str(SAMPLES / "producer_consumer.py"), "hub")
    assert reader.open(whole).damage == []
    cut = tmp_path / "cut.gtrace"
    cut.write_bytes(whole.read_bytes()[:-1])
    (damage,) = reader.open(cut).damage
    assert "has no end" in damage
