"""What an ELF file says of itself: header, segments, sections, and what its loader needs. Pure: bytes in, facts out.

Source of the format: System V Application Binary Interface, edition 4.1, chapters 4 and 5, with the 64-bit additions.
Every number of a file may be a lie: what leads out of the file raises ``ElfError``, and nothing else is ever raised.
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
_MAX_NEEDED = 4096
"""Libraries that one file may need; the most that has been seen are a few hundred."""
_PN_XNUM, _SHN_XINDEX = 0xFFFF, 0xFFFF
"""The number does not fit: it is in the first section header."""


class ElfError(ValueError):
    """The file is not an ELF file that a loader or linker could read."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a file. Offsets and sizes are in bytes; ``order`` is that of ``struct``."""

    wide: bool
    order: str
    kind: int
    machine: int
    entry: int
    flags: int
    segments_at: int
    segment_size: int
    segment_count: int
    sections_at: int
    section_size: int
    section_count: int
    names_section: int

    @property
    def sections_end(self) -> int:
        """Where the section headers end: an AppImage's file system begins there."""
        return self.sections_at + self.section_size * self.section_count


@dataclass(frozen=True, slots=True)
class Segment:
    """What a loader maps."""

    kind: int
    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Section:
    """What a linker sees. ``name`` is empty where the table of names does not have it."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


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


def parse_elf(data: bytes | memoryview) -> Elf | None:
    """Read what a loader reads of a whole file; ``None`` if it is not an ELF file, or one too damaged for a loader."""
    view = memoryview(data)
    try:
        header = read_header(view)
        segments = list(read_segments(view, header))
        interpreter = soname = ""
        needed: tuple[str, ...] = ()
        for segment in segments:
            if segment.kind == _PT_INTERP:
                interpreter = _text(view, segment.offset, min(segment.size, _MAX_NAME))
        # Of several, a loader takes the last.
        dynamic = next((each for each in reversed(segments) if each.kind == _PT_DYNAMIC), None)
        if dynamic is not None:
            needed, soname = _dynamic(view, dynamic, segments, header)
    except ElfError:
        return None
    return Elf(header.machine, 64 if header.wide else 32, header.kind, interpreter, needed, soname, header.sections_end)


def read_header(view: memoryview) -> Header:
    """The header; raises ``ElfError``."""
    if view[:4] != MAGIC or len(view) < 6:
        raise ElfError("it does not begin as an ELF file does")
    wide, order = view[4] == 2, "<" if view[5] == 1 else ">"
    kind, machine, _version, entry, segments_at, sections_at, flags, _size, *numbers = _unpack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), view, 16
    )
    segment_size, segment_count, section_size, section_count, names_section = numbers
    if sections_at and (not section_count or segment_count == _PN_XNUM or names_section == _SHN_XINDEX):
        _, _, _, _, _, size, link, info, *_ = _unpack(
            order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII"), view, sections_at
        )
        section_count = section_count or size
        segment_count = info if segment_count == _PN_XNUM else segment_count
        names_section = link if names_section == _SHN_XINDEX else names_section
    return Header(
        wide,
        order,
        kind,
        machine,
        entry,
        flags,
        segments_at,
        segment_size,
        segment_count,
        sections_at,
        section_size,
        section_count,
        names_section,
    )


def read_segments(view: memoryview, header: Header) -> Iterator[Segment]:
    """The segments, in order; raises ``ElfError``."""
    form = header.order + ("IIQQQQ" if header.wide else "IIIII")
    for at in _table(view, header.segments_at, header.segment_size, header.segment_count, form):
        if header.wide:
            kind, _flags, offset, address, _physical, size = struct.unpack_from(form, view, at)
        else:
            kind, offset, address, _physical, size = struct.unpack_from(form, view, at)
        yield Segment(kind, offset, address, size)


def read_sections(view: memoryview, header: Header) -> list[Section]:
    """The sections, in order; raises ``ElfError``."""
    form = header.order + ("IIQQQQIIQQ" if header.wide else "IIIIIIIIII")
    rows = [
        struct.unpack_from(form, view, at)
        for at in _table(view, header.sections_at, header.section_size, header.section_count, form)
    ]
    names = b""
    if header.names_section < len(rows):
        offset, size = rows[header.names_section][4:6]
        names = bytes(view[offset : offset + size])
    return [Section(_name(names, row[0]), row[1], row[2], row[3], row[4], row[5], row[6], row[9]) for row in rows]


def _name(names: bytes, at: int) -> str:
    end = names.find(b"\0", at, at + _MAX_NAME)
    return names[at:end].decode(errors="replace") if end > at else ""


def _unpack(form: str, view: memoryview, at: int) -> tuple[int, ...]:
    if at + struct.calcsize(form) > len(view):
        raise ElfError(f"what byte {at} should have lies behind its end")
    return struct.unpack_from(form, view, at)


def _table(view: memoryview, start: int, step: int, count: int, form: str) -> range:
    """Where the entries of a table begin; raises ``ElfError`` unless all of it lies in the file."""
    if not count:
        return range(0)
    size = struct.calcsize(form)
    if step < size or start + step * (count - 1) + size > len(view):
        raise ElfError(f"a table at byte {start} lies behind its end")
    return range(start, start + step * count, step)


def _text(view: memoryview, at: int, limit: int = _MAX_NAME) -> str:
    raw = bytes(view[at : at + limit]).split(b"\0", 1)[0]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ElfError(f"the name at byte {at} is not UTF-8") from None


def _dynamic(
    view: memoryview, dynamic: Segment, segments: list[Segment], header: Header
) -> tuple[tuple[str, ...], str]:
    tags = list(_tags(view, dynamic, header))
    address = next((value for tag, value in tags if tag == _DT_STRTAB), None)
    strings = None
    for segment in segments:
        if segment.kind == _PT_LOAD and address is not None and 0 <= address - segment.address < segment.size:
            strings = segment.offset + address - segment.address
    if strings is None:
        return (), ""
    needed = [value for tag, value in tags if tag == _DT_NEEDED]
    if len(needed) > _MAX_NEEDED:
        raise ElfError(f"it needs {len(needed)} libraries")
    soname = next((value for tag, value in tags if tag == _DT_SONAME), None)
    return (
        tuple(_text(view, strings + value) for value in needed),
        _text(view, strings + soname) if soname is not None else "",
    )


def _tags(view: memoryview, dynamic: Segment, header: Header) -> Iterator[tuple[int, int]]:
    form = struct.Struct(header.order + ("qQ" if header.wide else "iI"))
    for at in range(dynamic.offset, dynamic.offset + dynamic.size, form.size):
        if at + form.size > len(view):
            raise ElfError("its dynamic section lies behind its end")
        tag, value = form.unpack_from(view, at)
        if tag == _DT_NULL:
            return
        yield tag, value
