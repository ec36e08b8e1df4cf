"""Instrument: the words in which the hub tells what it does.

In:  whoever calls `install` with an object that has the methods of `Instrument`.
Out: one call for each thing that happens, with the raw objects concerned, all arguments by position.
Never: a cost worth naming while nobody listens. Everywhere in the hub it is one test:

    observer = _instrument.observer
    if observer is not None:
        observer.wake(greenlet)

A green thread's birth, switches and end are not told here: `greenlet.settrace` tells them to whoever asks. An observer
must not raise, must not switch, and keeps no reference to what it is given.
"""

from __future__ import annotations

from typing import Any

OP_WAIT = 0
OP_ACQUIRE = 1
OP_READ = 2
OP_WRITE = 3
OP_GET = 4
OP_PUT = 5
OP_JOIN = 6
OP_SLEEP = 7
OP_READWRITE = 8

KIND_SLEEP = 2
KIND_LOCK = 3
KIND_SEMAPHORE = 4
KIND_RLOCK = 5
KIND_EVENT = 6
KIND_QUEUE = 8
KIND_GREENLET = 9
KIND_FD = 10
KIND_POOL = 11
KIND_CONDITION = 12
KIND_THREAD = 14

READ = 1
WRITE = 2


class Instrument:
    """The event vocabulary. Every method does nothing: override what interests you."""

    def hub(self, greenlet: Any) -> None:
        """The greenlet is the hub of this thread."""

    def name(self, greenlet: Any, text: str, given: bool = False) -> None:
        """A green thread's name: that of its function, or one that somebody gave it."""

    def park(self, op: int, resource: Any, kind: int) -> None:
        """The current greenlet is about to wait for `resource`. Several calls before one switch are alternatives.

        For a sleep the resource is None, for an fd its number, for a join the green thread.
        """

    def unpark(self) -> None:
        """The current greenlet came back from the wait that it announced, or that wait was given up."""

    def wake(self, greenlet: Any) -> None:
        """The current greenlet made this one runnable. Said of itself: it gives its turn away but stays runnable."""

    def resource(self, obj: Any, kind: int, capacity: int) -> None:
        """The object was created, or a pool resized. Capacity: -1 for none; how many can hold a semaphore, how much a queue takes."""

    def acquire(self, obj: Any, kind: int) -> None:
        """The current greenlet holds the object from now on."""

    def release(self, obj: Any, kind: int) -> None:
        """The current greenlet gave the object back, its own hold or somebody else's."""

    def put(self, obj: Any, size: int) -> None:
        """The current greenlet put something into a queue, which has `size` things now."""

    def get(self, obj: Any, size: int) -> None:
        """The current greenlet took something from a queue, which has `size` things now."""

    def set(self, obj: Any) -> None:
        """An Event object was sent."""

    def clear(self, obj: Any) -> None:
        """An Event object was reset."""

    def fd_open(self, fd: int) -> None:
        """The number is in use for something new."""

    def fd_close(self, fd: int) -> None:
        """The fd is about to be closed."""

    def fd_add(self, fd: int, mode: int, greenlet: Any) -> None:
        """A listener was registered. Mode: READ, WRITE or both. Greenlet: who waits."""

    def fd_remove(self, fd: int, mode: int, greenlet: Any) -> None:
        """The listener is gone."""

    def fd_ready(self, fd: int, mode: int, greenlet: Any) -> None:
        """The fd is ready; who waited for it is runnable from now on. `fd_remove` follows."""

    def timer_add(self, timer: Any, due_ns: int, greenlet: Any, throws: bool) -> None:
        """A timer was armed. Greenlet: whom firing concerns, None for a plain function. Throws: it is a Timeout."""

    def timer_cancel(self, timer: Any) -> None:
        """The timer will not fire."""

    def timer_fire(self, timer: Any) -> None:
        """The timer is due; the hub is about to do what it is for."""

    def callback(self, name: str) -> None:
        """The hub is about to call a function that was given to `call_soon`."""

    def poll_begin(self, timeout_ns: int) -> None:
        """The hub asks the system for ready fds, and sleeps up to so long; -1 for ever."""

    def poll_end(self, ready: int) -> None:
        """The system answered."""

    def error(self, text: str) -> None:
        """The hub printed an exception and went on."""


observer: Any = None
"""Who listens; None when nobody does."""


def install(listener: Any) -> None:
    """Let the listener hear everything from now on, in the place of whoever did before."""
    global observer
    observer = listener


def uninstall() -> None:
    """Let nobody listen."""
    global observer
    observer = None
