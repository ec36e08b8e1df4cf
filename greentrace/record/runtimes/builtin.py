"""builtin: greentrace's own hub, which speaks the vocabulary itself.

Nothing is patched: the recorder becomes the observer that the hub calls.
"""

from __future__ import annotations

import sys

from greentrace.record.recorder import Recorder
from greentrace.record.runtimes.adapter import Adapter


def _observe(recorder: Recorder) -> None:
    sys.modules["greentrace.hub.instrument"].install(recorder)


def unobserve() -> None:
    """Take the recorder out of the hub, if the hub was ever imported."""
    instrument = sys.modules.get("greentrace.hub.instrument")
    if instrument is not None:
        instrument.uninstall()


ADAPTER = Adapter(name="greentrace.hub", package="greentrace.hub.instrument", on_package=_observe)
