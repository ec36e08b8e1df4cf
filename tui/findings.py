"""Findings: what the lints found, the gravest first, and all that each has to say.

In:  a Scene. Out: a list, and below it the text of the finding that is chosen. Enter takes the cursor to its evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.strip import Strip

from greentrace.replay.model import Finding

from .messages import FindingChosen
from .palette import CHOSEN, FAINT, GOOD, LEVEL_MARKS, LEVEL_STYLES, PLAIN, RULER, STRONG
from .pane import Line, Pane, scrolled, working
from .scene import Scene


class Findings(Pane):
    """The list; the chosen row is the pane's own until Enter."""

    def __init__(self, scene: Scene, id: str) -> None:
        super().__init__(scene, id)
        self._chosen = 0
        self._top = 0

    def lines(self, width: int, height: int) -> Sequence[Line | Strip]:
        found = self.scene.findings
        if not self.scene.is_judged:
            return [[(working(self.scene, "verdict", "Looking for trouble"), FAINT)]]
        if not found:
            return [[("Nothing was found.", GOOD), ("  What was lost or not recorded cannot be judged.", FAINT)]]
        self._chosen = min(self._chosen, len(found) - 1)
        listed = min(len(found), max(height - 10, height // 2, 3))
        self._top = scrolled(self._top, self._chosen, listed, len(found))
        out: list[Line | Strip] = []
        for i, finding in enumerate(found[self._top : self._top + listed], self._top):
            out.append(self._row(finding, i == self._chosen))
        out.append([("─" * width, FAINT)])
        finding = found[self._chosen]
        first, *rest = finding.text.split("\n")
        out += [[(line, STRONG)] for line in _wrapped(first, width)]
        out += [[(line, PLAIN)] for text in rest for line in _wrapped(text, width)]
        if finding.events:
            out.append([("evidence: " + ", ".join(f"#{number}" for number in finding.events), FAINT)])
        out.append([("Enter goes there", FAINT)])
        return out

    def _row(self, finding: Finding, chosen: bool) -> Line:
        style = CHOSEN if chosen else LEVEL_STYLES[finding.level]
        plain = CHOSEN if chosen else PLAIN
        return [
            (f"{'▸' if chosen else ' '}{LEVEL_MARKS[finding.level]} ", style),
            (f"{self.scene.moment(finding.t_ns):>14}  ", CHOSEN if chosen else RULER),
            (f"{finding.lint:<17} ", style),
            (finding.line.removeprefix("Deadlock: "), plain),
        ]

    def choose(self, index: int) -> None:
        """Make a finding the chosen one."""
        self._chosen = min(max(index, 0), max(len(self.scene.findings) - 1, 0))
        self.redraw()

    def move(self, rows: int) -> None:
        self.choose(self._chosen + rows)

    def on_click(self, event: events.Click) -> None:
        row = self._top + event.y
        if row < len(self.scene.findings):
            self.choose(row)
            if event.chain > 1:
                self.enter()

    def enter(self) -> None:
        """Go to the evidence."""
        if not self.begins_again("verdict") and self.scene.findings:
            self.post_message(FindingChosen(self._chosen))


def _wrapped(text: str, width: int) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width - len(indent):
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return [indent + line for line in lines]
