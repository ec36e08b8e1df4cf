"""Processor x86-64: registers, system calls and the machine code with which a thread goes on an errand and comes home.

A thread is never held while code of ours runs in it. It is stopped, its registers are read, code is written that ends by putting
all of them back, and the thread is let go at the beginning of that code. From there on it needs nobody: whoever sent it may be
killed, and the thread still comes home. There are two kinds of errands, and no other code of ours ever runs in the target:

    borrow, give back   in a gap behind the text of a loaded file: mmap or munmap by plain system calls; no stack, no function
    errand              in the borrowed page: look at the GIL, run the text or queue it

           stopped here             code of ours                                   home
    ... ──►  syscall ◄──┐    ┌──►  save FPU, call, call, restore FPU  ──┐    ┌──►  goes on, the interrupted
             (-ERESTART)│    │     is a signal waiting that the program │    │     system call is made again
                        └────┘     catches?   yes: -EINTR  no: restart  └────┘     as the kernel would have

Signals are blocked on the way (a handler of the program must not run on top of it), and what came meanwhile is delivered at home.
Restart codes: linux/errno.h; register order: struct user_regs_struct; xsave areas: Intel SDM volume 1, 13.4.

In: registers, addresses. Out: bytes of code, registers. Never: a read or a write of the target.
"""

from __future__ import annotations

import ctypes
import struct

from greentrace.attach.area import BEGAN, COOKIE, ERRANDS, GIL_KEPT, NOT_QUEUED, PAGE, RETURNED, SIGNALS, STATE, Area, Task

MACHINE = "x86_64"
ELF_MACHINE = 62
CODE_BYTES = 640
RUNNER_BYTES = 512

_M64 = (1 << 64) - 1
_NAMES = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs"


class Registers(ctypes.Structure):
    """The general registers, as ptrace hands them out."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in _NAMES.split()]


# The calls in which a thread of CPython sleeps, with the GIL released and no lock of the C library held.
_SLEEPS = {
    0: "read",
    7: "poll",
    23: "select",
    34: "pause",
    35: "nanosleep",
    42: "connect",
    43: "accept",
    45: "recvfrom",
    47: "recvmsg",
    61: "wait4",
    128: "rt_sigtimedwait",
    130: "rt_sigsuspend",
    230: "clock_nanosleep",
    232: "epoll_wait",
    247: "waitid",
    270: "pselect6",
    271: "ppoll",
    281: "epoll_pwait",
    288: "accept4",
    441: "epoll_pwait2",
}
_FUTEX = 202
# Those of them that, once interrupted, go on as `restart_syscall`; besides the wait for a lock with a time limit.
_POLL, _NANOSLEEP, _CLOCK_NANOSLEEP = _GOING_ON = (7, 35, 230)
# linux/futex.h: FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME, and the operations that wait
_FUTEX_PRIVATE, _FUTEX_FLAGS, _FUTEX_WAITS = 128, 128 | 256, (0, 6, 9, 11, 13)
# How far up the stack a variable of the C library's is.
_STACK_BYTES = 64 << 10
# Others that are worth a name when one looks from outside.
_OTHERS = {
    1: "write",
    3: "close",
    9: "mmap",
    11: "munmap",
    13: "rt_sigaction",
    16: "ioctl",
    17: "pread64",
    18: "pwrite64",
    19: "readv",
    20: "writev",
    24: "sched_yield",
    44: "sendto",
    46: "sendmsg",
    56: "clone",
    57: "fork",
    58: "vfork",
    59: "execve",
    72: "fcntl",
    73: "flock",
    74: "fsync",
    75: "fdatasync",
    202: "futex",
    219: "restart_syscall",
    257: "openat",
    295: "preadv",
    299: "recvmmsg",
    307: "sendmmsg",
    426: "io_uring_enter",
    435: "clone3",
}

_MMAP, _MUNMAP, _SIGPROCMASK, _SIGPENDING, _SIGTIMEDWAIT, _RESTART = 9, 11, 14, 127, 128, 219
# How long a thread waits to be brought home; then it goes by itself.
_WAIT_NS = 5_000_000
_EINTR = -4 & _M64
# -ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND, and the one that goes on where it was: -ERESTART_RESTARTBLOCK
_AGAIN, _GO_ON = (-512 & _M64, -513 & _M64, -514 & _M64), -516 & _M64
_NEVER_EINTR = -513 & _M64
# Direction and trap flag: the ABI wants the one clear, and we want the other.
_FLAGS_OFF = 0x400 | 0x100
_SYSCALL = b"\x0f\x05"
_MOV_EAX = b"\xb8"
# x87, SSE, AVX, AVX-512. Tile registers and the rest are dead in a C call; protection keys are not ours.
_XFEATURES = 0xE7
_STACK_GAP = 512

_RAX, _RCX, _RDX, _RSP, _RSI, _RDI, _R8, _R9, _R10, _R11 = 0, 1, 2, 4, 6, 7, 8, 9, 10, 11


def counter(registers: Registers) -> int:
    """Return the address at which the thread goes on."""
    return registers.rip


def stack(registers: Registers) -> int:
    """Return the address of the end of its stack."""
    return registers.rsp


def left_off(stack: bytes) -> list[int]:
    """Return where the thread goes on after the signal handlers that lie on its stack; `stack` is the top of it.

    In a signal frame rip is followed by the flags and by a word with the segments, of which user code has always the same.
    """
    words = [word for (word,) in struct.iter_unpack("<Q", stack[: len(stack) // 8 * 8])]
    return [word for word, segments in zip(words, words[2:], strict=False) if segments & 0xFFFF == 0x33]


def call(registers: Registers) -> int:
    """Return the number of the system call that the thread is in, -1 when it is in none."""
    return -1 if registers.orig_rax >> 63 else registers.orig_rax


def call_name(number: int) -> str:
    """Return the name of a system call, or its number as text."""
    return _SLEEPS.get(number) or _OTHERS.get(number) or f"system call {number}"


def is_known_to_sleep(number: int) -> bool:
    """Whether a Python thread in this call has released the GIL and may be sent through Python code."""
    return number in _SLEEPS


def is_lock_wait(number: int) -> bool:
    """Whether this is the call in which locks are waited for."""
    return number == _FUTEX


def is_made_again(number: int) -> bool:
    """Whether this is the call by which the kernel goes on with one that was interrupted before, and does not say which."""
    return number == _RESTART


def may_last(number: int) -> bool:
    """Whether a thread may stay in this call for long."""
    return is_known_to_sleep(number) or is_lock_wait(number) or is_made_again(number)


def place(registers: Registers) -> tuple[int, ...]:
    """Return what is the same as long as the thread is in the same system call: where that stands, and its arguments."""
    return (registers.rip, registers.rsp, registers.rdi, registers.rsi, registers.rdx, registers.r10)


def made_again(registers: Registers, before: bytes) -> int:
    """Return the number of the call that is made again, -1 if it does not show; `before`: the code up to where the thread goes on.

    It may be a sleep, or the wait for the GIL itself, into which nobody may be sent. What the code before put into eax tells; where
    one piece of code makes all calls (glibc from 2.41 on), the arguments do: an address is no clock, a number of fds no operation,
    and a wait for a lock has a time limit.
    """
    at = before.rfind(_MOV_EAX)
    number = int.from_bytes(before[at + 1 : at + 5], "little") if 0 <= at <= len(before) - 5 - len(_SYSCALL) else -1
    if before.endswith(_SYSCALL) and (number in _GOING_ON or number == _FUTEX):
        return number
    if registers.rdi < PAGE:
        return _CLOCK_NANOSLEEP
    operation = registers.rsi & ~_FUTEX_FLAGS
    if operation not in _FUTEX_WAITS or registers.r10 < PAGE:
        return _POLL
    # Its time limit is a variable of the C library's.
    has_limit = registers.rsp <= registers.r10 < registers.rsp + _STACK_BYTES
    return _FUTEX if registers.rsi & _FUTEX_PRIVATE and has_limit else -1


def was_interrupted(registers: Registers) -> bool:
    """Whether the call that the thread is in was interrupted, and is not over: it may be told so (a wait for a lock that is over may
    not: glibc aborts)."""
    return call(registers) >= 0 and (registers.rax in _AGAIN or registers.rax == _GO_ON)


def is_to_be_brought(registers: Registers, task: Task | None = None) -> bool:
    """Whether a thread that was stopped like this waits, on its way home, to have its registers put back from outside.

    Only the kernel can say in one step: "a signal came, so the call ends", or "none came, so it is made again". It does so when the
    thread is stopped and has the registers of the interrupted call. Code can but look first and go then; and does when nobody comes.
    """
    return was_interrupted(registers) and registers.rax != _NEVER_EINTR and not (task is not None and task.wake)


def is_waiting(registers: Registers) -> bool:
    """Whether a thread that is in code of ours waits there to be brought home."""
    return call(registers) == _SIGTIMEDWAIT


def sent(registers: Registers, address: int) -> Registers:
    """Return the registers with which the thread begins at `address`, well below what its stack holds, in no system call."""
    copy = Registers.from_buffer_copy(registers)
    copy.rip = address
    copy.rsp = (registers.rsp - _STACK_GAP) & ~63
    copy.orig_rax = _M64
    copy.eflags &= ~_FLAGS_OFF
    return copy


def borrow(registers: Registers, mask: int, caught: int, area: Area, cookie: bytes) -> bytes:
    """Return code that maps the area, writes the cookie into it when all of it is there, and goes home."""
    code = _Code()
    # MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
    for start, size, protection in ((area.base, PAGE, 5), (area.words, area.data_bytes, 3)):
        code.system_call(_MMAP, start, size, protection, 0x100022, _M64, 0)
        code.mov(_RCX, start).raw(b"\x48\x39\xc8").jump(b"\x0f\x85", "home")  # cmp %rcx,%rax; jne
    for offset in (0, 8):
        code.mov(_RCX, area.word(COOKIE + offset)).mov(_RDX, *struct.unpack_from("<Q", cookie, offset)).raw(b"\x48\x89\x11")
    return _go_home(code.label("home"), registers, mask, caught)


def give_back(registers: Registers, mask: int, caught: int, area: Area) -> bytes:
    """Return code that unmaps the area and goes home."""
    return _go_home(_Code().system_call(_MUNMAP, area.base, area.end - area.base), registers, mask, caught)


def runner(area: Area, functions: dict[str, int], held: int) -> bytes:
    """Return the function that the interpreter calls with the text: int runner(void *text).

    It runs the text the first time it is called, with the signals `held` blocked: a handler of the program that raises would raise
    in the text, and be lost there.
    """
    code = _Code().raw(b"\xf3\x0f\x1e\xfa\x53\x48\x89\xfb")  # endbr64; push %rbx; mov %rdi,%rbx
    code.mov(_RAX, 1).mov(_RCX, area.word(BEGAN)).raw(b"\x87\x01\x85\xc0").jump(b"\x0f\x85", "over")  # xchg %eax,(%rcx); test; jne
    code.raw(b"\x48\x8d\x35").address("held").system_call(_SIGPROCMASK, 2, None, area.word(SIGNALS), 8)
    code.raw(b"\x48\x89\xdf").call(functions["PyRun_SimpleString"])  # mov %rbx,%rdi
    code.system_call(_SIGPROCMASK, 2, area.word(SIGNALS), 0, 8)
    code.label("over").mov(_RCX, area.word(RETURNED)).raw(b"\xf0\xff\x01\x31\xc0\x5b\xc3")  # lock incl (%rcx); xor %eax,%eax; pop; ret
    code.label("held").raw(struct.pack("<Q", held))
    return code.made(RUNNER_BYTES)


def errand(registers: Registers, mask: int, caught: int, area: Area, functions: dict[str, int], task: Task) -> bytes:
    """Return the code of a task; it stands behind the runner in the code page."""
    code = _Code()
    code.mov(_RDI, area.word(STATE)).mov(_RAX, _XFEATURES).mov(_RDX, 0).raw(b"\x48\x0f\xae\x27\xfc")  # xsave64 (%rdi); cld
    if task.run:
        code.call(functions["PyGILState_Check"]).store_eax(area.word(GIL_KEPT))
        code.raw(b"\x85\xc0").jump(b"\x0f\x85", "queue").call(functions["PyGILState_Ensure"])
        # The answer of Ensure stays in a register that calls keep; home puts it back.
        code.raw(b"\x41\x89\xc4")  # mov %eax,%r12d
        if task.drain:
            code.call(functions["Py_MakePendingCalls"]).raw(b"\x85\xc0").jump(b"\x0f\x84", "quiet")
            code.call(functions["PyErr_Clear"]).label("quiet")
        else:
            code.mov(_RDI, area.text).call(area.base)
        code.raw(b"\x44\x89\xe7").call(functions["PyGILState_Release"]).jump(b"\xe9", "over")  # mov %r12d,%edi
    code.label("queue")
    if task.queue:
        code.mov(_RDI, area.base).mov(_RSI, area.text).call(functions["Py_AddPendingCall"]).store_eax(area.word(NOT_QUEUED))
    code.label("over").mov(_RDI, area.word(STATE)).mov(_RAX, _XFEATURES).mov(_RDX, 0).raw(b"\x48\x0f\xae\x2f")  # xrstor64 (%rdi)
    code.mov(12, registers.r12).mov(_RCX, area.word(ERRANDS)).raw(b"\xf0\xff\x01")
    return _go_home(code, registers, mask, caught, task.wake)


def _go_home(code: _Code, registers: Registers, mask: int, caught: int, wake: bool = False) -> bytes:
    """Add the way home: the signal mask, all registers that were touched, and the interrupted system call."""
    restarts = was_interrupted(registers)
    wake = wake and restarts and registers.rax != _NEVER_EINTR
    asks = not wake and is_to_be_brought(registers)
    if asks:
        # rt_sigtimedwait for no signal at all: a sleep that leaves the kernel's own note on how to restart the call alone.
        code.raw(b"\x48\x83\x64\x24\x10\x00\x48\x8d\x7c\x24\x10")  # andq $0,16(%rsp); lea 16(%rsp),%rdi
        code.raw(b"\x48\x83\x64\x24\x20\x00\x48\xc7\x44\x24\x28" + struct.pack("<I", _WAIT_NS))  # andq $0,32(%rsp); movq, 40(%rsp)
        code.raw(b"\x48\x8d\x54\x24\x20").mov(_RSI, 0).mov(_R10, 8).mov(_RAX, _SIGTIMEDWAIT).raw(_SYSCALL)  # lea 32(%rsp),%rdx
        # A signal that came meanwhile and has a handler ends the call, as it would have without us.
        code.raw(b"\x48\x8d\x7c\x24\x10").mov(_RSI, 8).mov(_RAX, _SIGPENDING).raw(_SYSCALL)  # lea 16(%rsp),%rdi
        code.mov(_RCX, caught & ~mask & _M64).raw(b"\x48\x85\x4c\x24\x10")  # test %rcx,16(%rsp)
    # From here to the jump nothing changes a flag.
    code.raw(b"\x48\x8d\x35").address("mask").system_call(_SIGPROCMASK, 2, None, 0, 8)
    for register, name in zip(
        (_RCX, _RDX, _RSI, _RDI, _R8, _R9, _R10, _R11), ("rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"), strict=True
    ):
        code.mov(register, getattr(registers, name), short=False)
    if asks:
        code.jump(b"\x0f\x85", "told")
    if restarts and not wake:
        _leave(code, registers, _RESTART if registers.rax == _GO_ON else registers.orig_rax, registers.rip - len(_SYSCALL))
    elif not wake:
        _leave(code, registers, registers.rax, registers.rip)
    if asks or wake:
        _leave(code.label("told"), registers, _EINTR, registers.rip)
    return code.label("mask").raw(struct.pack("<Q", mask)).made(PAGE - RUNNER_BYTES)


def _leave(code: _Code, registers: Registers, rax: int, rip: int) -> None:
    code.raw(b"\x68" + struct.pack("<I", registers.eflags & 0x7FFFFFFF) + b"\x9d")  # push; popfq
    code.mov(_RAX, rax, short=False).mov(_RSP, registers.rsp, short=False).raw(b"\xff\x25\0\0\0\0" + struct.pack("<Q", rip))


class _Code:
    """Machine code in the making. Labels are distances within it, so that it runs wherever it is put."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._labels: dict[str, int] = {}
        self._open: list[tuple[int, str]] = []

    def raw(self, code: bytes) -> _Code:
        self._bytes += code
        return self

    def label(self, name: str) -> _Code:
        self._labels[name] = len(self._bytes)
        return self

    def address(self, label: str) -> _Code:
        """Add the 32-bit distance to a label, counted from behind it."""
        self._open.append((len(self._bytes), label))
        return self.raw(bytes(4))

    def jump(self, kind: bytes, label: str) -> _Code:
        return self.raw(kind).address(label)

    def mov(self, register: int, value: int, short: bool = True) -> _Code:
        """Load a register with a number."""
        value &= _M64
        high, low = register >> 3, register & 7
        if short and value < 1 << 32:
            return self.raw((b"\x41" if high else b"") + bytes([0xB8 + low]) + struct.pack("<I", value))
        return self.raw(bytes([0x48 + high, 0xB8 + low]) + struct.pack("<Q", value))

    def call(self, function: int) -> _Code:
        return self.mov(_RAX, function).raw(b"\xff\xd0")

    def store_eax(self, address: int) -> _Code:
        return self.mov(_RCX, address).raw(b"\x89\x01")

    def system_call(self, number: int, *arguments: int | None) -> _Code:
        """Make a system call; an argument that is None stands in its register already."""
        for register, value in zip((_RDI, _RSI, _RDX, _R10, _R8, _R9), arguments, strict=False):
            if value is not None:
                self.mov(register, value)
        return self.mov(_RAX, number).raw(_SYSCALL)

    def made(self, most_bytes: int) -> bytes:
        """Return the code with its distances filled in."""
        for at, name in self._open:
            struct.pack_into("<i", self._bytes, at, self._labels[name] - at - 4)
        assert len(self._bytes) <= most_bytes, f"{len(self._bytes)} bytes of code do not fit into {most_bytes}"
        return bytes(self._bytes)
