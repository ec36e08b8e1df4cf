"""Pictures: makes those of the README anew, from a trace that is recorded for it.

python -m tests.pictures

In:  the sample `victims` on gevent. Out: samples/pictures/waits.svg, timeline.svg and tui.svg. Look at them before they are committed.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from greentrace import run
from greentrace.export import timeline, views
from greentrace.replay import reader
from greentrace.tui.app import Replay

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
PICTURES = SAMPLES / "pictures"


async def tui(trace: reader.Trace) -> str:
    """Return the first screen, a little closer to the deadlock, without the web fonts that Textual names."""
    app = Replay(trace)
    async with app.run_test(size=(120, 32)) as pilot:
        await pilot.press("c", "w", "w", "w", "w")
        svg = app.export_screenshot(title="greentrace replay victims.gtrace")
    return re.sub(r"(?s)@font-face \{.*?\}\s*", "", svg)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "victims.gtrace"
        run.record([sys.executable, str(SAMPLES / "victims.py"), "gevent"], out)
        trace = reader.open(out)
        (PICTURES / "waits.svg").write_bytes(views.picture(trace, trace.end_ns, using="pure"))
        (PICTURES / "tui.svg").write_text(asyncio.run(tui(trace)), encoding="utf-8")
        lanes = [g for g in trace.greenlets if not g.is_hub][:12]
        (PICTURES / "timeline.svg").write_text(
            timeline.svg(trace, lanes, trace.start_ns, trace.end_ns, trace.deadlocks()), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
