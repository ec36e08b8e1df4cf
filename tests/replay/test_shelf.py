"""The index beside a trace: it changes no answer, and whatever is wrong with it does not either."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greentrace.export import summary
from greentrace.follow import Follow
from greentrace.replay import history, indexing, reader, shelf
from greentrace.replay.filing import Section
from greentrace.replay.shelf import Shelf, find
from greentrace.replay.spans import frame, spans
from tests.replay.programs import numbers, play
from tests.support.scribe import Scribe

QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every trace is worth an index, and what an index misses is always little enough."""
    monkeypatch.setattr(indexing, "WORTH", 1)
    monkeypatch.setattr(history, "WORTH", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def recorded(folder: Path, choices: list[int], gaps: bool = True) -> Path:
    """Return the trace of a random program, with the index that the follower made."""
    (folder / "a.ring").unlink(missing_ok=True)
    s = Scribe(folder / "a.ring", step_ns=7)
    play(s, choices, gaps)
    Follow(s.path, folder / "a.gtrace").finish()
    return folder / "a.gtrace"


def answers(path: Path) -> list[Any]:
    """Return what a trace says when it is asked about everything."""
    with reader.open(path) as trace:
        keys = [g.key for g in trace.greenlets]
        moments = np.linspace(trace.start_ns, trace.end_ns, 9).astype(np.int64)
        drawn = [column.tolist() for column in frame(trace, keys, moments)]
        worlds = [trace.at(t) for t in moments.tolist()]
        said = [trace.findings(), trace.gaps, trace.damage, trace.events().tolist(), trace.greenlets]
        return [drawn, worlds, [spans(trace, key) for key in keys], *said]


def plain(path: Path) -> list[Any]:
    """Return the same without an index."""
    before, history.WORTH = history.WORTH, 1 << 40
    try:
        return answers(path)
    finally:
        history.WORTH = before


PROGRAM = [7 * i * i % 8191 for i in range(150)]


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, gaps=st.booleans())
@settings(deadline=None, max_examples=25, suppress_health_check=QUIET)
def test_an_index_changes_no_answer_whoever_made_it(choices: list[int], gaps: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = recorded(Path(folder), choices, gaps)
        beside = path.with_name("a.gtrace.index")
        expected, made = plain(path), beside.read_bytes()
        assert answers(path) == expected
        assert beside.read_bytes() == made, "it was good enough"
        beside.unlink()
        path.chmod(0o640)
        assert answers(path) == expected
        assert beside.stat().st_mode & 0o777 == 0o640
        assert beside.read_bytes() == made, "whoever opens the trace makes the same index as whoever wrote it"
        assert answers(path) == expected


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, cut=st.integers(1, 999))
@settings(deadline=None, max_examples=25, suppress_health_check=QUIET)
def test_of_a_trace_that_was_cut_off_the_index_serves_as_far_as_the_trace_goes(choices: list[int], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = recorded(Path(folder), choices)
        whole = path.read_bytes()
        path.write_bytes(whole[: max(64, len(whole) * cut // 1000)])
        expected = plain(path)
        assert answers(path) == expected
        assert answers(path) == expected


@pytest.mark.usefixtures("sizes")
@given(choices=numbers, cut=st.integers(0, 1000))
@settings(deadline=None, max_examples=25, suppress_health_check=QUIET)
def test_an_index_that_was_cut_off_serves_as_far_as_it_goes(choices: list[int], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = recorded(Path(folder), choices)
        beside = path.with_name("a.gtrace.index")
        beside.write_bytes(beside.read_bytes()[: beside.stat().st_size * cut // 1000])
        assert answers(path) == plain(path)


def test_the_index_of_another_trace_is_not_used(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = recorded(tmp_path / "one", PROGRAM), recorded(tmp_path / "other", PROGRAM[::-1])
    shutil.copy(other.with_name("a.gtrace.index"), one.with_name("a.gtrace.index"))
    assert answers(one) == plain(one)
    found = find(one)
    assert found is not None
    assert answers(one) == plain(one), "a new one was made"


def test_a_flipped_bit_anywhere_in_an_index_changes_no_answer(tmp_path: Path) -> None:
    path = recorded(tmp_path, PROGRAM[:40])
    beside = path.with_name("a.gtrace.index")
    expected, made = plain(path), beside.read_bytes()
    rng = np.random.default_rng(1)
    for at in sorted(rng.choice(len(made) * 8, 400, replace=False).tolist()):
        spoilt = bytearray(made)
        spoilt[at // 8] ^= 1 << at % 8
        beside.write_bytes(spoilt)
        assert answers(path) == expected, f"bit {at}"


def test_a_large_section_is_believed_until_somebody_looked_at_it(tmp_path: Path) -> None:
    path = recorded(tmp_path, PROGRAM)
    expected = plain(path)
    found = find(path)
    assert found is not None
    at = found.volumes[-1].offsets[Section.BITS]
    beside = path.with_name("a.gtrace.index")
    spoilt = bytearray(beside.read_bytes())
    spoilt[at] ^= 1
    beside.unlink()
    beside.write_bytes(spoilt)
    with reader.open(path, at_once=True) as trace:
        assert not trace.is_sure()
        trace.begin_again()
        assert trace.is_sure()
        assert trace.greenlets == expected[-1]
    assert beside.read_bytes() != spoilt
    assert answers(path) == expected


def test_an_index_of_another_version_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recorded(tmp_path, PROGRAM)
    monkeypatch.setattr(shelf, "VERSION", shelf.VERSION + 1)
    assert find(path) is None
    assert answers(path) == plain(path)
    assert find(path) is not None


def test_beside_a_trace_that_lies_where_nobody_may_write_the_index_goes_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded(tmp_path, PROGRAM)
    path.with_name("a.gtrace.index").unlink()
    places = shelf._places
    monkeypatch.setattr(shelf, "_places", lambda trace: [Path("/proc/no/such/place"), *places(trace)[1:]])
    assert answers(path) == plain(path)
    assert [one.name.endswith("-a.gtrace.index") for one in (tmp_path / "cache" / "greentrace").iterdir()] == [True]
    monkeypatch.setattr(shelf, "_places", lambda trace: [Path("/proc/no/such/place")])
    assert answers(path) == plain(path), "and where there is no place at all it is made each time"


def test_a_recording_takes_the_index_of_the_one_before_it_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path, PROGRAM)
    assert (tmp_path / "a.gtrace.index").exists()
    monkeypatch.setattr(indexing, "WORTH", 1 << 40)
    recorded(tmp_path, PROGRAM)
    assert not (tmp_path / "a.gtrace.index").exists(), "a short trace is worth none"


def test_what_goes_wrong_with_the_index_ends_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Shelf, *_: object) -> None:
        raise OSError(28, "No space left on device")

    expected = plain(recorded(tmp_path, PROGRAM))
    monkeypatch.setattr(Shelf, "write", full)
    path = recorded(tmp_path, PROGRAM)
    assert plain(path) == expected
    assert answers(path) == expected, "nor an opening"


def altered(sections: dict[int, bytes], draw: Callable[[int], int]) -> dict[int, bytes]:
    """Return sections of which a few bytes are something else, or missing, with good checksums."""
    found = dict(sections)
    for _ in range(1 + draw(3)):
        number = sorted(found)[draw(len(found))]
        data = bytearray(found[number])
        how = draw(4)
        if how == 0:
            del found[number]
        elif how == 1:
            del data[draw(len(data) + 1) :]
        elif data:
            for _ in range(1 + draw(4)):
                data[draw(len(data))] = draw(256)
        if how:
            found[number] = bytes(data)
        if not found:
            break
    return found


@given(data=st.data())
@settings(deadline=None, max_examples=100, suppress_health_check=QUIET)
def test_an_index_that_was_forged_may_lie_but_breaks_nothing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = recorded(Path(folder), PROGRAM[:60])
        beside = path.with_name("a.gtrace.index")
        good = find(path)
        assert good is not None
        volumes = [(one.process, {int(n): one.sections[n].tobytes() for n in one.sections}) for one in good.volumes]
        good.close()
        beside.unlink()
        forged = shelf.make_beside(path)
        which = data.draw(st.integers(0, len(volumes) - 1))
        for number, (process, sections) in enumerate(volumes):
            draw = lambda most: data.draw(st.integers(0, max(most - 1, 0)))  # noqa: E731
            forged.write(process, altered(sections, draw) if number == which else sections)
        forged.close()
        answers(path)


def test_sections_are_named_once() -> None:
    assert len({int(section) for section in Section}) == len(Section)


def test_info_tells_how_large_the_index_is(tmp_path: Path) -> None:
    path = recorded(tmp_path, PROGRAM)
    with reader.open(path) as trace:
        found = summary.facts(trace)
    assert found["index_bytes"] == path.with_name("a.gtrace.index").stat().st_size
    assert f"index: {found['index_bytes']:,} bytes" in "\n".join(summary.lines(found))
    with reader.open(tmp_path / "a.ring") as trace:
        assert summary.facts(trace)["index_bytes"] is None
