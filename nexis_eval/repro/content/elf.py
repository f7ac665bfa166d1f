"""ELF files: header, notes, sections; symbol tables and string tables as text. Pure.

Layout after the System V ABI, chapter 4, and elf(5).
"""

from __future__ import annotations

import struct
import zlib
from functools import partial

from nexis_eval.elf import Header, Section, read_header, read_sections
from nexis_eval.repro.content.base import DAMAGE, MAX_EXPANDED_BYTES, Data, FormatError, Parsed, Part

TYPES = {1: "relocatable", 2: "executable", 3: "shared object", 4: "core"}
SYMBOLS, STRINGS, NOBITS, DYNAMIC_SYMBOLS = 2, 3, 8, 11
COMPRESSED = 0x800
DEBUG_STRINGS = (".debug_str", ".debug_line_str")
"""Paths and names, one after the other: shown as lines."""
_MAX_BUILD_ID = 256


def elf_file(data: Data) -> Parsed:
    """Sections as parts, the header as fields; raises ``FormatError`` if it is damaged."""
    raw = bytes(data)
    try:
        header = read_header(memoryview(raw))
        sections = read_sections(memoryview(raw), header)
    except DAMAGE as error:
        raise FormatError(str(error)) from None
    fields = [
        ("type", TYPES.get(header.kind, str(header.kind))),
        ("machine", str(header.machine)),
        ("entry address", f"{header.entry:#x}"),
        ("flags", f"{header.flags:#x}"),
    ]
    parts = []
    for section in sections:
        if section.kind in (0, NOBITS):
            continue
        if section.name == ".note.gnu.build-id":
            note = raw[section.offset : section.offset + min(section.size, _MAX_BUILD_ID)]
            fields.append(("build id", note[16:].hex()))
            continue
        about = (("flags", f"{section.flags:#x}"),)
        # Sections of a file that lies may overlap: each is read only when it is compared.
        parts.append(Part(section.name, partial(_body, raw, header, sections, section), about))
    return Parsed("elf", tuple(fields), tuple(parts))


def _body(raw: bytes, header: Header, sections: list[Section], section: Section) -> bytes:
    body = raw[section.offset : section.offset + section.size]
    if section.flags & COMPRESSED:
        body = _expand(body, header.order, header.wide)
    if section.kind in (SYMBOLS, DYNAMIC_SYMBOLS):
        strings = sections[section.link]
        text = raw[strings.offset : strings.offset + strings.size]
        body = _symbols(body, text, header.order, header.wide, sections)
    if section.name in DEBUG_STRINGS:
        body = body.replace(b"\0", b"\n")
    return body


def _expand(body: bytes, order: str, wide: bool) -> bytes:
    """A section stored with ``SHF_COMPRESSED``; anything but zlib stays as it is."""
    method = struct.unpack_from(order + "I", body)[0]
    if method != 1:
        return body
    return zlib.decompressobj().decompress(body[24 if wide else 12 :], MAX_EXPANDED_BYTES)


def _symbols(body: bytes, strings: bytes, order: str, wide: bool, sections: list[Section]) -> bytes:
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
