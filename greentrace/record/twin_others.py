"""Others, in the Python recorder: where greenlet keeps the tracer of another thread.

In:  the main greenlet of a thread. Out: the place of its tracer, to be read and written. The same as native/others.c, which draws
the two structures; here it is read by a system call and written through ctypes, with the GIL held by each of the calls.
Never: a word that was not recognised.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import greenlet

_WORDS = 64
_STATE_WORDS = 16
_WORD = ctypes.sizeof(ctypes.c_void_p)
# After the object's own two words: weakrefs, dict, implementation.
_IMPLEMENTATION = object.__basicsize__ + 2 * _WORD


class _Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Place:
    """Where the tracer of one thread is."""

    def __init__(self, main: Any, implementation: int, layout: Layout, where: int) -> None:
        self._main = main
        self._implementation = (ctypes.c_size_t * (layout.state_at + 1)).from_address(implementation)
        self._state = (ctypes.c_size_t * _STATE_WORDS).from_address(where)
        self._where, self._layout = where, layout

    def has(self, tracer: Any) -> bool:
        """Whether that is the tracer now."""
        return bool(self._state[self._layout.tracer_at] == id(tracer))

    def exchange(self, new: Any, expected: Any = None) -> tuple[bool, Any]:
        """Put a tracer there, None for none; return (it was done, the tracer before). Not done: the expected one was not there any more."""
        layout, implementation, state, where = self._layout, self._implementation, self._state, self._where
        main_at, tracer_at, state_at = layout.main_at, layout.tracer_at, layout.state_at
        main, old, address, wanted = id(self._main), 0, id(new), id(expected)
        done, none, any_will_do = False, new is None, expected is None
        if not none:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(new))
        # Nothing is called from here to the end of the branch: so no other thread runs, and the state stays where it is.
        if implementation[state_at] == where and state[main_at] == main and (any_will_do or state[tracer_at] == wanted):
            old = state[tracer_at]
            state[tracer_at] = 0 if none else address
            done = True
        if not done:
            if not none:
                ctypes.pythonapi.Py_DecRef(ctypes.py_object(new))
            return False, None
        if not old:
            return True, None
        before = ctypes.cast(old, ctypes.py_object).value
        # The reference that the state had.
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(before))
        return True, before


class Layout:
    """Where the words are, found out in the thread that makes this."""

    def __init__(self) -> None:
        self.known = False
        self.state_at = self.main_at = self.tracer_at = self._kind = 0
        try:
            # With the GIL held.
            self._read = ctypes.PyDLL(None).process_vm_readv
        except (AttributeError, OSError):
            return
        before: Any = None

        def mark(*arguments: Any) -> Any:
            return before(*arguments) if before is not None else None

        def other(*arguments: Any) -> Any:
            return before(*arguments) if before is not None else None

        main = greenlet.getcurrent()
        while main.parent is not None:
            main = main.parent
        before = greenlet.settrace(mark)
        try:
            self.known = self._find(main, id(mark))
            self.known = self._is_true(self.place(main), mark, other)
        finally:
            greenlet.settrace(before)

    @staticmethod
    def _is_true(place: Place | bool | None, mark: Any, other: Any) -> bool:
        """What is written must be what greenlet then says."""
        if not isinstance(place, Place) or not place.exchange(other, mark)[0]:
            return False
        if greenlet.gettrace() is other:
            return True
        place.exchange(mark, other)
        return False

    def _words(self, address: int, count: int) -> list[int]:
        """Return so many words, none when they cannot all be read: which must not be found out by a fault."""
        words = (ctypes.c_size_t * count)()
        mine, theirs = _Piece(ctypes.addressof(words), count * _WORD), _Piece(address, count * _WORD)
        size = self._read(os.getpid(), ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
        return list(words) if size == count * _WORD else []

    @staticmethod
    def _is_pointer(word: int) -> bool:
        return word > 4096 and word % _WORD == 0

    def _implementation(self, main: Any) -> int:
        where = self._words(id(main) + _IMPLEMENTATION, 1)
        return where[0] if where and self._is_pointer(where[0]) else 0

    def _find(self, main: Any, mark: int) -> bool:
        found, begin = 0, self._implementation(main)
        words = next((some for count in range(_WORDS, 1, -1) if begin and (some := self._words(begin, count))), [])
        for at, word in enumerate(words):
            state = self._words(word, _STATE_WORDS) if at and self._is_pointer(word) else []
            for tracer_at, each in enumerate(state):
                if each == mark and id(main) in state:
                    found += 1
                    self._kind, self.state_at, self.main_at, self.tracer_at = words[0], at, state.index(id(main)), tracer_at
        return found == 1

    def place(self, main: Any) -> Place | bool | None:
        """Return where the tracer of that main greenlet's thread is; False when the thread is no more, None when it cannot be known."""
        begin = self._implementation(main) if self.known and type(main) is greenlet.greenlet else 0
        words = self._words(begin, self.state_at + 1) if begin else []
        if not words or words[0] != self._kind:
            return None
        where = words[self.state_at]
        if not where:
            return False
        state = self._words(where, _STATE_WORDS) if self._is_pointer(where) else []
        if not state or state[self.main_at] != id(main) or (state[self.tracer_at] and not self._is_pointer(state[self.tracer_at])):
            return None
        return Place(main, begin, self, where)
