"""Squashfs 4.0 images, little-endian. Pure.

Layout after the kernel's ``fs/squashfs/squashfs_fs.h`` and https://dr-emann.github.io/squashfs/.
"""

from __future__ import annotations

import lzma
import stat
import struct
import zlib
from collections.abc import Callable, Iterator

from nexis_eval.repro.content.base import Data, FormatError, Parsed, Part

MAGIC = b"hsqs"
COMPRESSORS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
METADATA_BLOCK = 8192
NO_FRAGMENT = 0xFFFFFFFF
_SUPER = struct.Struct("<4sIIIIHHHHHHQQQQQQQQ")


def _expander(compressor: int) -> Callable[[bytes], bytes]:
    if compressor == 1:
        return zlib.decompress
    if compressor == 2:
        return lzma.decompress
    if compressor == 4:
        return lzma.decompress
    if compressor == 6:
        import zstandard

        return lambda raw: zstandard.ZstdDecompressor().decompress(raw, max_output_size=1 << 20)
    raise FormatError(f"compressor {COMPRESSORS.get(compressor, compressor)} is not supported")


class _Metadata:
    """A run of metadata blocks, read as a stream from any place in it."""

    def __init__(self, data: Data, start: int, expand: Callable[[bytes], bytes]) -> None:
        self._data, self._start, self._expand = data, start, expand
        self._blocks: dict[int, tuple[bytes, int]] = {}

    def _block(self, offset: int) -> tuple[bytes, int]:
        """The block at ``offset`` from the start, and where the next one begins."""
        known = self._blocks.get(offset)
        if known is None:
            at = self._start + offset
            header = struct.unpack_from("<H", self._data, at)[0]
            size = header & 0x7FFF
            body = bytes(self._data[at + 2 : at + 2 + size])
            known = self._blocks[offset] = (body if header & 0x8000 else self._expand(body), offset + 2 + size)
        return known

    def read(self, block: int, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` in the block at ``block``."""
        out = b""
        while len(out) < size:
            body, following = self._block(block)
            piece = body[offset : offset + size - len(out)]
            if not piece:
                if offset < len(body):
                    raise FormatError("a metadata block is too short")
                block, offset = following, offset - len(body)
                continue
            out += piece
            block, offset = following, 0
        return out


class _Image:
    def __init__(self, data: Data) -> None:
        (
            _,
            self.inodes,
            self.mkfs_time,
            self.block_size,
            fragments,
            compressor,
            _,
            self.flags,
            ids,
            _,
            _,
            self.root,
            self.bytes_used,
            id_at,
            _,
            inode_at,
            directory_at,
            fragment_at,
            _,
        ) = _SUPER.unpack_from(data)
        self.compressor = COMPRESSORS.get(compressor, str(compressor))
        self.data = data
        self.expand = _expander(compressor)
        self.inode_table = _Metadata(data, inode_at, self.expand)
        self.directory_table = _Metadata(data, directory_at, self.expand)
        self.ids = [value for (value,) in struct.iter_unpack("<I", self._table(id_at, ids, 4))]
        self.fragments = list(struct.iter_unpack("<QII", self._table(fragment_at, fragments, 16)))

    def _table(self, at: int, count: int, size: int) -> bytes:
        """An indexed table: ``at`` lists the metadata blocks that hold its rows."""
        blocks = -(-count * size // METADATA_BLOCK)
        out = b""
        for (start,) in struct.iter_unpack("<Q", bytes(self.data[at : at + 8 * blocks])):
            out += _Metadata(self.data, start, self.expand).read(0, 0, min(METADATA_BLOCK, count * size - len(out)))
        return out

    def walk(self, reference: int, path: str, depth: int = 0) -> Iterator[Part]:
        """The entry at an inode reference and all below it."""
        if depth > 200:
            raise FormatError("directories too deep")
        block, offset = reference >> 16, reference & 0xFFFF
        kind, mode, uid, gid, mtime, _ = struct.unpack("<HHHHII", self.inode_table.read(block, offset, 16))

        def more(layout: str, skip: int = 16) -> tuple[int, ...]:
            return struct.unpack(layout, self.inode_table.read(block, offset, skip + struct.calcsize(layout))[skip:])

        fields = [
            ("mode", f"{mode:04o}"),
            ("uid", str(self.ids[uid])),
            ("gid", str(self.ids[gid])),
            ("mtime", str(mtime)),
        ]
        if kind in (1, 8):
            if kind == 1:
                start, _, size, position, _ = more("<IIHHI")
            else:
                _, size, start, _, _, position, _ = more("<IIIIHHI")
            yield Part(f"{path}/", b"", tuple(fields))
            for name, child in self._children(start, position, size - 3):
                yield from self.walk(child, f"{path}/{name}".lstrip("/"), depth + 1)
        elif kind in (2, 9):
            if kind == 2:
                start, fragment, position, size = more("<IIII")
                head = 32
            else:
                start, size, _, _, fragment, position, _ = more("<QQQIIII")
                head = 56
            yield Part(path, lambda: self._file(block, offset + head, start, fragment, position, size), tuple(fields))
        elif kind in (3, 10):
            _, size = more("<II")
            target = self.inode_table.read(block, offset, 24 + size)[24:]
            yield Part(path, b"", (*fields, ("link target", target.decode(errors="replace"))))
        elif kind in (4, 5, 11, 12):
            _, device = more("<II")
            letter = "c" if kind in (5, 12) else "b"
            yield Part(path, b"", (*fields, ("device", f"{letter} {device >> 8 & 0xFFF}:{device & 0xFF}")))
        else:
            yield Part(path, b"", (*fields, ("kind", stat.filemode(mode))))

    def _children(self, start: int, position: int, size: int) -> Iterator[tuple[str, int]]:
        if size <= 0:
            return
        listing = self.directory_table.read(start, position, size)
        at = 0
        while at < len(listing):
            count, block, _ = struct.unpack_from("<III", listing, at)
            at += 12
            for _ in range(count + 1):
                offset, _, _, length = struct.unpack_from("<HhHH", listing, at)
                name = listing[at + 8 : at + 9 + length].decode(errors="replace")
                at += 9 + length
                yield name, block << 16 | offset

    def _file(self, block: int, offset: int, start: int, fragment: int, position: int, size: int) -> bytes:
        whole = size // self.block_size if fragment != NO_FRAGMENT else -(-size // self.block_size)
        sizes = struct.unpack(f"<{whole}I", self.inode_table.read(block, offset, 4 * whole))
        out = []
        for index, stored in enumerate(sizes):
            length = stored & 0xFFFFFF
            body = bytes(self.data[start : start + length])
            start += length
            if not length:
                out.append(bytes(min(self.block_size, size - index * self.block_size)))
            else:
                out.append(body if stored & 1 << 24 else self.expand(body))
        if fragment != NO_FRAGMENT:
            place, stored, _ = self.fragments[fragment]
            body = bytes(self.data[place : place + (stored & 0xFFFFFF)])
            tail = body if stored & 1 << 24 else self.expand(body)
            out.append(tail[position : position + size % self.block_size])
        return b"".join(out)


def squashfs_image(data: Data) -> Parsed:
    """Files as parts, the superblock's values as fields."""
    try:
        image = _Image(data)
        fields = (
            ("mkfs time", str(image.mkfs_time)),
            ("compressor", image.compressor),
            ("block size", str(image.block_size)),
            ("inodes", str(image.inodes)),
            ("flags", f"{image.flags:#06x}"),
            ("size", str(image.bytes_used)),
        )
        return Parsed("squashfs", fields, tuple(image.walk(image.root, "")))
    except (struct.error, IndexError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
        raise FormatError(str(error)) from None
