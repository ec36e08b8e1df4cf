"""plain: greenlets that switch to each other without any runtime.

In:  one that is suspended and that no runtime knows of. Out: whether it has switched to another by itself.
"""

from __future__ import annotations

from greentrace.record.discovery.facts import RUNTIMES, Facts, Seen
from greentrace.record.discovery.frames import called


def switched_away(seen: Seen, facts: Facts) -> bool:
    """Whether its innermost frame calls `switch` or `throw`, or there is no hub in its thread that it could have waited in."""
    if not seen.stack.codes:
        return False
    code, at = seen.stack.codes[0]
    if any(part in code.co_filename for part in RUNTIMES):
        return False
    with_hub = any(facts.seen[id(g)].main is seen.main for g, _ in facts.hubs if id(g) in facts.seen)
    return not with_hub or bool(called(code, at, {"switch", "throw"}))
