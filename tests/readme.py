"""Readme: remakes the tables of README.md that are made from code.

python -m tests.readme [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from greentrace import events
from greentrace.record import flight
from greentrace.record.runtimes import catalogue
from greentrace.replay import lints

README = Path(__file__).resolve().parent.parent / "README.md"


def remade(text: str) -> str:
    """Return the README with its tables made anew."""
    rows = "".join(f"| `{lint.name}` | {lint.level} | {lint.sentence} |\n" for lint in lints.LINTS.values())
    table = f"| lint | level | what it finds |\n|---|---|---|\n{rows}<!-- /lints -->"
    text = re.sub(r"(?s)\| lint \| level .*?<!-- /lints -->", lambda _: table, text)
    rows = "".join(f"| `{name}` | {sentence} |\n" for name, sentence in flight.TRIGGERS.items())
    table = f"| a trace is saved for | when |\n|---|---|\n{rows}<!-- /triggers -->"
    text = re.sub(r"(?s)\| a trace is saved for .*?<!-- /triggers -->", lambda _: table, text)
    table = f"<!-- primitives -->\n{catalogue.markdown_table()}<!-- /primitives -->"
    text = re.sub(r"(?s)<!-- primitives -->\n.*?<!-- /primitives -->", lambda _: table, text)
    table = f"<!-- events -->\n{events.markdown_table()}<!-- /events -->"
    return re.sub(r"(?s)<!-- events -->\n.*?<!-- /events -->", lambda _: table, text)


if __name__ == "__main__":
    before = README.read_text(encoding="utf-8")
    after = remade(before)
    if "--check" in sys.argv:
        sys.exit(before != after)
    README.write_text(after, encoding="utf-8")
