"""Area: the memory that the injector borrows in the target, and where what stands in it. The same on every processor.

    base           code: the function that the interpreter runs, the errand      r-x, one page
    base + 1 page  words: what happened, written by the target                   rw-, one page
                   128 bytes in: the registers of the floating point unit
    base + 2 pages the text to be run, UTF-8 with a zero at its end              rw-, as many as it takes

In: an address and the size of the text. Out: addresses. Never: a read or a write.
"""

from __future__ import annotations

from dataclasses import dataclass

PAGE = 4096

COOKIE = 0
"""16 random bytes: the area is there, and it is ours."""
BEGAN = 16
"""u32, 1 from the moment at which the text was begun: it runs once, however often it was asked for."""
RETURNED = 20
"""u32, how many of the calls of the function that runs the text are over."""
ERRANDS = 24
"""u32, how many errands are over."""
GIL_KEPT = 28
"""u32, 1 when the last errand found that its own thread holds the GIL."""
NOT_QUEUED = 32
"""i32, what Py_AddPendingCall said; 0 is yes."""
WORDS_BYTES = 64
SIGNALS = 64
"""8 bytes, the signal mask of the thread while the text runs."""
STATE = 128
"""The floating point unit, 64-byte aligned."""


@dataclass(frozen=True)
class Area:
    """Where the area stands."""

    base: int
    text_bytes: int

    @property
    def words(self) -> int:
        return self.base + PAGE

    @property
    def text(self) -> int:
        return self.base + 2 * PAGE

    @property
    def data_bytes(self) -> int:
        """Size of everything that is not code."""
        return PAGE + (self.text_bytes + 1 + PAGE - 1) // PAGE * PAGE

    @property
    def end(self) -> int:
        return self.base + PAGE + self.data_bytes

    def word(self, offset: int) -> int:
        """Return the address of a word."""
        return self.words + offset


@dataclass(frozen=True)
class Task:
    """What a thread is asked to do on an errand.

    `run`: run the text now, if the thread does not hold the GIL; `drain`: by way of the queue, in which it stands already.
    `queue`: have the interpreter run it at its next safe point, unless it was run now.
    `wake`: tell the interrupted system call that it was interrupted, so that the interpreter looks at its queue.
    """

    run: bool = False
    drain: bool = False
    queue: bool = False
    wake: bool = False
