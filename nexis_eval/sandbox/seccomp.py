"""The system calls that a build never needs, as a seccomp filter. Pure.

It is the second fence: what is listed here is refused by namespaces and missing capabilities too, as far as the kernel
has no bug. ``ptrace`` is not listed (test suites of debuggers need it); a build can trace only itself.

A filter is an array of ``struct sock_filter`` (code, jump if true, jump if false, constant): see
Documentation/userspace-api/seccomp_filter.rst. Numbers: arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h, which aarch64 and riscv64 use.
"""

from __future__ import annotations

import errno
import struct
from functools import cache

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}

_ABSENT = -1
_DENIED: dict[str, tuple[int, int]] = {
    # name: (x86_64, generic)
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "setns": (308, 268),
    # files by number instead of name
    "open_by_handle_at": (304, 265),
    "lookup_dcookie": (212, 18),
    "fanotify_init": (300, 262),
    # the kernel's keyrings
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # the kernel itself
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "iopl": (172, _ABSENT),
    "ioperm": (173, _ABSENT),
    "vhangup": (153, 58),
    # identity and clock
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
}
_UNKNOWN: dict[str, tuple[int, int]] = {
    # As if the kernel did not have them: callers fall back. The flags of clone3 are in memory, out of a filter's reach.
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
_CLONE = (56, 220)
_UNSHARE = (272, 97)
_SOCKET = (41, 198)
_NAMESPACE_FLAGS = 0x7E020000
_NAMESPACE_FLAGS_UNSHARE = _NAMESPACE_FLAGS | 0x80
_FAMILIES = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16}
"""All others are refused: AF_VSOCK, for one, ignores network namespaces and reaches a virtual machine's host."""

_X32_BIT = 0x40000000
_LOAD_WORD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_GREATER_EQUAL = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_LET = ((_RETURN, 0, 0, _ALLOW),)
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16

_Instruction = tuple[int, int, int, int]
_Code = tuple[_Instruction, ...]


@cache
def program(machine: str) -> bytes:
    """The filter for a machine as ``uname -m`` names it; empty for one we do not know."""
    if machine not in _AUDIT_ARCH:
        return b""
    answers = _answers(0 if machine == "x86_64" else 1)
    code = (
        (_LOAD_WORD, 0, 0, _ARCH_AT),
        # 32-bit programs have other numbers, so that a filter for 64 bits would let them do anything.
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        *_refuse(errno.ENOSYS),
        (_LOAD_WORD, 0, 0, _NUMBER_AT),
        *_search(_segments(answers)),
    )
    return b"".join(struct.pack("HBBI", *each) for each in code)


def _answers(column: int) -> dict[int, _Code]:
    """What to do about each call that is not simply allowed, by number."""
    answers = {each[column]: _refuse(errno.EPERM) for each in _DENIED.values() if each[column] != _ABSENT}
    answers |= {each[column]: _refuse(errno.ENOSYS) for each in _UNKNOWN.values()}
    answers[_CLONE[column]] = _unless_any_bit(_NAMESPACE_FLAGS)
    answers[_UNSHARE[column]] = _unless_any_bit(_NAMESPACE_FLAGS_UNSHARE)
    answers[_SOCKET[column]] = _if_one_of(sorted(_FAMILIES.values()))
    if column == 0:
        answers[_X32_BIT] = _refuse(errno.ENOSYS)
    return answers


def _segments(answers: dict[int, _Code]) -> list[tuple[int, _Code]]:
    """The line of numbers cut where the answer changes: (first number, answer). What is above ``_X32_BIT`` is one."""
    segments: list[tuple[int, _Code]] = [(0, _LET)]
    for number in sorted(answers):
        if segments[-1][0] == number:
            segments.pop()
        if not segments or segments[-1][1] != answers[number]:
            segments.append((number, answers[number]))
        if number != _X32_BIT:
            segments.append((number + 1, _LET))
    return segments


def _search(segments: list[tuple[int, _Code]]) -> _Code:
    """A binary search: the kernel runs the filter for every number when it is installed, and that is a build's time."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    below, above = _search(segments[:middle]), _search(segments[middle:])
    return ((_JUMP_GREATER_EQUAL, len(below), 0, segments[middle][0]), *below, *above)


def _refuse(number: int) -> _Code:
    return ((_RETURN, 0, 0, _ERRNO | number),)


def _unless_any_bit(flags: int) -> _Code:
    """Refuse if the first argument has any of ``flags``."""
    return ((_LOAD_WORD, 0, 0, _FIRST_ARGUMENT_AT), (_JUMP_ANY_BIT, 0, 1, flags), *_refuse(errno.EPERM), *_LET)


def _if_one_of(families: list[int]) -> _Code:
    """Allow if the first argument is one of ``families``."""
    tests = ((_JUMP_EQUAL, len(families) - index, 0, family) for index, family in enumerate(families))
    return ((_LOAD_WORD, 0, 0, _FIRST_ARGUMENT_AT), *tests, *_refuse(errno.EAFNOSUPPORT), *_LET)
