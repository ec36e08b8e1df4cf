"""Poller: which fds are ready, asked of the operating system.

A thin layer over `selectors`. One thing is its own: after a reader has been served, its fd stays registered, because most
readers come back to the same socket at once. Only when the fd turns out to be ready with nobody to read it is it forgotten.
So a server that reads and answers makes no system call but the read, the write and the poll.

       listen(READ)      ready, served        listen(READ) again: nothing to do
    -  ------------> [R] ------------> (R) ------------------------------> [R]
                                        | ready, nobody listens
                                        `-----------------------> -

In:  fds and modes (READ, WRITE, both). Out: (fd, mode) pairs that are ready.
Never: an opinion on who waits (that is the hub's), a sticky registration for an fd that the hub does not own.
"""

from __future__ import annotations

import os
import selectors
from selectors import EVENT_READ, EVENT_WRITE

SELECTORS = {"epoll": "EpollSelector", "poll": "PollSelector", "select": "SelectSelector"}
"""The names by which a way of polling is chosen, the best first."""

LONGEST_SECONDS = 86_400.0
"""Polls end after a day at the latest: the system's own limit is a signed number of milliseconds."""


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
        raise ValueError(f"no way of polling is named {name!r} here. Choose one of {', '.join(have)}, or unset GREENTRACE_HUB.")
    selector: selectors.BaseSelector = found()
    return selector


class Poller:
    """What is registered with the operating system, and a way to be called out of the wait."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self._selector = make_selector(name)
        self._modes: dict[int, int] = {}
        self._open_alarm()

    # ---- the alarm: a byte that ends a poll from outside

    def _open_alarm(self) -> None:
        if hasattr(os, "eventfd"):
            self._alarm_in = self._alarm_out = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._alarm_out, self._alarm_in = os.pipe()
            os.set_blocking(self._alarm_out, False)
            os.set_blocking(self._alarm_in, False)
        self._selector.register(self._alarm_out, EVENT_READ)

    def alarm(self) -> None:
        """End the poll that is under way, or the next one. Any thread and any signal handler may call it."""
        try:
            os.write(self._alarm_in, b"\x01\0\0\0\0\0\0\0" if self._alarm_in == self._alarm_out else b"\x01")
        except BlockingIOError:
            # It is full: the poll will end.
            pass

    # ---- registrations

    def listen(self, fd: int, mode: int) -> None:
        """Have the fd watched for `mode` and nothing else.

        Raises ValueError, OSError for what cannot be watched: a closed fd, a plain file.
        """
        before = self._modes.get(fd)
        if before == mode:
            return
        if before is None:
            self._selector.register(fd, mode)
        else:
            self._selector.modify(fd, mode)
        self._modes[fd] = mode

    def forget(self, fd: int) -> None:
        """Watch the fd no more. An fd that is unknown or has been closed is no error."""
        if self._modes.pop(fd, None) is not None:
            self._selector.unregister(fd)

    def knows(self, fd: int) -> bool:
        return fd in self._modes

    def __len__(self) -> int:
        """How many fds are registered, the alarm not counted."""
        return len(self._modes)

    # ---- the wait

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        """Return the (fd, mode) pairs that are ready, after at most `seconds`; None is for ever."""
        if seconds is not None:
            seconds = min(max(seconds, 0.0), LONGEST_SECONDS)
        found = []
        for key, mode in self._selector.select(seconds):
            if key.fd == self._alarm_out:
                self._silence()
            else:
                found.append((key.fd, mode & (EVENT_READ | EVENT_WRITE)))
        return found

    def _silence(self) -> None:
        try:
            while len(os.read(self._alarm_out, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def renew(self) -> None:
        """In the child of a fork: have a selector and an alarm of our own; the parent's are not touched."""
        modes = self._modes
        self.close()
        self._selector = make_selector(self.name)
        self._open_alarm()
        for fd, mode in modes.items():
            try:
                self._selector.register(fd, mode)
                self._modes[fd] = mode
            except (OSError, ValueError):
                # It was closed; who listens to it will be told when the number is used again.
                continue

    def close(self) -> None:
        """Give the system everything back."""
        self._modes = {}
        self._selector.close()
        for fd in {self._alarm_in, self._alarm_out}:
            os.close(fd)
