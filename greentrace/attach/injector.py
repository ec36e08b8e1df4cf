"""Injector: gets a text of Python run in another process, once, by one of its threads. One room, because the order of its steps
is what it is about.

    1  borrow an area: a thread is sent through a gap behind the text of a loaded file, maps two pieces of memory, goes home
    2  write the text and two pieces of code into the area; no thread is stopped for it
    3  send the thread on an errand: asleep in a known system call with the GIL released, it runs the text at once; otherwise the
       main thread is asked to have the interpreter run it at its next safe point (Py_AddPendingCall); look again until it ran
    4  give the area back, and the bytes of the gap

At each stop the thread is let go within a fraction of a millisecond, on a way that ends at home whatever becomes of us: see
`processor_x86_64`. So there is no moment in which our death harms the target; what can be left behind then is the borrowed area
(some pages), the bytes in the gap (which nobody runs), and a text that is still run once.
One copy of one page of the file in whose gap we were stays with the target: it has the bytes of the file again.

Why not Py_AddPendingCall alone: a program that is asleep does not look at its queue; see the table of wakers in `Task`.
Two attachers take turns: the lock is on /proc/PID/mem, which only those can open who may trace the process.

In:  a pid, a text, a time limit, and a question whether it ran. Out: an `Injection`, or `CannotAttach`.
Never: malloc, dlopen or any other function of the target at an arbitrary instruction but Py_AddPendingCall, which is made for it.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greentrace.attach import area as layout
from greentrace.attach.area import Area, Task
from greentrace.attach.mappings import at, hole, mappings
from greentrace.attach.processor import processor
from greentrace.attach.ptrace import HELD_SIGNALS, Gone, NotStopping, Stop, Stopped, thread_state
from greentrace.attach.symbols import Gap, gap, is_loader
from greentrace.attach.target import Target, caught_signals, not_permitted, opened, refuse_traced
from greentrace.errors import CannotAttach

MAX_TEXT_BYTES = 8 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.5
# How long a thread may take for the few system calls of step 1 and 4 before we look where it is.
_WAY_SECONDS = 0.002
# How far up the stack of a running thread a return address into a delicate place is looked for.
_STACK_BYTES = 256
# How far up the stack a signal handler is looked for that lies on top of code of ours.
_STACK_LEFT_BYTES = 4096
# How much of the code before a system call is looked at.
_BEFORE_BYTES = 16
# How often it is looked whether the process was stopped, while the thread is on its way and is left alone.
_STOPPED_SECONDS = 0.02
_QUIET = b"0\0"
_VOIDED = "The request was cancelled: its text in the process was made void, and runs nothing if its turn still comes."


@dataclass(frozen=True)
class Held:
    """One stop of a thread: what it was stopped for, and how long it was kept from running, in ns."""

    why: str
    held_ns: int


@dataclass(frozen=True)
class Injection:
    """What was done to get the text run. `how` is "asleep" (run by the thread we sent), "queued" (run by the interpreter at a safe
    point) or "remote_exec" (Python's own way, 3.14); `ran_ns` is the time from the call of `inject` until the text was known to run.

    `stops`: every stop of the thread. `gave_back`: whether the target has its memory back; if not, some pages stay with it.
    """

    pid: int
    thread: int
    how: str
    ran_ns: int
    stops: tuple[Held, ...] = ()
    gave_back: bool = True

    @property
    def held_ns(self) -> int:
        return sum(stop.held_ns for stop in self.stops)

    @property
    def held_ns_max(self) -> int:
        return max((stop.held_ns for stop in self.stops), default=0)


def inject(pid: int, code: str, *, thread: int | None = None, seconds: float = 10.0, done: Callable[[], bool] | None = None) -> Injection:
    """Run `code` once in process `pid`, in the main thread or in the thread with a native id, with an empty namespace.

    `done` tells whether it ran, as seen from outside; without it, that the code came to its end is enough. An exception of the
    code ends there: the program never sees it. Another thread than the main one is entered only while it sleeps.
    Raises `CannotAttach`: at once when the process cannot be entered, and after `seconds` when the text did not run; then it is
    made void, and the message says so.
    """
    started_ns = time.monotonic_ns()
    text = _statement(code)
    cancel = threading.Event()
    found: list[Injection] = []
    failed: list[BaseException] = []

    def work() -> None:
        # A thread of its own: what it seized, the kernel lets go when it ends, whatever happened in it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        _hurry()
        try:
            with opened(pid) as (target, memory):
                found.append(_Entry(target, memory, thread, text, seconds, done, cancel, started_ns).run())
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=work, name="greentrace-inject", daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join()
    except BaseException:
        cancel.set()
        worker.join()
        raise
    if failed:
        raise failed[0]
    return found[0]


def _hurry() -> None:
    """Have this thread run before others, where that is allowed: while the target's thread is stopped we are not to wait for a turn."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        pass


def _statement(code: str) -> bytes:
    text = f"try:\n exec({code!r}, {{'__name__': '__greentrace__'}})\nexcept BaseException:\n pass\n".encode("utf-8", "surrogatepass")
    if len(text) > MAX_TEXT_BYTES or b"\0" in text:
        raise ValueError("the text is too large, or holds a zero")
    return text


@dataclass
class _Entry:
    """One injection on its way."""

    target: Target
    memory: int
    thread: int | None
    text: bytes
    seconds: float
    done: Callable[[], bool] | None
    cancel: threading.Event
    started_ns: int
    stops: list[Held] = field(default_factory=list)

    def run(self) -> Injection:
        self._table: Any = processor()
        self._pid = self.target.pid
        self._tid = self.thread or self._pid
        self._is_main = self._tid == self._pid
        self._deadline = time.monotonic() + self.seconds
        self._called = self._queued = self._errands = 0
        self._task: Task | None = None
        # Where the thread was found in which system call.
        self._calls: dict[tuple[int, ...], int] = {}
        self._area: Area | None = None
        # The registers and the mask of a thread that waits, on its way home, to have them put back.
        self._away: tuple[Any, int] | None = None
        if self._tid not in self.target.threads:
            raise CannotAttach(
                f"Process {self._pid} has no thread {self._tid}.", "Nothing was touched.", f"Its threads: {_numbers(self.target.threads)}."
            )
        self._take_turn()
        try:
            self._caught = caught_signals(self._pid)
            self._rows = mappings(self._pid)
            self._gap = self._find_gap()
            self._gap_bytes = self._read(self._gap.address, self._table.CODE_BYTES)
            self._borrow()
            return self._ask()
        except Stopped:
            self._void()
            raise self._refuse(
                "Process {pid} was stopped by a signal meanwhile, and runs nothing until it is continued.",
                "Continue it with `kill -CONT {pid}`, then attach.",
                _VOIDED,
            ) from None
        except (Gone, ProcessLookupError):
            raise CannotAttach(f"Process {self._pid} ended.", "Nothing is left of it to look at.", "greentrace ps lists others.") from None
        except NotStopping:
            self._void()
            raise self._refuse(
                f"Thread {self._tid} of process {{pid}} does not come to a stop (state {thread_state(self._tid, self._pid)}):"
                " the kernel keeps it, in a read of a disk or in starting a child.",
                "Try again; if it stays so, look at /proc/{pid}/stack as root.",
            ) from None

    def _take_turn(self) -> None:
        while True:
            try:
                return fcntl.flock(self.memory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._is_over():
                    raise CannotAttach(
                        f"Another greentrace is getting into process {self._pid} at this moment.",
                        "Nothing was touched.",
                        "Wait until it is done, or end it, and attach again.",
                    ) from None
                time.sleep(0.001)

    def _is_over(self) -> bool:
        return self.cancel.is_set() or time.monotonic() > self._deadline

    def _refuse(self, happened: str, advice: str, kept: str = "The process goes on as it was.") -> CannotAttach:
        return CannotAttach(happened.format(pid=self._pid), kept, advice.format(pid=self._pid))

    # ── the memory of the target ──

    def _read(self, address: int, size: int) -> bytes:
        data = os.pread(self.memory, size, address)
        if len(data) != size:
            raise Gone
        return data

    def _write(self, address: int, data: bytes) -> None:
        if os.pwrite(self.memory, data, address) != len(data):
            raise Gone

    def _word(self, offset: int) -> int:
        assert self._area is not None
        return struct.unpack("<i", self._read(self._area.word(offset), 4))[0]

    def _find_gap(self) -> Gap:
        found = gap(self._pid, self._rows, self._table.CODE_BYTES)
        if found is None:
            raise self._refuse("There is no room behind the text of any file that process {pid} has loaded.", "Start it with greentrace.")
        self._whole_gap = found
        # Not always its beginning: who died while another thread was on its way through here left his code in another place.
        places = (found.size - self._table.CODE_BYTES) // 64 + 1
        return Gap(found.address + random.SystemRandom().randrange(places) * 64, self._table.CODE_BYTES)

    # ── the thread ──

    def _stop(self) -> Stop:
        return Stop(self._tid, self._table.Registers, min(self._deadline, time.monotonic() + 2))

    def _visit(self, why: str, act: Callable[[Stop], bool]) -> bool:
        """Stop the thread, act, let it go. Return what `act` says: whether it did something."""
        stop = self._stop()
        try:
            with stop:
                # After an exec there is another program at these addresses; the descriptor still means the old one.
                self._read(self._gap.address, 8)
                self._note_call(stop)
                did = act(stop)
        except PermissionError:
            refuse_traced(self._pid)
            raise not_permitted(self._pid) from None
        self.stops.append(Held(why if did else "look", stop.held_ns))
        return did

    def _is_in(self, stop: Stop, start: int, end: int) -> bool:
        """Whether the thread is in code of ours, or in a signal handler that lies on top of it."""
        top = os.pread(self.memory, _STACK_LEFT_BYTES, self._table.stack(stop.registers))
        left_off = [self._table.counter(stop.registers), *self._table.left_off(top)]
        return any(start <= place < end for place in left_off)

    def _is_in_gap(self, stop: Stop) -> bool:
        """Whether the thread is in a gap's code: ours, or that of an attacher who died; it leaves it by itself, and soon."""
        return self._is_in(stop, self._whole_gap.address, self._whole_gap.address + self._whole_gap.size)

    def _is_in_area(self, stop: Stop) -> bool:
        return self._area is not None and self._is_in(stop, self._area.base, self._area.words)

    def _may_be_sent(self, stop: Stop) -> bool:
        """Whether the thread is at a place from which it may be sent through plain system calls."""
        if self._is_in_gap(stop):
            return False
        return not stop.is_in_restartable_sequence(self.memory)

    def _note_call(self, stop: Stop) -> None:
        """Keep the number of the system call that the thread is in, -1 when it is in none, or in one that does not show."""
        number, place = self._table.call(stop.registers), self._table.place(stop.registers)
        if not self._table.is_made_again(number):
            self._calls[place] = number
        elif place not in self._calls:
            # Somebody else has interrupted it; what we did ourselves we have seen.
            before = self._peek(self._table.counter(stop.registers) - _BEFORE_BYTES, _BEFORE_BYTES)
            self._calls[place] = self._table.made_again(stop.registers, before)

    def _is_delicate(self, stop: Stop) -> bool:
        """Whether a running thread may hold the lock that Py_AddPendingCall takes: then it would wait for itself.

        Asleep in a system call it does not. In the C library it may be on behalf of one of these functions.
        """
        if self._table.call(stop.registers) >= 0:
            return False
        places = [self._table.counter(stop.registers)]
        row = at(self._rows, places[0])
        if row is None or row.path != self.target.python.library:
            top = os.pread(self.memory, _STACK_BYTES, self._table.stack(stop.registers))
            places += [word for (word,) in struct.iter_unpack("<Q", top[: len(top) // 8 * 8])]
        return any(start <= place < end for place in places for start, end in self.target.python.delicate)

    def _send_by_gap(self, why: str, code_for: Callable[[Stop], bytes], allowed: Callable[[Stop], bool]) -> None:
        """Send the thread through code in the gap, when it stands where that may be done."""

        def act(stop: Stop) -> bool:
            if not self._may_be_sent(stop) or not allowed(stop):
                return False
            code = code_for(stop)
            assert len(code) <= self._gap.size
            self._write(self._gap.address, code)
            self._send(stop, self._gap.address)
            return True

        pause = 0.0005
        while not self._visit(why, act):
            if self._is_over():
                raise NotStopping
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _send(self, stop: Stop, address: int, task: Task | None = None) -> None:
        stop.send(self._table.sent(stop.registers, address))
        self._away = (stop.registers, stop.mask) if self._table.is_to_be_brought(stop.registers, task) else None

    def _bring_home(self) -> None:
        """Put the registers back into a thread that is done, so that the kernel makes its interrupted call again, or ends it."""
        away, self._away = self._away, None
        if away is None:
            return
        registers, mask = away
        is_away = True

        def act(stop: Stop) -> bool:
            nonlocal is_away
            counter = self._table.counter(stop.registers)
            in_gap = self._gap.address <= counter < self._gap.address + self._gap.size
            in_area = self._area is not None and self._area.base <= counter < self._area.words
            is_away = in_gap or in_area
            if not (is_away and self._table.is_waiting(stop.registers)):
                return False
            stop.bring_home(registers, mask)
            return True

        # It may still be some instructions before the place where it waits. If it is gone, it went home by itself.
        while not self._visit("home", act) and is_away and not self._is_over():
            time.sleep(0.0001)

    def _has_left_gap(self) -> bool:
        return self._visit("left", lambda stop: not self._is_in_gap(stop))

    # ── the four steps ──

    def _borrow(self) -> None:
        cookie = os.urandom(16)
        for _ in range(3):
            area = Area(hole(self._rows, layout.PAGE * 2 + len(self.text) + 1), len(self.text))

            def code(stop: Stop, area: Area = area) -> bytes:
                return self._table.borrow(stop.registers, stop.mask, self._caught, area, cookie)

            self._send_by_gap("borrow", code, lambda stop: True)
            if self._came(lambda area=area: self._peek(area.word(layout.COOKIE), 16) == cookie):  # type: ignore[misc]
                self._area = area
                break
            self._rows = mappings(self._pid)
        else:
            self._restore_gap()
            raise self._refuse(
                "Process {pid} cannot get another page of memory (a limit on its address space, or a security module).",
                "Raise the limit (`prlimit --as`), or start it with `greentrace record`.",
            )
        self._write(area.text, self.text + b"\0")
        self._write(area.base, self._table.runner(area, self.target.python.functions, HELD_SIGNALS))

    def _peek(self, address: int, size: int) -> bytes:
        try:
            return os.pread(self.memory, size, address)
        except OSError:
            return b""

    def _came(self, happened: Callable[[], bool]) -> bool:
        """Wait until something has happened, or the thread has left the gap without it."""
        pause, until = 0.00002, time.monotonic() + _WAY_SECONDS
        while not happened():
            if time.monotonic() > until:
                if self._has_left_gap():
                    return happened()
                if self._is_over():
                    raise NotStopping
                until = time.monotonic() + _WAY_SECONDS
            time.sleep(pause)
        self._bring_home()
        return True

    def _ask(self) -> Injection:
        pause = _FIRST_PAUSE
        while True:
            if self._is_settled() and not self._word(layout.BEGAN):
                self._visit("ask", self._ask_stopped)
            until = time.monotonic() + pause
            look = time.monotonic() + _STOPPED_SECONDS
            while time.monotonic() < until:
                if time.monotonic() > look:
                    look += _STOPPED_SECONDS
                    if thread_state(self._tid, self._pid) == "T":
                        raise Stopped
                if self._ran():
                    ran_ns = time.monotonic_ns() - self.started_ns
                    return Injection(self._pid, self._tid, self._how(), ran_ns, *self._finish())
                if self._is_over():
                    raise self._give_up()
                time.sleep(0.0003)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _is_settled(self) -> bool:
        """Whether no errand is under way; what the last one did is counted then. A thread is not sent on a second one meanwhile."""
        if self._word(layout.ERRANDS) < self._errands:
            return False
        self._bring_home()
        task, self._task = self._task, None
        if task is not None:
            ran = task.run and not self._word(layout.GIL_KEPT)
            self._called += ran and not task.drain
            self._queued += task.queue and not ran and not self._word(layout.NOT_QUEUED)
        return True

    def _ran(self) -> bool:
        return self.done() if self.done is not None else self._word(layout.RETURNED) > 0

    def _how(self) -> str:
        return "queued" if self._is_settled() and self._queued and not self._called else "asleep"

    def _ask_stopped(self, stop: Stop) -> bool:
        """Decide what the stopped thread is asked for, and send it."""
        assert self._area is not None
        call = self._calls[self._table.place(stop.registers)]
        if not self._may_be_sent(stop) or self._is_in_area(stop) or self._word(layout.BEGAN):
            return False
        counter = self._table.counter(stop.registers)
        sleeps = self._table.is_known_to_sleep(call) and not is_loader(self._rows, counter)
        queue = self._is_main and not self._queued and not self._is_delicate(stop)
        in_lock_wait = self._table.is_lock_wait(call) and self._table.was_interrupted(stop.registers)
        wake = self._is_main and in_lock_wait and (queue or self._queued > 0)
        task = Task(run=sleeps, drain=self._queued > 0, queue=queue, wake=wake)
        if not (task.run or task.queue or task.wake):
            return False
        functions = self.target.python.functions
        code = self._table.errand(stop.registers, stop.mask, self._caught, self._area, functions, task)
        address = self._area.base + self._table.RUNNER_BYTES
        self._write(address, code)
        self._write(self._area.word(layout.GIL_KEPT), struct.pack("<ii", 0, 0))
        self._send(stop, address, task)
        self._errands += 1
        self._task = task
        return True

    def _give_up(self) -> CannotAttach:
        began = self._void()
        if self.cancel.is_set():
            raise KeyboardInterrupt
        limit = f"{self.seconds:g} s"
        if began:
            return self._refuse(
                f"The text was begun in process {{pid}}, but did not answer within {limit}.",
                "Try again with a longer time limit.",
                "The process goes on; what was begun in it comes to its end.",
            )
        if not self._is_main:
            return self._refuse(
                f"Thread {self._tid} of process {{pid}} was not found asleep within {limit}.", "Attach to its main thread.", _VOIDED
            )
        return self._refuse(
            f"Process {{pid}} did not come to a safe point within {limit}: probably a call into C code keeps the GIL.",
            "Try again with a longer time limit; `py-spy dump --native --pid {pid}` shows which call.",
            _VOIDED,
        )

    def _void(self) -> bool:
        """Overwrite the text in the target: it may still be called, and then runs nothing. Return whether it had begun before."""
        if self._area is None:
            return False
        try:
            self._write(self._area.text, _QUIET)
            began = bool(self._word(layout.BEGAN))
            self._write(self._area.word(layout.BEGAN), struct.pack("<i", 1))
        except (Gone, OSError):
            return False
        return began

    def _finish(self) -> tuple[tuple[Held, ...], bool]:
        gave_back = False
        try:
            gave_back = self._give_back()
            self._restore_gap()
        except (Gone, Stopped, NotStopping, OSError, CannotAttach):
            # It ran; what cannot be given back now, because the process ended or was stopped meanwhile, is some pages.
            pass
        return tuple(self.stops), gave_back

    def _give_back(self) -> bool:
        area = self._area
        assert area is not None
        # Everything that was called with the text has to be over, or it would come back to memory that is gone.
        until = time.monotonic() + 1
        while not self._is_settled() or self._word(layout.RETURNED) < self._called + self._queued:
            if time.monotonic() > until:
                return False
            time.sleep(0.0003)

        def code(stop: Stop) -> bytes:
            return self._table.give_back(stop.registers, stop.mask, self._caught, area)

        self._deadline = time.monotonic() + 1
        self._send_by_gap("give back", code, lambda stop: not self._is_in_area(stop))
        return self._came(lambda: not self._peek(area.base, 1))

    def _restore_gap(self) -> None:
        def act(stop: Stop) -> bool:
            if self._is_in_gap(stop):
                return False
            self._write(self._gap.address, self._gap_bytes)
            return True

        while not self._visit("restore", act):
            time.sleep(0.0005)


def _numbers(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values[:20])) + (" and more" if len(values) > 20 else "")
