"""PE/COFF images, as EFI programs and kernels with an EFI stub are. Pure.

Layout after the Microsoft PE/COFF specification.
"""

from __future__ import annotations

import struct

from nexis_eval.repro.content.base import Data, FormatError, Parsed, Part


def is_pe(data: Data) -> bool:
    """Whether an ``MZ`` file has a PE header."""
    if len(data) < 64:
        return False
    at = struct.unpack_from("<I", data, 60)[0]
    return bool(data[at : at + 4] == b"PE\0\0")


def pe_image(data: Data) -> Parsed:
    """Sections as parts, the headers' telling values as fields."""
    raw = bytes(data)
    try:
        at = struct.unpack_from("<I", raw, 60)[0] + 4
        machine, count, stamp, _, _, optional_size, characteristics = struct.unpack_from("<HHIIIHH", raw, at)
        optional = at + 20
        magic, linker_major, linker_minor = struct.unpack_from("<HBB", raw, optional)
        checksum = struct.unpack_from("<I", raw, optional + 64)[0]
        fields = (
            ("machine", f"{machine:#06x}"),
            ("time stamp", str(stamp)),
            ("characteristics", f"{characteristics:#06x}"),
            ("kind", {0x10B: "PE32", 0x20B: "PE32+"}.get(magic, f"{magic:#x}")),
            ("linker version", f"{linker_major}.{linker_minor}"),
            ("checksum", f"{checksum:#010x}"),
        )
        parts = [Part("headers before the sections", raw[:60])]
        for index in range(count):
            row = optional + optional_size + 40 * index
            name, _, _, size, offset = struct.unpack_from("<8sIIII", raw, row)
            parts.append(Part(name.rstrip(b"\0").decode(errors="replace"), raw[offset : offset + size]))
    except struct.error as error:
        raise FormatError(str(error)) from None
    return Parsed("pe", fields, tuple(parts))
