"""Memory of the Python recorder: what Python does not show of its own frames and objects, read where they lie.

In:  a frame, or an object. Out: its stack, its variables, what it refers to; all of it references, nothing is written.
`frame.f_locals` would leave a dict in the frame that keeps the program's objects alive; the collector shows neither the
variables of a frame that a greenlet is suspended in, nor what an active greenlet refers to. The native core has the same in
native/discovery.c and native/frames.h.
Never: a guess. What a Python is not known to lay out in this way shows nothing, and is UNKNOWN.
"""

from __future__ import annotations

import gc
import struct
import sys
from types import CellType, CodeType, FrameType
from typing import Any

_POINTER = struct.calcsize("P")
_FRAME = 3 * _POINTER
"""Where a frame object keeps the address of the interpreter's own frame: after the head and `f_back`."""
_VARIABLES = {(3, 11): 9 * _POINTER, (3, 12): 9 * _POINTER, (3, 13): 9 * _POINTER, (3, 14): 10 * _POINTER}
"""Where in that the variables begin, and behind them the stack."""
_TAG = 3 if sys.version_info >= (3, 14) else 0
"""The bits of a reference that are none of its address. All of them together: it is a number, and no object."""
_TRAVERSE = 23 * _POINTER
"""Where a type keeps the function that shows what an instance refers to."""


def referents(obj: Any) -> list[Any]:
    """Return what it refers to, asked of the object itself: the collector does not look into active greenlets."""
    if gc.is_tracked(obj) and (found := gc.get_referents(obj)):
        return found
    if not _is_known():
        return []
    import ctypes

    address = ctypes.c_void_p.from_address(id(type(obj)) + _TRAVERSE).value
    if not address:
        return []
    seen: list[Any] = []
    # Of Python's own functions alone, so that no other thread gets its turn and changes the object meanwhile. The visitor is given a
    # second argument too, which `append` would not take and does not see; its None is a false, which is the 0 that says to go on.
    visitor = ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.py_object)
    ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, visitor, ctypes.c_void_p)(address)(obj, visitor(seen.append), None)
    return seen


def stack(frame: FrameType | None) -> list[tuple[CodeType, int]]:
    """Return (code object, index of its instruction) of each frame, innermost first."""
    found = []
    while frame is not None:
        found.append((frame.f_code, frame.f_lasti // 2))
        frame = frame.f_back
    return found


def slots(frame: FrameType, depth: int, indices: tuple[int, ...], code: CodeType, at: int) -> list[Any]:
    """Return variables and stack entries of the frame that is so many further out, if it still stands at that instruction of that code.

    None: nothing is there.
    """
    outer: FrameType | None = frame
    for _ in range(depth):
        outer = outer.f_back if outer is not None else None
    if outer is None or not _is_known():
        return [None] * len(indices)
    return [_slot(outer, index, code, at) for index in indices]


def _slot(frame: FrameType, index: int, code: CodeType, at: int) -> Any:
    # ctypes may keep a descriptor open: it is brought along only where something has to be read.
    import ctypes

    variables = variable_count(code)
    own = ctypes.c_size_t.from_address(id(frame) + _FRAME)
    base = own.value
    if not base or not 0 <= index < variables + code.co_stacksize:
        return None
    place = ctypes.c_size_t.from_address(base + _VARIABLES[sys.version_info[:2]] + index * _POINTER)
    address = ctypes.c_size_t()
    held = ctypes.py_object.from_address(ctypes.addressof(address))
    value: Any = None
    instruction = 2 * at
    # Nothing is called from here to the end of the branch: so no other thread runs, and the frame stays as it is.
    if own.value == base and frame.f_code is code and frame.f_lasti == instruction:
        word = place.value
        if word & ~_TAG and (not _TAG or word & _TAG != _TAG):
            address.value = word & ~_TAG
            value = held.value
    if index < variables and isinstance(value, CellType):
        try:
            value = value.cell_contents
        except ValueError:
            value = None
    return value


def variable_count(code: CodeType) -> int:
    """Return how many variables a frame of this code has, with those of cells and closures."""
    return code.co_nlocals + sum(name not in code.co_varnames for name in code.co_cellvars) + len(code.co_freevars)


_known: bool | None = None


def _is_known() -> bool:
    """Whether this Python lays its frames out as is known here: tried once, on a frame of our own."""
    global _known
    if _known is None:
        _known = sys.implementation.name == "cpython" and sys.version_info[:2] in _VARIABLES and _tried(object(), object())
    return _known


def _tried(first: object, second: object) -> bool:
    found = _first_two(sys._getframe())
    return found[0] is first and found[1] is second


def _first_two(frame: FrameType) -> list[Any]:
    return [_slot(frame, index, frame.f_code, frame.f_lasti // 2) for index in (0, 1)]


def native_threads() -> dict[int, int]:
    """Return the system's number of each thread that `threading` knows, by Python's."""
    threads = getattr(sys.modules.get("threading"), "_active", {})
    return {ident: thread.native_id for ident, thread in list(threads.items()) if getattr(thread, "native_id", None)}
