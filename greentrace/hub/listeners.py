"""Listeners: who waits for which fd.

`trampoline(fd, read=True)` registers a listener, switches to the hub, and comes back when the fd is ready:

    green thread --listen--> Listeners --mode--> Poller        (then the green thread switches to the hub)
    green thread <--wake---- Listeners <--ready- Poller        (a listener serves once and is gone)

A file descriptor is a number that the system gives out again as soon as it is closed. Who waits on a number that was closed
would wait for a stranger: so closing (`notify_close`) and opening (`notify_opened`) throw `IOClosed` into it.

In:  fds. Out: greenlets that are woken. Never: two readers of one fd, unless one asks for it: which of them gets what is chance.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from greentrace.hub import instrument as _instrument
from greentrace.hub.instrument import KIND_FD, OP_READ, OP_READWRITE, OP_WRITE, READ, WRITE
from greentrace.hub.waiter import EXPIRED, Waiter

if TYPE_CHECKING:
    from greentrace.hub.loop import Hub

_OPS = {READ: OP_READ, WRITE: OP_WRITE, READ | WRITE: OP_READWRITE}


class IOClosed(OSError):
    """The fd that a green thread waited for was closed under it."""

    def __init__(self, fd: int) -> None:
        super().__init__(errno.ENOTCONN, f"fd {fd} was closed while a green thread waited for it")


class Listener(Waiter):
    """One green thread that waits for one fd."""

    __slots__ = ("fd", "generation", "mode")

    def __init__(self, hub: Hub, fd: int, mode: int, generation: int) -> None:
        super().__init__(hub)
        self.fd = fd
        self.mode = mode
        self.generation = generation


class Listeners:
    """All listeners of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._by_fd: dict[int, list[Listener]] = {}
        self.prevent_multiple = True

    def __len__(self) -> int:
        return sum(map(len, self._by_fd.values()))

    def wait(self, fd: int, mode: int, seconds: float | None = None, generation: int = 0) -> bool:
        """Wait until the fd is ready, at most so many seconds. Return False when the time is over.

        `generation`: the number of a socket of ours, by which its registration is known again and may outlive this wait.
        Raises RuntimeError when another green thread waits for the same already, IOClosed when the fd is closed meanwhile.
        """
        listener = Listener(self._hub, fd, mode, generation)
        self._add(listener)
        try:
            value = listener.wait(_OPS[mode], fd, KIND_FD, seconds)
        finally:
            # Whoever was served is gone from here already.
            self._remove(listener)
        if isinstance(value, IOClosed):
            raise value
        return value is not EXPIRED

    def _add(self, listener: Listener) -> None:
        fd, mode = listener.fd, listener.mode
        others = self._by_fd.get(fd)
        if others is None:
            self._hub.poller.listen(fd, mode, listener.generation)
            self._by_fd[fd] = [listener]
        else:
            wanted = mode
            for other in others:
                if other.mode & mode and self.prevent_multiple:
                    doing = "read" if mode & other.mode & READ else "write"
                    raise RuntimeError(
                        f"Second simultaneous {doing} on fd {fd}: {other.greenlet!r} waits for it already. It goes on waiting. "
                        "Let one green thread alone use a socket, or call hub_prevent_multiple_readers(False)."
                    )
                wanted |= other.mode
            self._hub.poller.listen(fd, wanted, listener.generation)
            others.append(listener)
        observer = _instrument.observer
        if observer is not None:
            observer.fd_add(fd, mode, listener.greenlet)

    def _remove(self, listener: Listener) -> None:
        fd = listener.fd
        others = self._by_fd.get(fd)
        if others is None or listener not in others:
            return
        others.remove(listener)
        observer = _instrument.observer
        if observer is not None:
            observer.fd_remove(fd, listener.mode, listener.greenlet)
        wanted = 0
        for other in others:
            wanted |= other.mode
        if wanted:
            try:
                self._hub.poller.listen(fd, wanted, others[0].generation)
            except (OSError, ValueError):
                # It was closed under them without a word. They hear of it when the number is used again.
                self._hub.poller.forget(fd)
            return
        del self._by_fd[fd]
        if not (listener.generation and listener.mode == READ):
            self._hub.poller.forget(fd)

    def fire(self, fd: int, mode: int) -> None:
        """The fd is ready: wake the first who reads and the first who writes. With nobody there it is watched no more."""
        others = self._by_fd.get(fd)
        if others is None:
            self._hub.poller.forget(fd)
            return
        observer = _instrument.observer
        for listener in tuple(others):
            if listener.mode & mode:
                if observer is not None:
                    observer.fd_ready(fd, listener.mode & mode, listener.greenlet)
                mode &= ~listener.mode
                self._remove(listener)
                listener.resume()

    def obsolete(self, fd: int) -> None:
        """The number does not mean any more what it meant: throw IOClosed into whoever waits for it."""
        for listener in tuple(self._by_fd.get(fd, ())):
            self._remove(listener)
            listener.wake(IOClosed(fd))
        self._hub.poller.forget(fd)
