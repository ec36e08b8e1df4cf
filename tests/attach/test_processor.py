"""Processor: one that has no table is refused in three parts; what a table says of itself fits."""

from __future__ import annotations

import os

import pytest

from greentrace.attach.area import PAGE, Area, Task
from greentrace.attach.processor import processor
from greentrace.attach.symbols import FUNCTIONS
from greentrace.errors import CannotAttach


def test_a_processor_without_a_table_is_refused() -> None:
    with pytest.raises(CannotAttach, match="riscv64") as refused:
        processor("riscv64")
    assert refused.value.kept == "The process was not touched."
    assert "greentrace record" in refused.value.advice


def test_the_largest_of_all_codes_fits_into_its_place() -> None:
    table = processor()
    area = Area(0x123456789000, 8 << 20)
    functions = dict.fromkeys(FUNCTIONS, 0x7FFFFFFFFFF0)
    registers = table.Registers()
    for name, _ in registers._fields_:
        setattr(registers, name, (1 << 64) - 512 if name == "rax" else 0x7FFFFFFFFFF0 if name != "orig_rax" else 34)
    mask = caught = (1 << 64) - 1
    assert len(table.borrow(registers, 0, caught, area, os.urandom(16))) <= table.CODE_BYTES
    assert len(table.give_back(registers, 0, caught, area)) <= table.CODE_BYTES
    assert len(table.runner(area, functions, mask)) <= table.RUNNER_BYTES
    longest = Task(run=True, drain=True, queue=True)
    assert len(table.errand(registers, 0, caught, area, functions, longest)) <= PAGE - table.RUNNER_BYTES
    assert area.end - area.words == area.data_bytes


def test_a_call_is_named_and_an_unknown_one_has_its_number() -> None:
    table = processor()
    assert table.call_name(9999) == "system call 9999"
    assert any(table.is_known_to_sleep(number) for number in range(512))
    assert not any(table.is_known_to_sleep(number) and table.is_lock_wait(number) for number in range(512))
    assert not any(table.is_known_to_sleep(number) and table.is_made_again(number) for number in range(512))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the code is of another processor's")
def test_what_call_is_made_again_shows_in_the_code_or_is_not_known() -> None:
    table = processor()
    registers = table.Registers(rsp=0x7FFF00000000, rdi=0x7FFF00000100, rsi=0x189, r10=0x7FFF00000200)
    sleep, lock, other = b"\xb8\x07\0\0\0\x0f\x05", b"\xb8\xca\0\0\0\x0f\x05", b"\xb8\x01\0\0\0\x0f\x05"
    assert table.is_known_to_sleep(table.made_again(registers, bytes(9) + sleep))
    assert table.is_lock_wait(table.made_again(registers, bytes(9) + lock))
    # Between the two an instruction may stand.
    assert table.is_lock_wait(table.made_again(registers, sleep + lock[:5] + b"\x40\x80\xf6\x80" + lock[5:]))
    # Without such an instruction the arguments tell; those of a wait for a lock may be those of a poll of very many.
    for unknown in (b"", bytes(16), bytes(9) + other, sleep[:5], sleep[1:], bytes(14) + sleep[5:], bytes(11) + b"\xb8" + lock[3:]):
        assert table.is_lock_wait(table.made_again(registers, unknown))
        assert table.made_again(table.Registers(rsp=1 << 40, rdi=1 << 41, rsi=0x189, r10=1 << 42), unknown) == -1
        # Only what has a time limit is made again in this way.
        assert table.is_known_to_sleep(table.made_again(table.Registers(rsp=1 << 40, rdi=1 << 41, rsi=0), unknown))
        assert table.made_again(table.Registers(rsp=1 << 40, rdi=1 << 41, rsi=9, r10=1 << 40), unknown) == -1
        assert table.is_known_to_sleep(table.made_again(table.Registers(rsp=1 << 40, rdi=1 << 41, rsi=3), unknown))
        assert table.is_known_to_sleep(table.made_again(table.Registers(rsp=1 << 40, rdi=1, rsi=0), unknown))
