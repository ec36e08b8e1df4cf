"""ELF and maps: symbols stand where the loader put them, and a file that is none or is cut off is refused."""

from __future__ import annotations

import ctypes
import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greentrace.attach.elf import Elf, NotElf
from greentrace.attach.mappings import at, hole, mappings, parsed
from greentrace.attach.symbols import FUNCTIONS, gap, python_of

EXECUTABLE = Path(os.path.realpath(sys.executable)).read_bytes()


def test_the_functions_of_this_python_stand_where_ctypes_finds_them() -> None:
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        found = python_of(os.getpid(), memory)
    finally:
        os.close(memory)
    assert found is not None
    assert found.version == sys.version_info[:3]
    assert found.is_free_threaded == (not getattr(sys, "_is_gil_enabled", lambda: True)())
    for name in FUNCTIONS:
        assert found.functions[name] == ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value, name
    assert len(found.delicate) > 3
    start, end = found.runtime
    assert end - start > 1000


def test_a_gap_is_mapped_executable_and_lies_behind_everything_that_the_file_calls_text() -> None:
    rows = mappings(os.getpid())
    found = gap(os.getpid(), rows, 512)
    assert found is not None
    assert found.size >= 512
    row = at(rows, found.address)
    assert row is not None
    assert row.access == "r-xp"
    assert found.address + found.size == row.end
    with open(row.path, "rb") as file:
        (text,) = (segment for segment in Elf(file).segments if segment.is_executable)
    start = min(other.start for other in rows if other.path == row.path)
    assert found.address - start >= text.memory_bytes


def test_a_symbol_whose_name_is_the_end_of_another_is_found() -> None:
    with open(os.path.realpath(sys.executable), "rb") as file:
        elf = Elf(file)
        known = elf.symbols(["main", "Py_BytesMain", "_no_such_symbol_"], everything=True)
    assert "_no_such_symbol_" not in known


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100), bytes(64)])
def test_what_is_no_elf_file_is_refused(data: bytes) -> None:
    with pytest.raises(NotElf):
        Elf(io.BytesIO(data))


def test_sections_that_no_file_can_have_are_none() -> None:
    damaged = bytearray(EXECUTABLE)
    damaged[47] = 128
    elf = Elf(io.BytesIO(bytes(damaged)))
    assert elf.segments
    assert elf.symbols(["Py_AddPendingCall"], everything=True) == {}


@given(st.integers(0, 4096), st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_refused_or_read_and_never_more(length: int, data: st.DataObject) -> None:
    damaged = bytearray(EXECUTABLE[:length])
    for _ in range(3):
        if len(damaged) > 20:
            damaged[data.draw(st.integers(16, min(len(damaged), 600) - 1))] = data.draw(st.integers(0, 255))
    try:
        elf = Elf(io.BytesIO(bytes(damaged)))
        elf.text_gap()
        elf.symbols(["Py_AddPendingCall"], everything=True)
    except NotElf:
        pass


def test_rows_of_a_maps_file_keep_blanks_in_names_and_say_what_is_no_file() -> None:
    rows = parsed(
        "55d0c0a00000-55d0c0a01000 r-xp 00001000 fe:00 1234                       /opt/my programs/python3.11 (deleted)\n"
        "7ffc1c000000-7ffc1c021000 rw-p 00000000 00:00 0                          [stack]\n"
        "7ffc1c022000-7ffc1c023000 rw-p 00000000 00:00 0\n"
        "7f0000000000-7f0000001000 rw-s 00000000 00:01 77                         //anon\n"
    )
    assert [row.path for row in rows] == ["/opt/my programs/python3.11 (deleted)", "[stack]", "", "//anon"]
    assert [row.is_file for row in rows] == [True, False, False, False]
    assert (rows[0].start, rows[0].offset, rows[0].access) == (0x55D0C0A00000, 0x1000, "r-xp")


@given(st.lists(st.tuples(st.integers(1, 0x7FFFFFFFF), st.integers(1, 4096)), max_size=20), st.integers(1, 1 << 24))
@settings(deadline=None)
def test_a_hole_touches_no_row(spans: list[tuple[int, int]], size: int) -> None:
    text, last = [], 0
    for start, pages in sorted(spans):
        if start > last:
            text.append(f"{start << 12:x}-{(start + pages) << 12:x} rw-p 00000000 00:00 0")
            last = start + pages
    rows = parsed("\n".join(text))
    address = hole(rows, size)
    assert address % 4096 == 0
    assert not [row for row in rows if row.start < address + size and address < row.end]
