"""Patched: the standard library's threading, monkey-patched by the runtime of argv[1]; to be imported before anything else."""

import sys
import warnings

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
    from gevent import spawn as run
else:
    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()
    from eventlet import spawn as run

import threading

__all__ = ["run", "threading"]
