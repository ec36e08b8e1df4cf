"""Ptrace: one thread of another process stopped for a moment, and let go again.

The thread is seized without options, so that the kernel lets go of it when the one who seized it ends, however it ends. While it is
stopped only two things are ever changed: all its registers at once, and its signal mask. If we die between the two, the thread
still has a whole set of registers, and is in code that puts back its mask, or has it already.

In:  a thread id. Out: `Stop`: its registers and mask, how long it was held. Never: a single step, a call that is waited for while
     the thread is stopped, an exit status taken from somebody who waits for it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from types import TracebackType
from typing import Any

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_GETREGSET, _SETREGSET, _GETSIGMASK, _SETSIGMASK, _GET_RSEQ = 0x4204, 0x4205, 0x420A, 0x420B, 0x420F
_PRSTATUS = 1
_WALL = 0x40000000
_EVENT_STOP = 128

_SYNCHRONOUS = (signal.SIGTRAP, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS, signal.SIGABRT)
HELD_SIGNALS = ((1 << 64) - 1) & ~sum(1 << (number - 1) for number in (*_SYNCHRONOUS, signal.SIGKILL, signal.SIGSTOP))
"""The signals that wait while a thread is on an errand; faults of its own do not."""

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long


class Gone(Exception):
    """The thread ended, or the whole process did."""


class Stopped(Exception):
    """The process is stopped by a signal (SIGSTOP, Ctrl-Z): nothing runs in it until somebody continues it."""


class NotStopping(Exception):
    """The thread does not come to a stop: the kernel keeps it (uninterruptible sleep, a vfork child)."""


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


def _request(kind: int, thread: int, address: int = 0, data: int = 0) -> int:
    answer = _ptrace(kind, thread, address, data)
    if answer == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


class Stop:
    """A thread, stopped while the block lasts. Nothing but `send` and `bring_home` changes it.

    Raises `Gone`, `Stopped`, `NotStopping`, and `PermissionError` when it may not be seized (or somebody else traces it).
    """

    def __init__(self, thread: int, registers: type[ctypes.Structure], deadline: float) -> None:
        self._thread = thread
        self._type = registers
        self._deadline = deadline
        self._signal = 0
        self.held_ns = 0
        self.registers: Any = None
        self.mask = 0

    def __enter__(self) -> Stop:
        try:
            _request(_SEIZE, self._thread)
        except ProcessLookupError:
            raise Gone from None
        self._since_ns = time.monotonic_ns()
        try:
            _request(_INTERRUPT, self._thread)
            self._await()
            self.registers = self._get()
            mask = ctypes.c_ulonglong()
            _request(_GETSIGMASK, self._thread, 8, ctypes.addressof(mask))
            self.mask = mask.value
        except ProcessLookupError:
            raise Gone from None
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._let_go()

    def send(self, registers: ctypes.Structure) -> None:
        """Let the thread go on with other registers, its signals blocked. The code it comes to puts all of them back."""
        vector = _Vector(ctypes.addressof(registers), ctypes.sizeof(registers))
        held = ctypes.c_ulonglong(HELD_SIGNALS | self.mask)
        try:
            _request(_SETREGSET, self._thread, _PRSTATUS, ctypes.addressof(vector))
            _request(_SETSIGMASK, self._thread, 8, ctypes.addressof(held))
        except ProcessLookupError:
            raise Gone from None

    def bring_home(self, registers: ctypes.Structure, mask: int) -> None:
        """Put back what the thread had when it was sent: the mask first, which its own way home would put back as well."""
        vector = _Vector(ctypes.addressof(registers), ctypes.sizeof(registers))
        own = ctypes.c_ulonglong(mask)
        try:
            _request(_SETSIGMASK, self._thread, 8, ctypes.addressof(own))
            _request(_SETREGSET, self._thread, _PRSTATUS, ctypes.addressof(vector))
        except ProcessLookupError:
            raise Gone from None

    def is_in_restartable_sequence(self, memory: int) -> bool:
        """Whether the thread is in the middle of a sequence that the kernel would have to know of if it went elsewhere (rseq)."""
        answer = ctypes.create_string_buffer(24)
        try:
            _request(_GET_RSEQ, self._thread, len(answer), ctypes.addressof(answer))
        except OSError:
            return False
        (address,) = struct.unpack_from("<Q", answer.raw)
        current = os.pread(memory, 8, address + 8) if address else bytes(8)
        return current != bytes(8)

    def _get(self) -> ctypes.Structure:
        registers = self._type()
        vector = _Vector(ctypes.addressof(registers), ctypes.sizeof(registers))
        _request(_GETREGSET, self._thread, _PRSTATUS, ctypes.addressof(vector))
        return registers

    def _await(self) -> None:
        pause = 0.0
        while True:
            # Only stops are asked for: the exit status belongs to the parent, and that may be us.
            try:
                seen = os.waitid(os.P_PID, self._thread, os.WSTOPPED | os.WNOHANG | _WALL)
            except ChildProcessError:
                raise Gone from None
            if seen is not None:
                break
            # Until now it ran: what it is held for is counted from here on, never too little.
            self._since_ns = time.monotonic_ns()
            if time.monotonic() > self._deadline:
                raise NotStopping
            state = thread_state(self._thread)
            if state in ("", "Z", "X"):
                raise Gone
            # The first looks are a spin: most threads stop within some microseconds.
            time.sleep(pause)
            pause = min(pause + 0.00002, 0.001)
        number, event = seen.si_status & 0xFF, seen.si_status >> 8
        if event != _EVENT_STOP:
            # A signal came first. It is handed on when the thread is let go.
            self._signal = number
        elif number != signal.SIGTRAP:
            raise Stopped

    def _let_go(self) -> None:
        try:
            _request(_DETACH, self._thread, 0, self._signal)
        except OSError:
            # It is gone, or it never stopped; in that case the kernel lets go when the thread that seized it ends.
            pass
        self.held_ns = time.monotonic_ns() - self._since_ns


def thread_state(thread: int, process: int | None = None) -> str:
    """Return the letter that /proc has for a thread's state, "" when it is gone."""
    try:
        with open(f"/proc/{process or thread}/task/{thread}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""
