"""Symbols: where CPython's own functions stand in a running process, and which Python it is.

In:  a pid whose /proc/PID/maps and mem may be read. The files are opened through /proc/PID/root: they are those of the target's
     mount namespace, whatever stands under the same name in ours.
Out: a `Python`: version, addresses, places that must not be interrupted, gaps behind loaded text. `None` when it is no CPython.
Never: a write; a process that is stopped for it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from greentrace.attach.elf import Elf, NotElf, Symbol
from greentrace.attach.mappings import Mapping, at, mappings

FUNCTIONS = (
    "Py_AddPendingCall",
    "Py_MakePendingCalls",
    "PyRun_SimpleString",
    "PyErr_Clear",
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyGILState_Check",
)
# While a thread is in one of these it may hold the lock that Py_AddPendingCall takes.
_DELICATE = (
    "Py_AddPendingCall",
    "_PyEval_AddPendingCall",
    "Py_MakePendingCalls",
    "_PyEval_MakePendingCalls",
    "make_pending_calls",
    "_make_pending_calls",
    "_push_pending_call",
    "_pop_pending_call",
    "_Py_HandlePending",
    "handle_eval_breaker",
    "PyThread_acquire_lock",
    "PyThread_acquire_lock_timed",
    "PyThread_release_lock",
    "PyMutex_Lock",
    "_PyMutex_LockTimed",
    "_PyMutex_LockSlow",
    "PyMutex_Unlock",
    "_PyMutex_TryUnlock",
    "_PyMutex_UnlockSlow",
)
# Only a build without the GIL has this one.
_FREE_THREADED = "_Py_MergeZeroLocalRefcount"
_RUNTIME = "_PyRuntime"
_DELETED = " (deleted)"


@dataclass(frozen=True)
class Python:
    """The CPython of a process. `functions`, `delicate` and `runtime` (its global state) hold addresses as the process sees them."""

    version: tuple[int, int, int]
    is_free_threaded: bool
    library: str
    machine: int
    functions: dict[str, int]
    delicate: tuple[tuple[int, int], ...]
    runtime: tuple[int, int]

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


@dataclass(frozen=True)
class Gap:
    """Bytes that are mapped executable behind the text of a loaded file, and used by nobody."""

    address: int
    size: int


def python_of(pid: int, memory: int, rows: list[Mapping] | None = None) -> Python | None:
    """Return the Python that runs in a process; `memory` is its opened /proc/PID/mem.

    Raises `OSError` when it is gone or may not be looked at.
    """
    rows = mappings(pid) if rows is None else rows
    for path in _candidates(pid, rows):
        try:
            with _opened(pid, path) as file:
                elf = Elf(file)
                symbols = elf.symbols((*FUNCTIONS, "Py_Version", _FREE_THREADED, _RUNTIME))
                if "Py_AddPendingCall" not in symbols:
                    continue
                delicate = elf.symbols(_DELICATE, everything=True)
        except (OSError, NotElf):
            continue
        start = _start(rows, path)
        if start is not None:
            return _python(path, elf, elf.bias(start), symbols, delicate, memory)
    return None


def _python(path: str, elf: Elf, bias: int, symbols: dict[str, Symbol], delicate: dict[str, Symbol], memory: int) -> Python:
    version = (0, 0, 0)
    if "Py_Version" in symbols:
        (number,) = struct.unpack("<Q", os.pread(memory, 8, symbols["Py_Version"].address + bias).ljust(8, b"\0"))
        version = (number >> 24 & 255, number >> 16 & 255, number >> 8 & 255)
    return Python(
        version,
        _FREE_THREADED in symbols,
        path,
        elf.machine,
        {name: symbol.address + bias for name, symbol in symbols.items() if name in FUNCTIONS},
        tuple((symbol.address + bias, symbol.address + bias + max(symbol.size, 1)) for symbol in delicate.values()),
        _span(symbols.get(_RUNTIME), bias),
    )


def _span(symbol: Symbol | None, bias: int) -> tuple[int, int]:
    return (0, 0) if symbol is None else (symbol.address + bias, symbol.address + bias + symbol.size)


def gap(pid: int, rows: list[Mapping], size: int) -> Gap | None:
    """Return the widest gap of at least `size` bytes behind the text of one of the files that the process has loaded."""
    best: Gap | None = None
    for path in dict.fromkeys(row.path for row in rows if "x" in row.access and row.is_file):
        start = _start(rows, path)
        try:
            with _opened(pid, path) as file:
                elf = Elf(file)
        except (OSError, NotElf):
            continue
        found = elf.text_gap()
        if start is None or found is None:
            continue
        address = found[0] + elf.bias(start)
        row = at(rows, address)
        # The segment may have been mapped otherwise than the file says: then it is no gap.
        if row is None or row.path != path or row.access != "r-xp" or row.end < address + found[1]:
            continue
        if found[1] >= size and (best is None or found[1] > best.size):
            best = Gap(address, found[1])
        if best is not None and best.size >= 4 * size:
            break
    return best


def is_loader(rows: list[Mapping], address: int) -> bool:
    """Whether an address lies in the dynamic loader, which holds locks of its own while it reads files."""
    row = at(rows, address)
    name = os.path.basename(row.path) if row is not None else ""
    return name.startswith(("ld-linux", "ld-musl", "ld-2", "ld.so"))


def _candidates(pid: int, rows: list[Mapping]) -> list[str]:
    """Return the files that may hold the interpreter, likeliest first: libpython, then the program itself."""
    program = os.readlink(f"/proc/{pid}/exe")
    paths = dict.fromkeys(row.path for row in rows if row.is_file)
    libraries = [path for path in paths if "libpython3" in os.path.basename(path)]
    return [*libraries, *(path for path in paths if path == program and path not in libraries)]


def _start(rows: list[Mapping], path: str) -> int | None:
    return min((row.start for row in rows if row.path == path and row.offset == 0), default=None)


def _opened(pid: int, path: str) -> BinaryIO:
    """Open a mapped file: by name in the target's root, or by its mapping when the name is gone or is another file by now."""
    if not path.endswith(_DELETED):
        try:
            return open(f"/proc/{pid}/root{path}", "rb")
        except OSError:
            pass
    for row in mappings(pid):
        if row.path == path:
            return open(f"/proc/{pid}/map_files/{row.start:x}-{row.end:x}", "rb")
    raise FileNotFoundError(path)
