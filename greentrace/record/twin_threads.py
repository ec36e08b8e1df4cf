"""Threads of the Python recorder: greenlet's trace function, set and given back in this thread and in others.

In:  a switch, as greenlet tells it. Out: `say_switch`, and the same call to whoever traced before us.
The native core has the same in native/module.c and native/others.c. Never: an exception of ours in the program.
"""

from __future__ import annotations

import gc
import itertools
import posix
import weakref
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any

import greenlet

from greentrace.record.tables import Thread
from greentrace.record.twin_gevent import GeventHooks
from greentrace.record.twin_world import whole

if TYPE_CHECKING:
    from greentrace.record.twin_others import Layout, Place


def _weak(tracer: Any) -> Callable[[], Any] | None:
    try:
        return weakref.WeakMethod(tracer) if isinstance(tracer, MethodType) else weakref.ref(tracer)
    except TypeError:
        return None


class Threads(GeventHooks):
    """The trace function, thread by thread."""

    def __init__(self) -> None:
        super().__init__()
        # The same object each time: it is known again by its address.
        self._tracer = self.trace
        self._layout: Layout | None = None
        self._chained_by_main: dict[int, Any] = {}
        """Address of the main greenlet of a thread that another one has started -> the tracer that was there, until the thread takes it."""

    def stop(self) -> None:
        """Record no more; the face (twin.py) does it."""
        raise NotImplementedError

    def trace(self, event: str, args: Any) -> None:
        """greenlet's trace function; a tracer that was there before is called as if we were not."""
        if self._is_finalizing():
            return
        thread = self.thread() if self._recording else self.known_thread()
        if thread is not None and not thread.tracing:
            self._adopt_chained(thread)
        chained = (thread.chained or thread.below) if thread is not None else None
        if thread is not None and thread.calling:
            # It is on top of us from an earlier recording, and below us from this one.
            before = thread.below
        elif self._recording or self._quiet:
            self._traced(event, args)
            before = chained
        else:
            before = self._leave_thread(thread)
        if before is None:
            return
        if thread is None:
            before(event, args)
            return
        outer, thread.calling = thread.calling, True
        try:
            before(event, args)
        except BaseException:
            # greenlet takes a tracer out that raises, and with it ours.
            if before is thread.chained:
                thread.chained = None
                thread.tracing = False
            raise
        finally:
            thread.calling = outer

    def _traced(self, event: str, args: Any) -> None:
        # A tracer that was put on top of us may call with anything.
        if self._recording and isinstance(args, tuple) and len(args) == 2 and all(isinstance(g, greenlet.greenlet) for g in args):
            try:
                self.say_switch(event, *args)
            except Exception as error:
                # A fault of ours must not land in the program.
                self.stop()
                posix.write(2, f"greentrace: recording has ended: {error!r}. The events until now are kept. Please report this.\n".encode())

    @whole
    def _leave_thread(self, thread: Thread | None) -> Any:
        """Nobody records: take our function out of a thread that could not be reached at the end. Returns what was there before."""
        if greenlet.gettrace() is not self._tracer:
            owed = thread.owed() if thread is not None and thread.owed is not None else None
            return (thread.below or owed) if thread is not None else None
        before = None
        if thread is None:
            before = self._chained_by_main.pop(id(self._main_of_thread()), None)
        elif thread.tracing:
            before, thread.chained, thread.tracing = thread.chained, None, False
        greenlet.settrace(before)
        return before

    @whole
    def _adopt_chained(self, thread: Thread) -> None:
        """The tracer that was this thread's before it was started from another one becomes its own affair."""
        if thread.main_address not in self._chained_by_main:
            return
        chained = self._chained_by_main.pop(thread.main_address)
        thread.tracing = greenlet.gettrace() is self._tracer
        if chained is not None:
            setattr(thread, "chained" if thread.tracing else "below", chained)

    @whole
    def start_thread(self) -> None:
        if not self._recording:
            # Asked for in time, and done too late: by a hub that was asked to call us.
            return
        thread = self.thread()
        if not thread.tracing:
            self._adopt_chained(thread)
        if thread.tracing:
            return
        self.current()
        if thread.tracing:
            return
        before = greenlet.settrace(self._tracer)
        thread.tracing = True
        thread.chained = before if before is not self._tracer else None

    @whole
    def stop_thread(self) -> bool:
        thread = self.known_thread()
        if thread is not None and not thread.tracing:
            self._adopt_chained(thread)
        if thread is None or not thread.tracing:
            return True
        if greenlet.gettrace() is not self._tracer:
            self._sit_below(thread)
            return False
        chained, thread.chained, thread.tracing = thread.chained, None, False
        greenlet.settrace(chained)
        return True

    @staticmethod
    def _sit_below(thread: Thread) -> None:
        """Somebody sits on top of us: it stays, and what it calls of ours only passes on to what was there before us."""
        thread.below, thread.chained, thread.tracing = thread.chained or thread.below, None, False

    def _thread_of(self, main: Any) -> Thread | None:
        # Of two the later one: the address was used again.
        return next((thread for thread in reversed(list(self._threads.values())) if thread.main_address == id(main)), None)

    def _place(self, main: Any) -> Place | bool | None:
        if self._layout is None:
            # It brings ctypes along, which may keep a descriptor open.
            from greentrace.record.twin_others import Layout

            self._layout = Layout()
        return self._layout.place(main)

    @whole
    def start_other(self, main: Any) -> bool | None:
        place = self._place(main)
        if place is None or isinstance(place, bool):
            return place
        thread = self._thread_of(main)
        before = place.tracer()
        if before is self._tracer:
            if thread is not None:
                thread.tracing = True
            return True
        if thread is not None:
            thread.owed = None
        # What it says next is said by the thread itself, which then takes this over.
        self._chained_by_main[id(main)] = before
        if not place.exchange(before, self._tracer):
            self._chained_by_main.pop(id(main), None)
            return None
        return True

    @whole
    def stop_other(self, main: Any) -> bool | None:
        place = self._place(main)
        if place is None or isinstance(place, bool):
            return True if place is False else None
        thread, key = self._thread_of(main), id(main)
        known = key in self._chained_by_main
        tracing = known or (thread is not None and thread.tracing)
        if place.tracer() is not self._tracer:
            if thread is not None and tracing:
                thread.chained = self._chained_by_main.pop(key, thread.chained)
                self._sit_below(thread)
            return not tracing
        chained = self._chained_by_main.get(key) if known else thread.chained if thread is not None else None
        if not place.exchange(self._tracer, chained):
            return None
        self._chained_by_main.pop(key, None)
        if thread is not None:
            thread.owed, thread.chained, thread.tracing = _weak(chained), None, False
        return True

    def tracing(self) -> list[int]:
        return [thread.native_id for thread in list(self._threads.values()) if thread.tracing]

    def instances(self, types: tuple[type, ...]) -> list[Any]:
        """Return the objects of exactly these types, of those that the garbage collector knows."""
        objects, same = itertools.tee(gc.get_objects())
        # Not a line of Python, in which another thread might let something go that is then held here alone.
        return list(itertools.compress(objects, map(frozenset(types).__contains__, map(type, same))))

    def how_many(self, types: tuple[type, ...]) -> int:
        """Return the number of the same, of which nothing is kept alive by it, in whichever thread."""
        return sum(map(frozenset(types).__contains__, map(type, gc.get_objects())))
