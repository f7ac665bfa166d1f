"""The filter as a function from calls to answers, by an interpreter of the few instructions it uses."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.sandbox import seccomp

ALLOWED = 0x7FFF0000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}
PROGRAMS = {machine: seccomp.program(machine) for machine in MACHINES}


def answer(machine: str, number: int, argument: int = 0, arch: int | None = None) -> int:
    """0 if the filter lets the call pass, else the error that it fails with."""
    code = list(struct.iter_unpack("HBBI", PROGRAMS[machine]))
    memory = {0: number, 4: MACHINES[machine] if arch is None else arch, 16: argument}
    at = accumulator = 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        if operation == 0x20:
            accumulator = memory[constant]
        elif operation == 0x06:
            return 0 if constant == ALLOWED else constant & 0xFFFF
        else:
            holds = {
                0x15: accumulator == constant,
                0x35: accumulator >= constant,
                0x45: bool(accumulator & constant),
            }[operation]
            at += if_true if holds else if_false


def column(machine: str) -> int:
    return 0 if machine == "x86_64" else 1


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_by_number(machine: str) -> None:
    index = column(machine)
    denied = {each[index] for each in seccomp._DENIED.values()}
    unknown = {each[index] for each in seccomp._UNKNOWN.values()}
    special = {each[index] for each in (seccomp._CLONE, seccomp._UNSHARE, seccomp._SOCKET)}
    assert not denied & unknown
    for number in set(range(600)) - special:
        expected = errno.EPERM if number in denied else errno.ENOSYS if number in unknown else 0
        assert answer(machine, number) == expected, number


@given(st.sampled_from(sorted(MACHINES)), st.integers(0, 2**32 - 1))
def test_namespace_flags(machine: str, flags: int) -> None:
    index = column(machine)
    assert (answer(machine, seccomp._CLONE[index], flags) == 0) == (not flags & 0x7E020000)
    assert (answer(machine, seccomp._UNSHARE[index], flags) == 0) == (not flags & 0x7E020080)


@given(st.sampled_from(sorted(MACHINES)), st.integers(0, 60))
def test_socket_families(machine: str, family: int) -> None:
    expected = 0 if family in (1, 2, 10, 16) else errno.EAFNOSUPPORT
    assert answer(machine, seccomp._SOCKET[column(machine)], family) == expected


@given(st.integers(0, 2**31 - 1))
def test_calls_of_another_instruction_set(number: int) -> None:
    i386 = 0x40000003
    assert answer("x86_64", number, arch=i386) == errno.ENOSYS
    assert answer("x86_64", 0x40000000 | number) == errno.ENOSYS


def test_programs_are_short() -> None:
    assert max(map(len, PROGRAMS.values())) < 8 * 256
    assert seccomp.program("pdp11") == b""
