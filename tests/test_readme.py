"""The README: its tables are those of the code, and it names every command, event kind and lint."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from greentrace import events
from greentrace.cli import cli
from greentrace.replay import lints
from tests.conftest import GREENTRACE
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


def test_the_commands_of_every_day_do_what_stands_beside_them(tmp_path: Path) -> None:
    block = re.search(r"## Use\n\n```sh\n(.*?)```", TEXT, re.S)
    assert block is not None
    (tmp_path / "samples").symlink_to(README.parent / "samples")
    codes = {}
    for line in block[1].splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "greentrace"
        done = subprocess.run(
            [*GREENTRACE, *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False
        )
        codes[words[1]] = done.returncode
        if words[1] in ("check", "dump"):
            assert "alice and bob wait for each other" in done.stdout.splitlines()[0]
    # Without a terminal the TUI says that it needs one; with one, tests/tui/test_terminal.py looks at it.
    assert codes == {"record": 0, "check": 1, "dump": 0, "export": 0, "replay": 2}
    assert (tmp_path / "bank.svg").read_bytes().count(b"DEADLOCKED") == 2


def test_what_python_is_shown_runs(tmp_path: Path) -> None:
    block = re.search(r"From Python:\n\n```python\n(.*?)```", TEXT, re.S)
    assert block is not None
    done = subprocess.run([sys.executable, "-c", block[1]], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_its_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(pictures) >= 2
    for picture in pictures:
        assert (README.parent / picture).read_text(encoding="utf-8").startswith(("<svg", "<?xml"))
