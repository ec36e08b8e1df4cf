"""Names: strings, code objects and sites of the Python recorder, each written once into the arena of names.

In:  strings and frames. Out: numbers. A site is a stack of up to `depth` (code object, instruction) pairs; only a new one
is resolved to lines. The native core has the same in native/names.c.
"""

from __future__ import annotations

import os
import struct
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

from greentrace.ring import CODE_RUNTIME, NameKind, Writer, name_entries


class Names:
    """The interning tables of one recorder."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.writer: Writer | None = None
        self._strings: dict[str, int] = {}
        self._codes: dict[int, tuple[int, int, CodeType]] = {}
        self._sites: dict[tuple[int, ...], int] = {}
        self._paths: list[tuple[str, int]] = []
        self._next = {NameKind.STRING: 1, NameKind.CODE: 1, NameKind.SITE: 1}

    def adopt(self, entries: bytes) -> None:
        """Write into a new ring what stood in the one before: every number stays in use."""
        # The first entry is the account that another process, or an earlier recording, gave of itself.
        for kind, flags, number, payload in list(name_entries(entries))[1:]:
            if self.writer is not None:
                self.writer.add_name(NameKind(kind), flags, number, payload)

    def add_path(self, prefix: str, flag: int) -> None:
        """Code of files whose path begins with `prefix` gets `flag`; the longest prefix wins."""
        self._paths.append((prefix, flag))
        self._paths.sort(key=lambda rule: -len(rule[0]))

    def _write(self, kind: NameKind, flags: int, payload: bytes) -> int:
        number = self._next[kind]
        # In the child of a fork the arena is the parent's until it gets its own.
        if self.writer is None or self.writer.pid != os.getpid() or not self.writer.add_name(kind, flags, number, payload):
            return 0
        self._next[kind] = number + 1
        return number

    def string(self, text: Any) -> int:
        """Return the number of a string; 0 for what is none, or when the arena is full."""
        if not isinstance(text, str):
            return 0
        number = self._strings.get(text)
        if number is None:
            number = self._write(NameKind.STRING, 0, text.encode("utf-8", "backslashreplace")[:4096])
            if number:
                self._strings[text] = number
        return number

    def _code(self, code: CodeType) -> tuple[int, int]:
        # By identity: hashing a code object hashes its contents. The entry keeps it alive, so the identity stays its own.
        known = self._codes.get(id(code))
        if known is None:
            flags = next((flag for prefix, flag in self._paths if code.co_filename.startswith(prefix)), 0)
            payload = struct.pack("<III", self.string(code.co_filename), self.string(code.co_qualname), code.co_firstlineno)
            known = self._codes[id(code)] = (self._write(NameKind.CODE, flags, payload), flags, code)
        return known[0], known[1]

    def site(self, frame: FrameType | None) -> int:
        """Return the number of the stack that begins at `frame`; 0 for none."""
        frames: list[FrameType] = []
        key: list[int] = []
        while frame is not None and len(frames) < self.depth:
            frames.append(frame)
            key += [id(frame.f_code), frame.f_lasti]
            frame = frame.f_back
        if not frames:
            return 0
        site = self._sites.get(tuple(key))
        if site is None:
            payload = b"".join(struct.pack("<II", self._code(f.f_code)[0], max(f.f_lineno or 0, 0)) for f in frames)
            site = self._sites[tuple(key)] = self._write(NameKind.SITE, 0, payload)
        return site

    def is_runtime(self, code: CodeType) -> bool:
        return bool(self._code(code)[1] & CODE_RUNTIME)

    def function_of(self, g: Any, gevents: bool) -> tuple[str, bool]:
        """Return (the qualified name of the function that a greenlet is made for, "" if it cannot be told; whether it is a runtime's).

        A gevent Greenlet keeps it in `_run`, its own or its class's; another class of greenlets may have a method `run`.
        """
        function = g.__dict__.get("_run") if gevents else None
        if function is None:
            wanted = "_run" if gevents else "run"
            function = next((base.__dict__[wanted] for base in type(g).__mro__ if wanted in base.__dict__), None)
        if isinstance(function, MethodType):
            function = function.__func__
        if not isinstance(function, FunctionType):
            return "", False
        return function.__code__.co_qualname, self.is_runtime(function.__code__)

    def outermost(self, frame: FrameType | None) -> tuple[str, bool]:
        """Return (the qualified name of the outermost function that is no runtime's, else of the outermost; whether it is a runtime's)."""
        codes: list[CodeType] = []
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        for code in codes[:-5:-1]:
            if not self.is_runtime(code):
                return code.co_qualname, False
        return codes[-1].co_qualname if codes else "", True
