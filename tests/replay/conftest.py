"""How finely a replay cuts what it reads: with tiny pieces every seam is met by a short trace."""

from __future__ import annotations

import pytest

from greentrace import follow, trace
from greentrace.replay import chapters, packing, process, segments, spool

SIZES = {"tiny": (9, 4, 2), "small": (5, 30, 4), "as it is": None}


@pytest.fixture(params=sorted(SIZES))
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many records make a segment, so many changes of state a chapter and a block; and nothing of a file is held for long."""
    if SIZES[request.param] is None:
        return
    segment, chapter, step = SIZES[request.param]
    monkeypatch.setattr(process, "SEAL_LIVE", segment)
    monkeypatch.setattr(process, "SEAL_FILE", segment)
    monkeypatch.setattr(segments, "WARM", 1)
    monkeypatch.setattr(spool, "BLOCK", segment + 3)
    monkeypatch.setattr(segments, "KEEP_BYTES", 200)
    monkeypatch.setattr(chapters, "CHAPTER_CHANGES", chapter)
    monkeypatch.setattr(chapters, "LONG_RUN", 2)
    monkeypatch.setattr(packing, "STEP", step)
    monkeypatch.setattr(trace, "MAX_EVENTS", segment + 2)
    monkeypatch.setattr(follow, "MAX_EVENTS", segment + 2)
