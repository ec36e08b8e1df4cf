"""Green: both runtimes under one face, everything monkey-patched; the runtime's name is the first argument."""

import sys
import warnings

name = sys.argv[1]

if name == "gevent":
    from gevent import monkey

    monkey.patch_all()
    from gevent import sleep, spawn
    from gevent.socket import wait_read, wait_write

    def join(greenlet):
        return greenlet.get()

else:
    # It warns of its own age, on stderr, with or without us.
    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()
    from eventlet import sleep, spawn  # noqa: F401
    from eventlet.hubs import trampoline

    def join(greenlet):
        return greenlet.wait()

    def wait_read(fd):
        trampoline(fd, read=True)

    def wait_write(fd):
        trampoline(fd, write=True)
