"""Loop: the hub of a thread, which runs when nobody else can.

A green thread that has to wait switches to the hub's greenlet. The hub takes turns:

       .--> poll: which fds are ready?  (sleeps until the next timer, not at all when somebody is runnable)
       |      v
       |    timers that are due
       |      v
       `--  everything that was runnable by now, first come first served: one call each, mostly `greenlet.switch`

`ready` is the line of those runnable: a deque of functions without arguments. Whoever appends to it looks at `polling`
afterwards and sounds the alarm; the hub raises `polling` before it looks at `ready`. So a wake-up is never lost, be it
from another thread or from a signal handler in the middle of a poll, and needs no lock.

In:  functions, timers, listeners. Out: switches. An exception of whatever it calls is printed and the loop goes on, but for
KeyboardInterrupt and SystemExit, which are thrown into the thread's main greenlet.
Never: a busy loop. With nothing to do the hub sleeps, for ever if need be.
"""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic, sleep
from typing import Any

import greenlet
from greenlet import GreenletExit, getcurrent

from greentrace.hub import instrument as _instrument
from greentrace.hub.listeners import Listeners
from greentrace.hub.poller import Poller
from greentrace.hub.timers import Timer, Timers

_REFUSED_SECONDS = 0.01
"""How long the hub sleeps when it cannot poll."""


class Hub:
    """The hub of one thread. `clock` gives seconds and never goes back; a poller can be given instead of its name."""

    def __init__(self, poller: Poller | str | None = None, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.poller = poller if isinstance(poller, Poller) else Poller(poller)
        self.timers = Timers()
        self.listeners = Listeners(self)
        self.ready: deque[Callable[[], Any]] = deque()
        self.polling = False
        self.silenced: BaseException | None = None
        """The exception with which a green thread is about to end and which need not be printed: somebody gets it."""
        self._refusals: set[int | None] = set()
        main = getcurrent()
        while main.parent is not None:
            main = main.parent
        self._main = main
        self._make_greenlet()

    def _make_greenlet(self) -> None:
        self.greenlet = greenlet.greenlet(self._run, self._main)
        self._known_to: Any = None
        observer = _instrument.observer
        if observer is not None:
            self._introduce(observer)

    def _introduce(self, observer: Any) -> None:
        self._known_to = observer
        observer.hub(self.greenlet)

    # ---- what others ask of it

    def switch(self) -> Any:
        """Give the thread away. Returns when somebody switches back; who wants that has arranged it before.

        Raises RuntimeError in the hub's own greenlet: a callback must not wait.
        """
        hub = self.greenlet
        if hub.dead:
            self._make_greenlet()
            # The children of the dead one end in the new one.
            hub.parent = self.greenlet
            hub = self.greenlet
        if getcurrent() is hub:
            raise RuntimeError("A function that the hub calls must not wait. Nothing was switched. Spawn a green thread for what waits.")
        return hub.switch()

    def append(self, function: Callable[[], Any]) -> None:
        """Let the function be called in the next turn. Any thread and any signal handler may call this."""
        self.ready.append(function)
        if self.polling:
            self.poller.alarm()

    def withdraw(self, function: Callable[[], Any]) -> None:
        """See to it that a function that was appended is not called, if it is still in line."""
        try:
            # Its place stays: the hub has counted how many it will call in this turn.
            self.ready[self.ready.index(function)] = _nothing
        except ValueError:
            pass

    def call_soon(self, function: Callable[..., Any], /, *args: Any) -> None:
        """Call the function in the hub's greenlet in the next turn."""
        self.append(partial(_call, function, args))

    call_soon_threadsafe = call_soon

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any, concerning: Any = None, throws: bool = False) -> Timer:
        """Call the function in the hub's greenlet after so many seconds, unless the timer is cancelled.

        `concerning`: the greenlet that will be switched to (`throws`: that will get an exception), said to an observer.
        """
        timer = Timer(self.timers, self.clock() + seconds, function, args, concerning, throws)
        if self.polling:
            self.poller.alarm()
        return timer

    def schedule_call_global(self, seconds: float, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Timer:
        """Eventlet's name for `call_later`."""
        concerning = getattr(function, "__self__", None)
        if not isinstance(concerning, greenlet.greenlet):
            concerning = None
        throws = concerning is not None and getattr(function, "__name__", "") == "throw"
        called = partial(function, **kwargs) if kwargs else function
        return self.call_later(seconds, called, *args, concerning=concerning, throws=throws)

    def schedule_call_local(self, seconds: float, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Timer:
        """The same, but nothing is called when the greenlet that asks for it has ended by then."""
        asker = getcurrent()

        def call_if_alive() -> None:
            if not asker.dead:
                function(*args, **kwargs)

        return self.call_later(seconds, call_if_alive)

    # ---- the loop

    def _run(self) -> None:
        ready = self.ready
        while True:
            try:
                self._poll()
                self.timers.collect(self.clock(), ready)
                # Those who come while the others run wait for the next turn, so that no turn is endless.
                for _ in range(len(ready)):
                    ready.popleft()()
            except GreenletExit:
                # The thread ends, and the hub with it.
                return
            except (KeyboardInterrupt, SystemExit) as error:
                self._main.throw(error)
            except BaseException as error:
                self.report(error)

    def _poll(self) -> None:
        observer = _instrument.observer
        if observer is not None and observer is not self._known_to:
            # It came when this hub was there already.
            self._introduce(observer)
        if self.ready and not len(self.poller):
            return
        self.polling = True
        try:
            seconds: float | None = 0.0
            if not self.ready:
                due = self.timers.next_due()
                seconds = None if due is None else max(0.0, due - self.clock())
            if observer is not None:
                observer.poll_begin(-1 if seconds is None else int(min(seconds, 9e9) * 1e9))
            found = self.poller.wait(seconds)
        except OSError as error:
            found = self._go_on_without(error, seconds)
        finally:
            self.polling = False
        if observer is not None:
            observer.poll_end(len(found))
        for fd, mode in found:
            self.listeners.fire(fd, mode)

    def _go_on_without(self, error: OSError, seconds: float | None) -> list[tuple[int, int]]:
        """The system refuses to poll: say so once, and turn slowly, for the sake of timers, until it polls again."""
        if error.errno not in self._refusals:
            self._refusals.add(error.errno)
            self.report(error)
        sleep(_REFUSED_SECONDS if seconds is None else min(seconds, _REFUSED_SECONDS))
        return []

    def report(self, error: BaseException) -> None:
        """Print an exception that nobody else will get. Never raises."""
        if error is self.silenced:
            self.silenced = None
            return
        observer = _instrument.observer
        if observer is not None:
            observer.error(f"{type(error).__qualname__}: {error}")
        try:
            traceback.print_exception(error)
            sys.stderr.flush()
        except Exception:
            # stderr is closed or full: there is nobody left to tell.
            pass

    def renew(self) -> None:
        """In the child of a fork: poll with an epoll and an alarm of our own, not with those shared with the parent."""
        self.polling = False
        self.poller.renew()


def _nothing() -> None:
    """Stands in the line for a function that was withdrawn."""


def _call(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    observer = _instrument.observer
    if observer is not None:
        observer.callback(getattr(function, "__qualname__", type(function).__qualname__))
    function(*args)
