"""Settings: what one chooses once and finds again: the order and the shape of the list, by what the statistics count.

In:  a file, `greentrace/tui.json` where the user's configuration is kept (`XDG_CONFIG_HOME`). Out: `Settings`; the file again.
Never: a complaint: a file that is missing, damaged or of another version leaves things as they are at first, and what cannot be
written is forgotten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .scene import SHAPES, SORTS, Scene
from .sight import COUNTED_BY

_CHOICES: dict[str, Sequence[str]] = {"sort": SORTS, "shape": SHAPES, "counted_by": COUNTED_BY}


def path() -> Path:
    """Return where the settings are kept."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "greentrace" / "tui.json"


@dataclass(frozen=True)
class Settings:
    """What was chosen; each has the name that it has in a `Scene`."""

    sort: str = SORTS[0]
    shape: str = SHAPES[0]
    counted_by: str = COUNTED_BY[0]

    @classmethod
    def of(cls, scene: Scene) -> Settings:
        """Return what is chosen in a scene."""
        return cls(**{each.name: getattr(scene, each.name) for each in fields(cls)})

    @classmethod
    def load(cls) -> Settings:
        """Return what the file says."""
        try:
            told = json.loads(path().read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return cls()
        known = told.items() if isinstance(told, dict) else ()
        return cls(**{name: value for name, value in known if value in _CHOICES.get(name, ())})

    def apply(self, scene: Scene) -> None:
        """Choose the same in a scene."""
        for name, value in asdict(self).items():
            setattr(scene, name, value)

    def save(self) -> None:
        """Write the file."""
        with suppress(OSError, RuntimeError):
            where = path()
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
