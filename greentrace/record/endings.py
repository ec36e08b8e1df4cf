"""Endings in the Python recorder: whether a greenlet that was thrown into has caught it and returned, or was ended by it.

In:  a greenlet's node, in the moment of the throw and in that of its end. Out: a How.
native/endings.c has the theory: what becomes of the object of its outermost frame. Here too the object has a witness in its
f_trace; where the frame is, the object itself tells, in the word of its structure that points there.
Never: a reference to the frame, which would let its locals live longer.
"""

from __future__ import annotations

import ctypes
import opcode
import sys
from types import FrameType
from typing import Any

from greentrace.events import FLAG_INFERRED, How
from greentrace.record.tables import Node

_FRAME_AT = object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
_RETURNS = {opcode.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in opcode.opmap}


def _outermost(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


class Witness:
    """Lives as long as the frame object in whose f_trace it is."""

    __slots__ = ("_address", "_node", "_size")

    def __init__(self, node: Node, frame: FrameType) -> None:
        self._node = node
        self._address = id(frame)
        self._size = frame.__sizeof__()

    def __call__(self, *args: Any) -> None:
        """A sys.settrace function has come since: it does not want to trace this frame, as if we were not here."""

    def __del__(self, _getframe: Any = sys._getframe, _word: Any = ctypes.c_void_p.from_address, _at: int = _FRAME_AT) -> None:
        node = self._node
        if node.witness != self._address:
            return
        node.witness = 0
        inside = _word(self._address + _at).value or 0
        frame = _getframe()
        while frame.f_back is not None:
            frame = frame.f_back
        if self._address < inside < self._address + self._size:
            node.how = 2
        else:
            # A debugger may have put a function of its own there.
            node.how = 3 if id(frame) == self._address else 0


def thrown_into(node: Node, frame: FrameType | None) -> None:
    """Something is thrown into the greenlet that runs now, in this frame."""
    if node.witness or node.is_hub or node.is_main:
        return
    outermost = _outermost(frame)
    # Without a frame of Python there is nobody to catch it, unless in C.
    node.how = How.UNKNOWN if outermost is not None else How.KILLED | FLAG_INFERRED
    if outermost is not None and outermost.f_trace is None and sys.gettrace() is None:
        node.witness = id(outermost)
        outermost.f_trace = Witness(node, outermost)


def how_it_ended(node: Node) -> int:
    """Return how a greenlet has ended that passed control on as after a return."""
    if not node.witness:
        return node.how
    # Somebody keeps the frame object: its witness lives.
    frame: FrameType = ctypes.cast(node.witness, ctypes.py_object).value
    return How.RETURNED if frame.f_code.co_code[frame.f_lasti] in _RETURNS else How.KILLED
