"""The README: its tables are those of the code, and it names every command, event kind and lint."""

from __future__ import annotations

import re

from greentrace import events
from greentrace.cli import cli
from greentrace.replay import lints
from tests.readme import README, remade

TEXT = README.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_code() -> None:
    assert remade(TEXT) == TEXT, "run: python -m tests.readme"


def test_every_command_event_kind_and_lint_is_named() -> None:
    for name in cli.commands:
        assert f"`greentrace {name}" in TEXT, name
    for kind in events.Kind:
        assert f"| {kind.name} |" in TEXT, kind
    for name in lints.LINTS:
        assert f"`{name}`" in TEXT, name


def test_the_two_commands_stand_there_as_one_line_each() -> None:
    commands = re.findall(r"```sh\n(python3 -m venv [^\n]+)\n```", TEXT)
    assert len(commands) == 2
    assert "pip install . " in commands[0]
    assert commands[0].endswith("greentrace demo")
    assert commands[1].endswith("pytest")
