"""Poller: which fds are ready, asked of the operating system.

A thin layer over `selectors`. One thing is its own: after a reader has been served, the fd of a socket stays registered,
because most readers come back to the same socket at once. Only when it turns out to be ready with nobody to read it is it
forgotten. So a server that reads and answers makes no system calls but the read, the write and the poll. Every socket has a
number of its own, its generation: by it a registration is known to be for this socket and not for one that had the same fd
before, in whatever thread that one was closed.

       listen(READ)      ready, served        listen(READ) again: nothing to do
    -  ------------> [R] ------------> (R) ------------------------------> [R]
                                        | ready, nobody listens
                                        `-----------------------> -

In:  fds and modes (READ, WRITE, both). Out: (fd, mode) pairs that are ready.
Never: an opinion on who waits; that is the hub's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
from selectors import EVENT_READ as READ
from selectors import EVENT_WRITE as WRITE

SELECTORS = {"epoll": "EpollSelector", "poll": "PollSelector", "select": "SelectSelector"}
"""The names by which a way of polling is chosen, the best first."""

_LONGEST_SECONDS = 86_400.0
"""A poll ends after a day at the latest: the system's own limit is a signed number of milliseconds."""
_SELECT_FDS = 1024
"""FD_SETSIZE: `select` cannot watch the numbers from here on."""


def make_selector(name: str | None = None) -> selectors.BaseSelector:
    """Make the selector of that name, of GREENTRACE_HUB, or else the best that this system has.

    Raises ValueError for a name that is unknown here.
    """
    name = name or os.environ.get("GREENTRACE_HUB") or None
    if name is None:
        return selectors.DefaultSelector()
    found = getattr(selectors, SELECTORS.get(name, ""), None)
    if found is None:
        have = [each for each, of_selectors in SELECTORS.items() if hasattr(selectors, of_selectors)]
        advice = f"Choose one of {', '.join(have)}, or unset GREENTRACE_HUB."
        raise ValueError(f"No way of polling is named {name!r} here. No hub was made. {advice}")
    selector: selectors.BaseSelector = found()
    return selector


class _Alarm:
    """An eventfd. It is closed when nobody knows it any more, so that a thread that is just about to ring it rings no other file."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        # Somebody may have closed it already.
        with contextlib.suppress(OSError):
            os.close(self.fd)


class Poller:
    """What is registered with the operating system, and an alarm that ends a wait from outside."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        # fd -> generation << 2 | mode: which socket is watched under that number, and for what.
        self._marks: dict[int, int] = {}
        self._open()

    def _open(self) -> None:
        self._selector = make_selector(self.name)
        self._limit = _SELECT_FDS if isinstance(self._selector, selectors.SelectSelector) else 1 << 31
        self._alarm: _Alarm | None = _Alarm()
        self._selector.register(self._alarm.fd, READ)

    def alarm(self) -> None:
        """End the wait that is under way, or the next one. Any thread and any signal handler may call it."""
        alarm = self._alarm
        if alarm is not None:
            os.eventfd_write(alarm.fd, 1)

    def listen(self, fd: int, mode: int, generation: int = 0) -> None:
        """Have the fd watched for `mode` and nothing else.

        `generation`: which socket has the number now. Of a stranger (0) nobody knows, so a registration that is there proves nothing.
        Raises ValueError or OSError for what cannot be watched: a closed fd, a plain file.
        """
        mark = generation << 2 | mode
        before = self._marks.get(fd)
        if before == mark and generation:
            return
        if fd >= self._limit:
            raise ValueError(f"select cannot watch fd {fd}: it ends at {self._limit}. Choose epoll or poll.")
        if before is not None:
            if before >> 2 == generation and before != mark:
                try:
                    self._selector.modify(fd, mode)
                    self._marks[fd] = mark
                    return
                except FileNotFoundError:
                    # It was closed, the number is in use again, and the system had dropped the registration.
                    pass
            self.forget(fd)
        self._selector.register(fd, mode)
        self._marks[fd] = mark

    def forget(self, fd: int) -> None:
        """Watch the fd no more. An fd that is unknown, or closed, is no error."""
        if self._marks.pop(fd, None) is None:
            return
        try:
            self._selector.unregister(fd)
        except KeyError:
            # A modify that failed has dropped it from the selector's map.
            pass

    def __len__(self) -> int:
        """How many fds are registered, the alarm not counted."""
        return len(self._marks)

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        """Return the (fd, mode) pairs that are ready, after at most `seconds`; None waits for ever."""
        if seconds is not None:
            seconds = min(max(seconds, 0.0), _LONGEST_SECONDS)
        try:
            answer = self._selector.select(seconds)
        except OSError as error:
            # `select` minds that an fd was closed. Who waits for it is told that it is ready, and finds out.
            closed = self._closed()
            if closed:
                return closed
            if error.errno != errno.EBADF:
                raise
            # The fds of the poller itself were closed by somebody who closes everything, a daemon in its first steps.
            self.renew()
            return []
        found = []
        for key, mode in answer:
            if self._alarm is not None and key.fd == self._alarm.fd:
                os.eventfd_read(key.fd)
            else:
                found.append((key.fd, mode))
        return found

    def _closed(self) -> list[tuple[int, int]]:
        found = []
        for fd, mark in self._marks.items():
            try:
                os.fstat(fd)
            except OSError:
                found.append((fd, mark & (READ | WRITE)))
        return found

    @property
    def is_closed(self) -> bool:
        """Whether it has given everything back."""
        return self._alarm is None

    def renew(self) -> None:
        """In the child of a fork: have a selector and an alarm of our own. The parent's are not touched."""
        marks = self._marks
        self.close()
        self._open()
        for fd, mark in marks.items():
            try:
                self.listen(fd, mark & (READ | WRITE), mark >> 2)
            except (OSError, ValueError):
                # It was closed. Who listens to it is told when the number is used again.
                continue

    def close(self) -> None:
        """Give the system everything back, once."""
        if self._alarm is not None:
            self._marks = {}
            self._alarm = None
            # Somebody may have closed it already.
            with contextlib.suppress(OSError):
                self._selector.close()
