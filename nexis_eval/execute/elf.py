"""What an ELF file says of itself: architecture, program interpreter, libraries it needs. Pure: bytes in, facts out.

Source of the format: System V Application Binary Interface, edition 4.1, chapters 4 and 5, with the 64-bit additions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\x7fELF"
MACHINES = {3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390", 40: "arm", 62: "x86_64", 183: "aarch64"} | {
    243: "riscv64",
    258: "loongarch64",
}
"""``e_machine`` → the name people use."""
VIRTUAL_MACHINES = frozenset((247,))
"""Machines that no processor is: BPF programs are loaded into the kernel of any architecture."""

ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SONAME = 0, 1, 5, 14
_MAX_NAME = 4096


@dataclass(frozen=True, slots=True)
class Elf:
    """One file. ``bits`` is 32 or 64; ``kind`` the type of the ELF header (``ET_REL``, ``ET_EXEC``, ``ET_DYN``, …)."""

    machine: int
    bits: int
    kind: int
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    soname: str = ""
    end: int = 0
    """Where the section headers end, in bytes from the start: an AppImage's file system begins there."""

    @property
    def machine_name(self) -> str:
        """The architecture as people call it; a 64-bit machine with 32-bit files is told apart."""
        name = MACHINES.get(self.machine, f"machine {self.machine}")
        return name if self.bits == 64 or not name.endswith("64") else f"{name} ({self.bits} bits)"


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def parse_elf(data: bytes | memoryview) -> Elf | None:
    """Read the headers of a whole file; ``None`` if it is no ELF file, or one too damaged for a loader."""
    view = memoryview(data)
    try:
        return _parse(view) if view[:4] == MAGIC else None
    except (struct.error, IndexError, UnicodeDecodeError):
        return None


def _parse(view: memoryview) -> Elf | None:
    wide, order = view[4] == 2, "<" if view[5] == 1 else ">"
    kind, machine = struct.unpack_from(order + "HH", view, 16)
    numbers = struct.unpack_from(order + ("QQQIHHHHH" if wide else "IIIIHHHHH"), view, 24)
    _entry, segments_at, sections_at, _flags, _size, entry_size, count, section_size, section_count = numbers
    segments = [_segment(view, segments_at + index * entry_size, order, wide) for index in range(count)]
    interpreter = soname = ""
    needed: tuple[str, ...] = ()
    for segment in segments:
        if segment.kind == _PT_INTERP:
            raw = bytes(view[segment.offset : segment.offset + min(segment.size, _MAX_NAME)])
            interpreter = raw.split(b"\0", 1)[0].decode()
        elif segment.kind == _PT_DYNAMIC:
            needed, soname = _dynamic(view, segment, segments, order, wide)
    return Elf(
        machine, 64 if wide else 32, kind, interpreter, needed, soname, sections_at + section_size * section_count
    )


def _segment(view: memoryview, at: int, order: str, wide: bool) -> _Segment:
    if wide:
        kind, _flags, offset, address, _physical, size = struct.unpack_from(order + "IIQQQQ", view, at)
    else:
        kind, offset, address, _physical, size = struct.unpack_from(order + "IIIII", view, at)
    return _Segment(kind, offset, address, size)


def _dynamic(
    view: memoryview, dynamic: _Segment, segments: list[_Segment], order: str, wide: bool
) -> tuple[tuple[str, ...], str]:
    tags = list(_tags(view, dynamic, order, wide))
    address = next((value for tag, value in tags if tag == _DT_STRTAB), None)
    strings = None
    for segment in segments:
        if segment.kind == _PT_LOAD and address is not None and 0 <= address - segment.address < segment.size:
            strings = segment.offset + address - segment.address
    if strings is None:
        return (), ""

    def text(at: int) -> str:
        raw = bytes(view[strings + at : strings + at + _MAX_NAME])
        return raw.split(b"\0", 1)[0].decode()

    needed = tuple(text(value) for tag, value in tags if tag == _DT_NEEDED)
    return needed, next((text(value) for tag, value in tags if tag == _DT_SONAME), "")


def _tags(view: memoryview, dynamic: _Segment, order: str, wide: bool) -> Iterator[tuple[int, int]]:
    form = struct.Struct(order + ("qQ" if wide else "iI"))
    for at in range(dynamic.offset, dynamic.offset + dynamic.size, form.size):
        tag, value = form.unpack_from(view, at)
        if tag == _DT_NULL:
            return
        yield tag, value
