"""The language in which one says which greenlets are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greentrace.replay.reader import Trace
from greentrace.replay.roster import Muster, Roster
from greentrace.tui.filter import FIELDS, parse


def shown(trace: Trace, line: str) -> list[str]:
    predicate = parse(line)
    roster = Roster(trace)
    meant = predicate(Muster(roster, trace.at(trace.end_ns)))
    return [trace.greenlet(key).label for key in roster.keys[meant].tolist()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("alice", ["alice"]),
        ("ALICE", ["alice"]),
        ("name:a*", ["alice"]),
        ("name=ali", []),
        ("name:alice,bob", ["alice", "bob"]),
        ("waits:lock", ["alice", "bob", "carol"]),
        ("waits:lock !holds>0", ["carol"]),
        ("!waits:lock name!=hub,main", ["dave"]),
        ("alice | dave", ["alice", "dave"]),
        ("(alice | bob) holds>=1", ["alice", "bob"]),
        ("name~^[bc]", ["bob", "carol"]),
        ("state:runnable name:dave", ["dave"]),
        ("on:app.py:11", ["bob", "carol"]),
        ("at:app.py:30", ["alice", "bob", "carol"]),
        ("since>5ms waits:lock", ["alice", "bob", "carol"]),
        ("since>1h", []),
        ("pid=4242 id<3", ["hub", "main"]),
        ("died>0s", []),
    ],
)
def test_a_line_means_what_it_says(trace: Trace, line: str, expected: list[str]) -> None:
    assert shown(trace, line) == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("colour:red", "no field 'colour'"),
        ("since>soon", "no number"),
        ("name>5", "compares numbers"),
        ("name~[", "no pattern"),
        ("(alice", "not closed"),
        ("alice |", "missing"),
        (")", "not expected"),
        ("alice )", "not expected"),
    ],
)
def test_what_is_not_understood_is_said(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(line)


@given(st.text(alphabet="abc:=<>!|() ~*5ms,", max_size=30))
def test_no_line_breaks_it(line: str) -> None:
    try:
        predicate = parse(line)
    except ValueError:
        return
    assert callable(predicate)


def test_every_field_can_be_asked_for(trace: Trace) -> None:
    for field in FIELDS:
        assert isinstance(shown(trace, f"{field}:1"), list)
