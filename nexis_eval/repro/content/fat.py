"""FAT12, FAT16 and FAT32 images, as EFI system partitions are. Pure.

Layout after Microsoft's "FAT: General Overview of On-Disk Format" 1.03.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from nexis_eval.repro.content.base import Data, FormatError, Parsed, Part

DELETED, VOLUME, LONG_NAME, SUBDIRECTORY = 0xE5, 0x08, 0x0F, 0x10


def is_fat(data: Data) -> bool:
    """Whether there is a boot sector with a FAT parameter block."""
    if len(data) < 512 or data[510:512] != b"\x55\xaa":
        return False
    return data[54:57] == b"FAT" or data[82:87] == b"FAT32"


class _Image:
    def __init__(self, data: Data) -> None:
        self.data = data
        (self.sector, per_cluster, reserved, fats, roots, small, _, fat_size) = struct.unpack_from(
            "<HBHBHHBH", data, 11
        )
        self.wide = data[82:87] == b"FAT32"
        large, fat_size_32, self.root = struct.unpack_from("<I", data, 32)[0], 0, 0
        if self.wide:
            fat_size_32, self.root = struct.unpack_from("<I4xI", data, 36)
        fat_size = fat_size or fat_size_32
        self.cluster = self.sector * per_cluster
        self.fat = reserved * self.sector
        self.root_at = self.fat + fats * fat_size * self.sector
        self.root_size = roots * 32
        self.first = self.root_at + -(-self.root_size // self.sector) * self.sector
        clusters = ((small or large) * self.sector - self.first) // self.cluster
        self.bits = 32 if self.wide else 12 if clusters < 4085 else 16

    def fields(self) -> tuple[tuple[str, str], ...]:
        at = 67 if self.wide else 39
        serial = struct.unpack_from("<I", self.data, at)[0]
        label = bytes(self.data[at + 4 : at + 15]).decode("latin-1").strip()
        return (("serial", f"{serial:08x}"), ("volume", label), ("type", f"FAT{self.bits}"))

    def _next(self, cluster: int) -> int:
        if self.bits == 12:
            pair = struct.unpack_from("<H", self.data, self.fat + cluster * 3 // 2)[0]
            return int(pair >> 4 if cluster & 1 else pair & 0xFFF)
        if self.bits == 16:
            return int(struct.unpack_from("<H", self.data, self.fat + cluster * 2)[0])
        return int(struct.unpack_from("<I", self.data, self.fat + cluster * 4)[0] & 0x0FFFFFFF)

    def chain(self, cluster: int) -> bytes:
        end = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}[self.bits]
        out, seen = [], set()
        while 2 <= cluster < end:
            if cluster in seen:
                raise FormatError("a cluster chain bites its tail")
            seen.add(cluster)
            at = self.first + (cluster - 2) * self.cluster
            out.append(bytes(self.data[at : at + self.cluster]))
            cluster = self._next(cluster)
        return b"".join(out)

    def walk(self, listing: bytes, prefix: str, depth: int = 0) -> Iterator[Part]:
        if depth > 64:
            raise FormatError("directories too deep")
        long_name = ""
        for at in range(0, len(listing) - 31, 32):
            row = listing[at : at + 32]
            if row[0] == 0:
                return
            if row[0] == DELETED:
                continue
            if row[11] == LONG_NAME:
                raw = row[1:11] + row[14:26] + row[28:32]
                long_name = raw.decode("utf-16-le", "replace").split("\0")[0] + long_name
                continue
            short = row[:8].decode("latin-1").rstrip()
            extension = row[8:11].decode("latin-1").rstrip()
            name = long_name or (f"{short}.{extension}" if extension else short)
            long_name = ""
            if name in (".", ".."):
                continue
            high, time, date, low, size = struct.unpack_from("<HHHHI", row, 20)
            created_tenth, created_time, created_date = struct.unpack_from("<BHH", row, 13)
            fields = (
                ("mtime", _stamp(date, time)),
                ("creation time", f"{_stamp(created_date, created_time)} +{created_tenth}0ms"),
                ("attributes", f"{row[11]:#04x}"),
            )
            cluster = low | high << 16
            if row[11] & VOLUME:
                yield Part(f"volume label {name}", b"", fields)
            elif row[11] & SUBDIRECTORY:
                yield Part(f"{prefix}{name}/", b"", fields)
                yield from self.walk(self.chain(cluster), f"{prefix}{name}/", depth + 1)
            else:
                body = self.chain(cluster)[:size]
                yield Part(prefix + name, body, fields)


def _stamp(date: int, time: int) -> str:
    return (
        f"{1980 + (date >> 9):04}-{date >> 5 & 15:02}-{date & 31:02} "
        f"{time >> 11:02}:{time >> 5 & 63:02}:{(time & 31) * 2:02}"
    )


def fat_image(data: Data) -> Parsed:
    """Files as parts, serial number and label as fields."""
    try:
        image = _Image(data)
        root = image.chain(image.root) if image.wide else bytes(data[image.root_at : image.root_at + image.root_size])
        return Parsed("fat", image.fields(), tuple(image.walk(root, "")))
    except (struct.error, IndexError, ZeroDivisionError) as error:
        raise FormatError(str(error)) from None
