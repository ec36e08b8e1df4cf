"""Profile once: something is done in every other thread at its next call.

In:  what to do. Out: it was done in each thread that has called anything since, and its profiler is what it was.
It goes over the interpreter's thread states by ctypes, because Python's own functions know the profiler of the own thread
alone. While a thread has not called anything, Python 3.12 and later make every call in all threads slower: so this is the last
resort, and `remove` puts the profilers back where nothing was called.
"""

from __future__ import annotations

import ctypes
import posix
import sys
from collections.abc import Callable
from typing import Any

_waiting: dict[int, tuple[int, int]] = {}
"""Thread state -> (the function, the object) of the profiler that was there."""
_action: Callable[[], Any] | None = None
_callback: Any = None
_offset = 0
_WORDS = 128


def _api(name: str, result: Any, *arguments: Any) -> Any:
    # A function object of our own: the program may have given the shared ones other types.
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


def _set(state: int, function: int, owner: int) -> None:
    set_profile = _api("_PyEval_SetProfile", ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    set_profile(state, function or None, owner or None)


def _words(state: int) -> Any:
    return (ctypes.c_size_t * _WORDS).from_address(state)


def _this_state() -> int:
    return int(_api("PyThreadState_Get", ctypes.c_void_p)())


def _states() -> list[int]:
    interpreter = _api("PyInterpreterState_Get", ctypes.c_void_p)()
    head = _api("PyInterpreterState_ThreadHead", ctypes.c_void_p, ctypes.c_void_p)
    after = _api("PyThreadState_Next", ctypes.c_void_p, ctypes.c_void_p)
    found = []
    state = head(interpreter)
    while state:
        found.append(state)
        state = after(state)
    return found


def _find_profiler() -> int:
    """Return where a thread state keeps its profiler: c_profilefunc, c_tracefunc, c_profileobj, c_traceobj. 0 when it is not found."""
    before = sys.getprofile()

    def mark(*arguments: Any) -> None:
        pass

    sys.setprofile(mark)
    try:
        places = [at for at, word in enumerate(_words(_this_state())) if word == id(mark)]
    finally:
        sys.setprofile(before)
    return places[0] - 2 if len(places) == 1 and places[0] >= 2 else 0


def _once(owner: Any, frame: Any, what: int, argument: Any) -> int:
    state = _this_state()
    function, before = _waiting.pop(state, (0, 0))
    _set(state, function, before)
    if before:
        ctypes.pythonapi.Py_DecRef(ctypes.c_void_p(before))
    try:
        if _action is not None:
            _action()
    except Exception as error:
        posix.write(2, f"greentrace: a thread is not recorded: {error!r}\n".encode(errors="replace"))
    return 0


def install(action: Callable[[], Any]) -> bool:
    """Call `action` in every other thread at its next call of anything. False when that cannot be done."""
    global _action, _callback, _offset
    if not hasattr(ctypes.pythonapi, "_PyEval_SetProfile"):
        return False
    if _callback is None:
        _callback = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(_once)
        _offset = _find_profiler()
    if not _offset:
        return False
    _action = action
    mine = _this_state()
    ours = ctypes.cast(_callback, ctypes.c_void_p).value or 0
    for state in _states():
        words = _words(state)
        if state != mine and words[_offset] != ours:
            before = words[_offset], words[_offset + 2]
            if before[1]:
                ctypes.pythonapi.Py_IncRef(ctypes.c_void_p(before[1]))
            _waiting[state] = before
            _set(state, ours, 0)
    return True


def remove() -> None:
    """Put the profilers back in the threads that have not called anything."""
    global _action
    if _callback is None:
        return
    ours = ctypes.cast(_callback, ctypes.c_void_p).value
    for state in _states():
        if state in _waiting and _words(state)[_offset] == ours:
            function, before = _waiting.pop(state)
            _set(state, function, before)
            if before:
                ctypes.pythonapi.Py_DecRef(ctypes.c_void_p(before))
    _waiting.clear()
    _action = None
