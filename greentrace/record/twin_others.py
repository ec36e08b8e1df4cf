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

    def tracer(self) -> Any:
        """Return the tracer that is there, None for none."""
        layout, implementation, state, where = self._layout, self._implementation, self._state, self._where
        tracer_at, state_at = layout.tracer_at, layout.state_at
        slot = ctypes.py_object.from_address(where + tracer_at * _WORD)
        # Nothing is called from here on: so no other thread runs, and the state stays where it is.
        if implementation[state_at] == where and state[tracer_at]:
            return slot.value
        return None

    def exchange(self, expected: Any, new: Any) -> bool:
        """Put a tracer in the place of the expected one, None for none; False when that is not there any more. References go along."""
        layout, implementation, state, where = self._layout, self._implementation, self._state, self._where
        main_at, tracer_at, state_at = layout.main_at, layout.tracer_at, layout.state_at
        main, old, address = id(self._main), 0 if expected is None else id(expected), 0 if new is None else id(new)
        if new is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(new))
        done = False
        # Nor from here to the end of the branch.
        if implementation[state_at] == where and state[main_at] == main and state[tracer_at] == old:
            state[tracer_at] = address
            done = True
        given_back = expected if done else new
        if given_back is not None:
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(given_back))
        return done


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
            found = self._candidates(main, id(mark))
            # What only looks like it, a copy that is left in memory, does not change with the tracer.
            greenlet.settrace(other)
            found = [each for each in found if self._words(each[0], _STATE_WORDS)[each[1] : each[1] + 1] == [id(other)]]
            greenlet.settrace(mark)
            self.known = self._choose(main, found)
            self.known = self._is_true(self.place(main), mark, other)
        finally:
            greenlet.settrace(before)

    @staticmethod
    def _is_true(place: Place | bool | None, mark: Any, other: Any) -> bool:
        """What is written must be what greenlet then says."""
        if not isinstance(place, Place) or not place.exchange(mark, other):
            return False
        if greenlet.gettrace() is other:
            return True
        place.exchange(other, mark)
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

    @staticmethod
    def _is_on_stack(word: int) -> bool:
        """Whether it points into the stack of this thread, where the interpreter's own variables are."""
        library = ctypes.PyDLL(None)
        attributes, begin, size = ctypes.create_string_buffer(256), ctypes.c_size_t(), ctypes.c_size_t()
        library.pthread_self.restype = ctypes.c_size_t
        if library.pthread_getattr_np(ctypes.c_size_t(library.pthread_self()), attributes):
            return True
        failed = library.pthread_attr_getstack(attributes, ctypes.byref(begin), ctypes.byref(size))
        library.pthread_attr_destroy(attributes)
        return bool(failed) or begin.value <= word < begin.value + size.value

    def _implementation(self, main: Any) -> int:
        where = self._words(id(main) + _IMPLEMENTATION, 1)
        return where[0] if where and self._is_pointer(where[0]) else 0

    def _candidates(self, main: Any, mark: int) -> list[tuple[int, int, int, int]]:
        """Return (address of a state, places of the tracer there, of the state in the implementation, of the main greenlet there)."""
        begin = self._implementation(main)
        words = next((some for count in range(_WORDS, 1, -1) if begin and (some := self._words(begin, count))), [])
        found = []
        for at, word in enumerate(words):
            state = self._words(word, _STATE_WORDS) if at and self._is_pointer(word) and not self._is_on_stack(word) else []
            found += [
                (word, tracer_at, at, state.index(id(main))) for tracer_at, each in enumerate(state) if each == mark and id(main) in state
            ]
        return found

    def _choose(self, main: Any, found: list[tuple[int, int, int, int]]) -> bool:
        """Keep the places if the candidates are of one mind; return whether they are."""
        # What lies behind the implementation may point to the same state: the first word that does is its own.
        if len({(word, tracer_at) for word, tracer_at, _, _ in found}) != 1:
            return False
        self._kind = self._words(self._implementation(main), 1)[0]
        _, self.tracer_at, self.state_at, self.main_at = found[0]
        return True

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
