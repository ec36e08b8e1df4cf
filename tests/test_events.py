"""The table of events: one row a kind, every field told, codes that fit, and a C header that is remade from it."""

from __future__ import annotations

import re
import subprocess
import sys
from enum import IntEnum
from pathlib import Path

import pytest

import greentrace
from greentrace import events
from greentrace.events import EVENTS, RECORD, Event, Kind, Mode, Op, ResourceKind, State, Waker

HEADER = Path(next(iter(greentrace.__path__))) / "record" / "native" / "events.h"
WHO_TELLS = {"recorder", "runtime", "user", "follower"}


def test_the_c_header_is_the_one_that_the_table_makes() -> None:
    remake = "run: python -m greentrace.events --c > greentrace/record/native/events.h"
    assert HEADER.read_text(encoding="utf-8") == events.c_header(), remake


def test_the_command_prints_the_header_or_the_table_of_the_documentation() -> None:
    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "greentrace.events", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert said("--c") == events.c_header()
    assert said("--markdown") == events.markdown_table()


def test_every_kind_has_exactly_one_row() -> None:
    assert sorted(event.kind for event in EVENTS) == sorted(Kind)


def test_a_record_has_32_bytes_little_endian_with_each_field_in_its_place() -> None:
    assert RECORD.size == 32
    packed = RECORD.pack(0x0807060504030201, 0x09, 0x0A, 0x0C0B, 0x100F0E0D, 0x14131211, 0x18171615, 0x201F1E1D1C1B1A19)
    assert packed == bytes(range(1, 33))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind.name)
def test_every_row_says_who_tells_it_and_what_it_says(event: Event) -> None:
    assert event.told_by in WHO_TELLS
    assert re.fullmatch(r"[A-Z].*\.", event.sentence)
    told = (event.greenlet, event.other, event.site, event.flags, event.arg)
    assert any(told) or event.kind in (Kind.GAP,), "an event that names nobody and nothing"
    assert "|" not in "".join((event.sentence, *told)), "it would break the table of the documentation"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind.name)
def test_a_row_that_names_flags_names_things_of_the_vocabulary(event: Event) -> None:
    for word in re.findall(r"[A-Z][A-Za-z]*(?:_[A-Z*]+)*", event.flags):
        if word == "KEYFRAME_*":
            continue
        assert hasattr(events, word), word


def test_every_row_stands_in_the_table_of_the_documentation_with_its_code() -> None:
    lines = events.markdown_table().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    for event in EVENTS:
        assert f"| {int(event.kind)} | {event.kind.name} | {event.sentence} |" in events.markdown_table()
    assert len(lines) == len(EVENTS) + 2


@pytest.mark.parametrize("words", [Kind, State, events.How, Op, Waker, Mode, ResourceKind], ids=lambda words: words.__name__)
def test_codes_are_unique(words: type[IntEnum]) -> None:
    assert len(words.__members__) == len({int(member) for member in words}), "an enum silently makes an alias of a second name"


def test_codes_fit_into_the_bits_that_the_record_has_for_them() -> None:
    assert all(0 < kind < 256 for kind in Kind), "0 is a slot that was never written"
    assert max(State) <= events.STATE_MASK
    marks = events.FLAG_KEY | events.FLAG_INFERRED
    for words in (State, events.How, Op, Waker, Mode):
        assert all(member & marks == 0 for member in words), words
    assert all(kind & (marks | events.RESOURCE_SIGNAL) == 0 for kind in ResourceKind)
    assert events.FLAG_KEY & events.FLAG_INFERRED == 0


def test_flags_of_one_kind_of_event_do_not_overlap() -> None:
    assert events.TIMER_THROWS & events.TIMER_CALLS == 0
    assert events.KEYFRAME_BEGIN & events.KEYFRAME_END == events.KEYFRAME_BEGIN & events.KEYFRAME_PARTIAL == 0
    assert events.KEYFRAME_END & events.KEYFRAME_PARTIAL == 0


def test_the_resources_that_nobody_owns_lie_below_the_first_that_somebody_does() -> None:
    assert len({events.RESOURCE_UNKNOWN, events.RESOURCE_SWITCH, events.RESOURCE_SLEEP}) == 3
    assert max(events.RESOURCE_UNKNOWN, events.RESOURCE_SWITCH, events.RESOURCE_SLEEP) < events.FIRST_RESOURCE


def test_the_hub_speaks_of_operations_kinds_and_modes_in_the_same_numbers() -> None:
    """The hub imports nothing of ours, so it has the numbers a second time."""
    from greentrace.hub import instrument

    for prefix, words in (("OP_", Op), ("KIND_", ResourceKind)):
        mine = {name.removeprefix(prefix): value for name, value in vars(instrument).items() if name.startswith(prefix)}
        assert mine
        for name, value in mine.items():
            assert value == words[name], f"{prefix}{name}"
    assert (instrument.READ, instrument.WRITE) == (Mode.READ, Mode.WRITE)
