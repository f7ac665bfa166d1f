"""ext2, ext3 and ext4 images: files by extents or block maps, symlinks, the superblock's identifiers. Pure.

Layout after the kernel's ``Documentation/filesystems/ext4``.
"""

from __future__ import annotations

import stat
import struct
import uuid
from collections.abc import Iterator

from nexis_eval.repro.content.base import Data, FormatError, Parsed, Part

SUPERBLOCK = 1024
ROOT_INODE = 2
EXTENTS = 0x80000
INLINE = 0x10000000
WIDE = 0x80


def is_ext(data: Data) -> bool:
    """Whether there is a superblock."""
    return len(data) > 2048 and data[SUPERBLOCK + 56 : SUPERBLOCK + 58] == b"\x53\xef"


class _Image:
    def __init__(self, data: Data) -> None:
        self.data = data
        self.super = bytes(data[SUPERBLOCK : SUPERBLOCK + 1024])
        self.block_size = 1024 << self._number(24)
        self.inodes_per_group = self._number(40)
        self.inode_size = struct.unpack_from("<H", self.super, 88)[0] if self._number(76) else 128
        first = 1 if self.block_size == 1024 else 0
        wide = self._number(96) & WIDE
        self.descriptor_size = struct.unpack_from("<H", self.super, 254)[0] if wide else 32
        self.descriptors = (first + 1) * self.block_size

    def _number(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.super, at)[0])

    def fields(self) -> tuple[tuple[str, str], ...]:
        names = (("mount time", 44), ("write time", 48), ("check time", 64), ("mkfs time", 264))
        return (
            ("uuid", str(uuid.UUID(bytes=self.super[104:120]))),
            ("hash seed", self.super[236:252].hex()),
            ("volume", self.super[120:136].rstrip(b"\0").decode(errors="replace")),
            *((label, str(self._number(at))) for label, at in names),
            ("block size", str(self.block_size)),
            ("blocks", str(self._number(4))),
            ("features", " ".join(f"{self._number(at):#x}" for at in (92, 96, 100))),
        )

    def inode(self, number: int) -> bytes:
        group, index = divmod(number - 1, self.inodes_per_group)
        place = self.descriptors + group * self.descriptor_size
        descriptor = bytes(self.data[place : place + 64])
        table = struct.unpack_from("<I", descriptor, 8)[0]
        if self.descriptor_size >= 64:
            table |= struct.unpack_from("<I", descriptor, 40)[0] << 32
        at = table * self.block_size + index * self.inode_size
        return bytes(self.data[at : at + self.inode_size])

    def _block(self, number: int) -> bytes:
        return bytes(self.data[number * self.block_size : (number + 1) * self.block_size])

    def _extents(self, node: bytes, depth_left: int = 5) -> Iterator[tuple[int, int, int]]:
        _, count, _, depth = struct.unpack_from("<HHHH", node)
        if depth_left == 0:
            raise FormatError("extent tree too deep")
        for index in range(count):
            row = node[12 + 12 * index : 24 + 12 * index]
            if depth:
                low, high = struct.unpack_from("<4xIH", row)
                yield from self._extents(self._block(low | high << 32), depth_left - 1)
            else:
                logical, length, high, low = struct.unpack("<IHHI", row)
                if length <= 32768:
                    yield logical, length, low | high << 32

    def _mapped(self, node: bytes) -> Iterator[tuple[int, int, int]]:
        """Direct, indirect, doubly and triply indirect blocks."""
        per = self.block_size // 4
        pointers = struct.unpack("<15I", node)

        def below(pointer: int, level: int, logical: int) -> Iterator[tuple[int, int, int]]:
            if not pointer:
                return
            if level == 0:
                yield logical, 1, pointer
                return
            for index, child in enumerate(struct.unpack(f"<{per}I", self._block(pointer))):
                yield from below(child, level - 1, logical + index * per ** (level - 1))

        for index in range(12):
            yield from below(pointers[index], 0, index)
        logical = 12
        for level in (1, 2, 3):
            yield from below(pointers[11 + level], level, logical)
            logical += per**level

    def content(self, inode: bytes) -> bytes:
        low, flags = struct.unpack_from("<I", inode, 4)[0], struct.unpack_from("<I", inode, 32)[0]
        size = low | struct.unpack_from("<I", inode, 108)[0] << 32
        if flags & INLINE:
            return inode[40 : 40 + min(size, 60)]
        if size > len(self.data):
            raise FormatError("a file is larger than its image")
        runs = self._extents(inode[40:100]) if flags & EXTENTS else self._mapped(inode[40:100])
        out = bytearray(size)
        for logical, length, start in runs:
            at = logical * self.block_size
            piece = self.data[start * self.block_size : (start + length) * self.block_size]
            piece = piece[: max(0, size - at)]
            out[at : at + len(piece)] = piece
        return bytes(out)

    def walk(self, number: int, path: str, above: frozenset[int]) -> Iterator[Part]:
        inode = self.inode(number)
        mode, uid, _, accessed, changed, modified, _, gid = struct.unpack_from("<HHIIIIIH", inode)
        high_uid, high_gid = struct.unpack_from("<HH", inode, 120)
        fields = [
            ("mode", f"{mode:06o}"),
            ("uid", str(uid | high_uid << 16)),
            ("gid", str(gid | high_gid << 16)),
            ("mtime", str(modified)),
            ("ctime", str(changed)),
            ("atime", str(accessed)),
            ("inode", str(number)),
        ]
        if stat.S_ISDIR(mode):
            if number in above:
                raise FormatError("a directory contains itself")
            yield Part(f"{path}/", b"", tuple(fields))
            for name, child in self._children(self.content(inode)):
                yield from self.walk(child, f"{path}/{name}".lstrip("/"), above | {number})
        elif stat.S_ISLNK(mode):
            size = struct.unpack_from("<I", inode, 4)[0]
            target = inode[40 : 40 + size] if size < 60 else self.content(inode)
            yield Part(path, b"", (*fields, ("link target", target.decode(errors="replace"))))
        elif stat.S_ISREG(mode):
            yield Part(path, lambda: self.content(inode), tuple(fields))
        else:
            yield Part(path, b"", (*fields, ("device", inode[40:48].hex())))

    def _children(self, listing: bytes) -> Iterator[tuple[str, int]]:
        at = 0
        while at + 8 <= len(listing):
            number, length, name_length = struct.unpack_from("<IHB", listing, at)
            if length < 8:
                raise FormatError("a damaged directory")
            name = listing[at + 8 : at + 8 + name_length]
            at += length
            if number and name not in (b".", b".."):
                yield name.decode(errors="replace"), number


def ext_image(data: Data) -> Parsed:
    """Files as parts, the superblock's values as fields."""
    try:
        image = _Image(data)
        return Parsed("ext", image.fields(), tuple(image.walk(ROOT_INODE, "", frozenset())))
    except (struct.error, IndexError, ZeroDivisionError, RecursionError) as error:
        raise FormatError(str(error)) from None
