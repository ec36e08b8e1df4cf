"""Sitecustomize: what Python imports by itself at start-up when `greentrace record` has put this folder on its path.

In:  the environment that greentrace.record.launch made. Out: a recording that began before the program's first line.
It takes itself away first, so that the program finds its own path, environment and sitecustomize; from then on Python goes
on to run the program as it always does, and no frame of ours is below it.
"""

import os
import sys


def _begin() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    ourselves = sys.modules.pop("sitecustomize")
    from greentrace.record import launch

    launch.begin(here)
    try:
        import sitecustomize  # noqa: F401  # the program's own, if it has one
    except ImportError:
        # The import system insists on finding what it was asked for.
        sys.modules["sitecustomize"] = ourselves


_begin()
