"""ELF files: header, notes, sections; symbol tables and string tables as text. Pure.

Layout after the System V ABI, chapter 4, and elf(5).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from nexis_eval.repro.content.base import MAX_EXPANDED_BYTES, Data, FormatError, Parsed, Part

TYPES = {1: "relocatable", 2: "executable", 3: "shared object", 4: "core"}
SYMBOLS, STRINGS, NOBITS, DYNAMIC_SYMBOLS = 2, 3, 8, 11
COMPRESSED = 0x800
DEBUG_STRINGS = (".debug_str", ".debug_line_str")
"""Paths and names, one after the other: shown as lines."""


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


def elf_file(data: Data) -> Parsed:
    """Sections as parts, the header as fields; raises ``FormatError`` if it is damaged."""
    raw = bytes(data)
    try:
        return _parse(raw)
    except (struct.error, IndexError, ValueError, UnicodeDecodeError) as error:
        raise FormatError(str(error)) from None


def _parse(raw: bytes) -> Parsed:
    wide, order = raw[4] == 2, "<" if raw[5] == 1 else ">"
    layout = order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH")
    kind, machine, _, entry, _, section_at, flags, _, _, _, entry_size, count, names = struct.unpack_from(
        layout, raw, 16
    )
    fields = [
        ("type", TYPES.get(kind, str(kind))),
        ("machine", str(machine)),
        ("entry address", f"{entry:#x}"),
        ("flags", f"{flags:#x}"),
    ]
    sections = _sections(raw, order, wide, section_at, entry_size, count, names)
    parts = []
    for section in sections:
        if section.kind in (0, NOBITS):
            continue
        body = raw[section.offset : section.offset + section.size]
        if section.flags & COMPRESSED:
            body = _expand(body, order, wide)
        if section.name == ".note.gnu.build-id":
            fields.append(("build id", body[16:].hex()))
            continue
        if section.kind in (SYMBOLS, DYNAMIC_SYMBOLS):
            strings = sections[section.link]
            body = _symbols(body, raw[strings.offset : strings.offset + strings.size], order, wide, sections)
        if section.name in DEBUG_STRINGS:
            body = body.replace(b"\0", b"\n")
        about = (("flags", f"{section.flags:#x}"),)
        parts.append(Part(section.name, body, about))
    return Parsed("elf", tuple(fields), tuple(parts))


def _sections(
    raw: bytes, order: str, wide: bool, start: int, entry_size: int, count: int, names: int
) -> list[_Section]:
    layout = order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII")
    rows = [struct.unpack_from(layout, raw, start + index * entry_size) for index in range(count)]
    table = raw[rows[names][4] : rows[names][4] + rows[names][5]] if rows else b""
    return [
        _Section(
            table[row[0] : table.index(b"\0", row[0])].decode(errors="replace"),
            row[1],
            row[2],
            row[3],
            row[4],
            row[5],
            row[6],
            row[9],
        )
        for row in rows
    ]


def _expand(body: bytes, order: str, wide: bool) -> bytes:
    """A section stored with ``SHF_COMPRESSED``; anything but zlib stays as it is."""
    method = struct.unpack_from(order + "I", body)[0]
    if method != 1:
        return body
    return zlib.decompressobj().decompress(body[24 if wide else 12 :], MAX_EXPANDED_BYTES)


def _symbols(body: bytes, strings: bytes, order: str, wide: bool, sections: list[_Section]) -> bytes:
    """A symbol table as lines: value, size, kind, section, name. Values of relocatable files are offsets."""
    layout = struct.Struct(order + ("IBBHQQ" if wide else "IIIBBH"))
    lines = []
    for row in layout.iter_unpack(body[: len(body) // layout.size * layout.size]):
        if wide:
            name_at, info, _, index, value, size = row
        else:
            name_at, value, size, info, _, index = row
        name = strings[name_at : strings.find(b"\0", name_at)].decode(errors="replace")
        where = sections[index].name if 0 < index < len(sections) else str(index)
        lines.append(f"{value:016x} {size:6} {info:#04x} {where} {name}")
    return "\n".join(lines).encode()
