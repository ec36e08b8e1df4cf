"""Processor: picks the table of the processor that this machine has. All that depends on it stands in that table.

In:  `os.uname()`. Out: a module with the names of `Processor`. Never: a guess on a processor that has no table.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Protocol

from greentrace.attach import processor_x86_64
from greentrace.attach.area import Area, Task
from greentrace.errors import CannotAttach


class Processor(Protocol):
    """What a table says. `registers` are always a `Registers` of the same table, as they stood when the thread was stopped."""

    MACHINE: str
    ELF_MACHINE: int
    Registers: type[ctypes.Structure]
    CODE_BYTES: int
    """What the code for borrowing and giving back takes at most."""
    RUNNER_BYTES: int
    """Where in the code page the errand begins; the function that runs the text stands before it."""

    def counter(self, registers: Any) -> int: ...
    def stack(self, registers: Any) -> int: ...
    def left_off(self, stack: bytes) -> list[int]: ...
    def call(self, registers: Any) -> int: ...
    def call_name(self, number: int) -> str: ...
    def is_known_to_sleep(self, number: int) -> bool: ...
    def is_lock_wait(self, number: int) -> bool: ...
    def is_made_again(self, number: int) -> bool: ...
    def place(self, registers: Any) -> tuple[int, ...]: ...
    def made_again(self, registers: Any, before: bytes) -> int: ...
    def was_interrupted(self, registers: Any) -> bool: ...
    def is_to_be_brought(self, registers: Any, task: Task | None = None) -> bool: ...
    def is_waiting(self, registers: Any) -> bool: ...
    def sent(self, registers: Any, address: int) -> Any: ...
    def borrow(self, registers: Any, mask: int, caught: int, area: Area, cookie: bytes) -> bytes: ...
    def give_back(self, registers: Any, mask: int, caught: int, area: Area) -> bytes: ...
    def runner(self, area: Area, functions: dict[str, int], held: int) -> bytes: ...
    def errand(self, registers: Any, mask: int, caught: int, area: Area, functions: dict[str, int], task: Task) -> bytes: ...


def processor(machine: str | None = None) -> Processor:
    """Return the table for this machine.

    Raises `CannotAttach` when there is none.
    """
    machine = machine or os.uname().machine
    if machine in ("x86_64", "amd64") and ctypes.sizeof(ctypes.c_void_p) == 8:
        return processor_x86_64  # type: ignore[return-value]
    raise CannotAttach(
        f"Getting into a running program is not possible on this processor yet ({machine}, {ctypes.sizeof(ctypes.c_void_p) * 8} bits).",
        "The process was not touched.",
        "Start the program with `greentrace record`, or call greentrace.start() in it.",
    )
