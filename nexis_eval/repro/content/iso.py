"""ISO 9660 images with Rock Ridge names, El Torito boot images and a hybrid boot sector. Pure.

Layout after ECMA-119, the Rock Ridge Interchange Protocol 1.12 and UEFI 2.10 (GPT).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from functools import partial

from nexis_eval.repro.content.base import Data, FormatError, Parsed, Part

SECTOR = 2048
SYSTEM_AREA = 16 * SECTOR
DIRECTORY = 2
TIME_LABELS = ("creation time", "mtime", "atime", "ctime", "backup time", "expiration time", "effective time")


def is_iso(data: Data) -> bool:
    """Whether there is a volume descriptor."""
    return len(data) > SYSTEM_AREA + 6 and data[SYSTEM_AREA + 1 : SYSTEM_AREA + 6] == b"CD001"


def iso_image(data: Data) -> Parsed:
    """Files as parts, the volume descriptor's texts and times as fields, the boot sectors as one more part."""
    primary = data[SYSTEM_AREA : SYSTEM_AREA + SECTOR]
    fields = [
        ("volume", primary[40:72].decode("latin-1").strip()),
        ("publisher", primary[318:446].decode("latin-1").strip()),
        ("preparer", primary[446:574].decode("latin-1").strip()),
        ("application", primary[574:702].decode("latin-1").strip()),
    ]
    for index, label in enumerate(("creation", "modification", "expiration", "effective")):
        stamp = primary[813 + 17 * index : 829 + 17 * index].decode("latin-1")
        fields.append((f"{label} time", stamp))
    if data[512:520] == b"EFI PART":
        fields += _gpt(data)
    parts = [Part("boot sectors", bytes(data[:SYSTEM_AREA]))]
    try:
        extent, size = struct.unpack_from("<I4xI", primary, 158)
        parts += _directory(data, extent, size, "", frozenset())
        parts += _boot_images(data)
    except (struct.error, IndexError) as error:
        raise FormatError(str(error)) from None
    return Parsed("iso9660", tuple(fields), tuple(parts))


def _directory(data: Data, extent: int, size: int, prefix: str, above: frozenset[int]) -> Iterator[Part]:
    if extent in above:
        raise FormatError("a directory contains itself")
    at, end = extent * SECTOR, extent * SECTOR + size
    while at < end:
        length = data[at]
        if length == 0:
            at = (at // SECTOR + 1) * SECTOR
            continue
        record = bytes(data[at : at + length])
        at += length
        name_length = record[32]
        raw_name = record[33 : 33 + name_length]
        if raw_name in (b"\0", b"\1"):
            continue
        place, length_bytes = struct.unpack_from("<I4xI", record, 2)
        name, fields = _rock_ridge(data, record, 33 + name_length + (1 - name_length % 2))
        path = prefix + (name or raw_name.split(b";")[0].decode("latin-1"))
        stamp = "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(1900 + record[18], *record[19:24])
        about = (("mtime", stamp), *fields)
        if record[25] & DIRECTORY:
            yield Part(path + "/", b"", about)
            yield from _directory(data, place, length_bytes, path + "/", above | {extent})
        else:
            yield Part(path, partial(_extent, data, place, length_bytes), about)


def _extent(data: Data, block: int, size: int) -> bytes:
    return bytes(data[block * SECTOR : block * SECTOR + size])


def _rock_ridge(data: Data, record: bytes, at: int) -> tuple[str, list[tuple[str, str]]]:
    """Name and POSIX attributes from the system use area and its continuations."""
    name, target = b"", []
    fields: list[tuple[str, str]] = []
    area = record[at:]
    continuations = 0
    while len(area) >= 4:
        signature, length = area[:2], area[2]
        if length < 4:
            break
        body = area[4:length]
        area = area[length:]
        if signature == b"NM":
            name += body[1:]
        elif signature == b"PX":
            mode, _, uid, gid = (struct.unpack_from("<I", body, 8 * index)[0] for index in range(4))
            fields += [("mode", f"{mode:06o}"), ("uid", str(uid)), ("gid", str(gid))]
        elif signature == b"TF":
            fields += _times(body)
        elif signature == b"SL":
            target.append(body[1:])
        elif signature == b"CE" and continuations < 16:
            block, offset, size = (struct.unpack_from("<I", body, 8 * index)[0] for index in range(3))
            continuations += 1
            area += bytes(data[block * SECTOR + offset : block * SECTOR + offset + size])
    if target:
        fields.append(("link target", _link(b"".join(target))))
    return name.decode(errors="replace"), fields


def _times(body: bytes) -> list[tuple[str, str]]:
    """The stamps of a ``TF`` entry in their short form, seven bytes each; the long form is shown as it is."""
    if body[0] & 0x80:
        return [("times", body[1:].hex())]
    labels = [label for bit, label in enumerate(TIME_LABELS) if body[0] >> bit & 1]
    stamps = [body[at : at + 7] for at in range(1, len(body), 7)]
    return [
        (f"Rock Ridge {label}", "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(1900 + stamp[0], *stamp[1:6]))
        for label, stamp in zip(labels, stamps, strict=False)
    ]


def _link(components: bytes) -> str:
    words = []
    while len(components) >= 2:
        flags, length = components[0], components[1]
        special = {2: ".", 4: "..", 8: ""}.get(flags & 14)
        words.append(special if special is not None else components[2 : 2 + length].decode(errors="replace"))
        components = components[2 + length :]
    return "/".join(words)


def _boot_images(data: Data) -> Iterator[Part]:
    """The El Torito catalogue; its images are usually files of the tree as well and are compared there."""
    at = SYSTEM_AREA
    while data[at] != 255:
        if data[at] == 0 and data[at + 7 : at + 30] == b"EL TORITO SPECIFICATION":
            catalogue = struct.unpack_from("<I", data, at + 71)[0] * SECTOR
            yield Part("El Torito boot catalogue", bytes(data[catalogue : catalogue + SECTOR]))
        at += SECTOR


def _gpt(data: Data) -> list[tuple[str, str]]:
    fields = [("disk uuid", str(uuid.UUID(bytes_le=bytes(data[568:584]))))]
    first, count, size = struct.unpack_from("<QII", data, 512 + 72)
    for index in range(min(count, 128)):
        entry = bytes(data[first * 512 + index * size : first * 512 + (index + 1) * size])
        if any(entry[:16]):
            fields.append((f"partition {index + 1} uuid", str(uuid.UUID(bytes_le=entry[16:32]))))
    return fields
