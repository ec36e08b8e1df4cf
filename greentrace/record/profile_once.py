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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_waiting: dict[int, tuple[int, int]] = {}
"""Thread state -> (the function, the object) of the profiler that was there."""
_action: Callable[[], Any] | None = None
_callback: Any = None
_offset = 0
_WORDS = 128
_UNBROKEN_SECONDS = 0.05
# Before anything is monkey-patched: afterwards it would be the runtime's own.
_now = time.monotonic


def _api(name: str, result: Any, *arguments: Any) -> Any:
    # A function object of our own: the program may have given the shared ones other types.
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_this_state = _api("PyThreadState_Get", ctypes.c_size_t)
_this_interpreter = _api("PyInterpreterState_Get", ctypes.c_size_t)
_first_state = _api("PyInterpreterState_ThreadHead", ctypes.c_size_t, ctypes.c_size_t)
_next_state = _api("PyThreadState_Next", ctypes.c_size_t, ctypes.c_size_t)
_keep = _api("Py_IncRef", None, ctypes.c_size_t)
_drop = _api("Py_DecRef", None, ctypes.c_size_t)
_set: Any = (
    _api("_PyEval_SetProfile", ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t)
    if hasattr(ctypes.pythonapi, "_PyEval_SetProfile")
    else None
)


def _words(state: int) -> Any:
    return (ctypes.c_size_t * _WORDS).from_address(state)


def _states() -> Iterator[int]:
    """Give the interpreter's thread states, each while it is there: between two, no other thread should have its turn."""
    state = _first_state(_this_interpreter())
    while state:
        following = _next_state(state)
        yield state
        state = following


@contextmanager
def _unbroken() -> Iterator[None]:
    """Keep the other threads from their turn for a short time: a thread that ends takes its state with it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(max(before, _UNBROKEN_SECONDS))
    try:
        # Who waits already asks for its turn after the interval of before: it has it here.
        until = _now() + 1.2 * min(before, _UNBROKEN_SECONDS)
        while _now() < until:
            pass
        yield
    finally:
        sys.setswitchinterval(before)


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
    try:
        state = _this_state()
        function, before = _waiting.pop(state, (0, 0))
        _set(state, function, before)
        if before:
            _drop(before)
        if _action is not None:
            _action()
    except Exception as error:
        posix.write(2, f"greentrace: a thread is not recorded: {error!r}\n".encode(errors="replace"))
    return 0


def install(action: Callable[[], Any]) -> bool:
    """Call `action` in every other thread at its next call of anything. False when that cannot be done."""
    global _action, _callback, _offset
    if _set is None:
        return False
    if _callback is None:
        _callback = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(_once)
        # A thread may call it for as long as there are threads.
        _keep(id(_callback))
        _offset = _find_profiler()
    if not _offset:
        return False
    _action = action
    mine, ours = _this_state(), _address()
    with _unbroken():
        for state in _states():
            words = _words(state)
            if state != mine and words[_offset] != ours:
                before = words[_offset], words[_offset + 2]
                if before[1]:
                    _keep(before[1])
                _waiting[state] = before
                _set(state, ours, 0)
    return True


def remove() -> None:
    """Put the profilers back in the threads that have not called anything."""
    global _action
    if _callback is None:
        return
    ours = _address()
    with _unbroken():
        for state in _states():
            if _words(state)[_offset] == ours:
                function, before = _waiting.pop(state, (0, 0))
                _set(state, function, before)
                if before:
                    _drop(before)
    _waiting.clear()
    _action = None


def _address() -> int:
    return ctypes.cast(_callback, ctypes.c_void_p).value or 0
