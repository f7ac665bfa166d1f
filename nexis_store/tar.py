"""Reads tar archives of every kind that GNU tar reads: v7, ustar, GNU, pax, sparse files. Pure.

Formats: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar's manual, "Basic Tar Format" and
"Storing Sparse Files". A header that is not one, or an end in the middle, is an error, never the end of the archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nexis_store.compression import Decompressed
from nexis_store.members import (
    ARCHIVE_CHUNK,
    BadArchiveError,
    Kind,
    Limits,
    Member,
    Meter,
    Read,
    UnsupportedArchiveError,
    relative_path,
    shown,
)
from nexis_store.names import decode, encode

XATTR = "SCHILY.xattr."
MAX_EXTENSION_BYTES = 1 << 22
"""So long may a header be that extends another one: a path has 4,096 bytes, an extended attribute 65,536."""
MAX_EXTENSIONS = 32
"""So many headers may extend one member."""
MAX_SPARSE_PARTS = 1 << 20
_BLOCK = 512
_HOLES = ("GNU.sparse.offset", "GNU.sparse.numbytes")
"""Keys of the first format for files with holes, which are repeated for each part."""
_OCTAL = re.compile(rb" *([0-7]*)(?:[ \0]|$)")
_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]*)?")


class NotTarError(BadArchiveError):
    """The first block is not the header of a tar archive."""


@dataclass(frozen=True, slots=True)
class _Header:
    name: str
    type: bytes
    size: int
    mode: int
    uid: int
    gid: int
    target: str
    uname: str
    gname: str
    block: bytes


def _number(field: bytes, what: str) -> int:
    """A number in octal digits, or in base 256 where the first bit is set; none at all is 0."""
    if field[0] & 0x80:
        number = int.from_bytes(field, "big", signed=False) - (0x80 << 8 * (len(field) - 1))
        if field[0] == 0xFF:
            number = int.from_bytes(field, "big", signed=True)
        if number < 0:
            raise BadArchiveError(f"a header has the negative {what} {number}")
        return number
    match = _OCTAL.match(field)
    if match is None:
        raise BadArchiveError(f"a header has {field!r} for a {what}")
    return int(match[1] or b"0", 8)


def _text(field: bytes) -> str:
    return decode(field.partition(b"\0")[0])


def has_checksum(block: bytes) -> bool:
    """Whether a block of 512 bytes is a header: the sum of its bytes (signed ones, for some old programs) says so."""
    match = _OCTAL.match(block[148:156])
    if match is None or not match[1]:
        return False
    expected = int(match[1], 8)
    total = sum(block[:148]) + 256 + sum(block[156:])
    negative = sum(byte > 127 for byte in block[:148]) + sum(byte > 127 for byte in block[156:])
    return expected in (total, total - 256 * negative)


def _parse(block: bytes) -> _Header:
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    kind = block[156:157]
    return _Header(
        name,
        kind,
        0 if kind == b"1" else _number(block[124:136], "size"),
        _number(block[100:108], "mode"),
        _number(block[108:116], "owner") if kind in b"\x000123567DS" else 0,
        _number(block[116:124], "group") if kind in b"\x000123567DS" else 0,
        _text(block[157:257]),
        _text(block[265:297]) if block[257:262] == b"ustar" else "",
        _text(block[297:329]) if block[257:262] == b"ustar" else "",
        block,
    )


def _records(data: bytes) -> Iterator[tuple[str, str]]:
    """The records ``LENGTH KEY=VALUE`` of a pax header."""
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 12)
        digits = data[at:blank] if blank > 0 else b""
        if not digits.isdigit():
            raise BadArchiveError("a pax header is damaged: a record does not begin with its length")
        end = at + int(digits)
        if end > len(data) or data[end - 1 : end] != b"\n" or end <= blank + 1:
            raise BadArchiveError("a pax header is damaged: a record does not have the length that it says")
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals:
            raise BadArchiveError("a pax header is damaged: a record has no '='")
        yield decode(key), decode(value)
        at = end


def _pax_number(pax: Mapping[str, str], key: str, default: int) -> int:
    text = pax.get(key, "")
    if not text:
        return default
    if not _DECIMAL.fullmatch(text):
        raise BadArchiveError(f"a pax header has {shown(text)} for {key}")
    return int(text.partition(".")[0])


class _Reader:
    """One archive: the blocks that are left, and what headers say about those that follow."""

    def __init__(self, stream: Decompressed, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter
        self._global: dict[str, str] = {}
        self._pending = 0
        """What of the current member's data and its padding has not been read."""
        self._name = ""

    def _block(self) -> bytes:
        """The next block; empty at the end."""
        data = self._stream.read(_BLOCK)
        while 0 < len(data) < _BLOCK and (more := self._stream.read(_BLOCK - len(data))):
            data += more
        return data

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size and (part := self._stream.read(min(size, ARCHIVE_CHUNK))):
            parts.append(part)
            size -= len(part)
        if size:
            raise BadArchiveError(f"it ends in the middle of {shown(self._name)}: the file was cut")
        return b"".join(parts)

    def _skip(self) -> None:
        while self._pending:
            self._pending -= len(self._exactly(min(self._pending, ARCHIVE_CHUNK)))

    def _extension(self, size: int) -> bytes:
        if size > MAX_EXTENSION_BYTES:
            raise BadArchiveError(f"a header that extends another one has {size:,} bytes")
        return self._exactly(size + -size % _BLOCK)[:size]

    def members(self) -> Iterator[Member]:
        """Every member up to the mark of the end."""
        first = True
        while True:
            pax: dict[str, str] = {}
            holes: list[tuple[str, str]] = []
            long_name = long_target = None
            extensions = 0
            while True:
                block = self._block()
                if len(block) < _BLOCK or not any(block):
                    if extensions:
                        raise BadArchiveError("it ends after a header that extends another one")
                    self._end(block, first)
                    return
                if not has_checksum(block):
                    if first:
                        raise NotTarError("it is not a tar archive")
                    raise BadArchiveError(f"the header after {shown(self._name)} is damaged: its checksum is wrong")
                first = False
                header = _parse(block)
                if header.type not in b"LKxXgV":
                    break
                extensions += 1
                if extensions > MAX_EXTENSIONS:
                    raise BadArchiveError(f"more than {MAX_EXTENSIONS} headers extend one entry")
                if header.type == b"V":
                    continue
                data = self._extension(header.size)
                if header.type == b"L":
                    long_name = _text(data)
                elif header.type == b"K":
                    long_target = _text(data)
                elif header.type == b"g":
                    self._global.update(_records(data))
                else:
                    records = list(_records(data))
                    pax.update(records)
                    holes += [each for each in records if each[0] in _HOLES]
            if holes:
                pax["GNU.sparse.map"] = ",".join(value for _, value in holes)
            yield self._member(header, {**self._global, **pax}, long_name, long_target)
            self._skip()

    def _end(self, block: bytes, first: bool) -> None:
        if block and len(block) < _BLOCK:
            if first:
                raise NotTarError("it is not a tar archive")
            raise BadArchiveError(f"it ends in the middle of the header after {shown(self._name)}: the file was cut")
        if not block:
            if first:
                raise NotTarError("it is empty")
            if not self._stream.is_proved:
                raise BadArchiveError(
                    f"it ends after {shown(self._name)} without the mark of the end: the file was cut"
                )
        self._stream.drain()

    def _member(
        self, header: _Header, pax: Mapping[str, str], long_name: str | None, long_target: str | None
    ) -> Member:
        name = pax.get("path") or (long_name if long_name is not None else header.name)
        target = pax.get("linkpath") or (long_target if long_target is not None else header.target)
        size = _pax_number(pax, "size", header.size) if header.type != b"1" else 0
        self._name = name
        kind = self._kind(header.type, name)
        sparse = None
        self._pending = size + -size % _BLOCK if kind == "file" or header.type == b"D" else 0
        left = size
        if kind == "file":
            sparse, name, left = self._sparse(header, pax, name, size)
        path = relative_path(name)
        member_size = sparse.size if sparse else size if kind == "file" else 0
        self._meter.member(member_size)
        owner = pax.get("uname") or header.uname or str(_pax_number(pax, "uid", header.uid))
        group = pax.get("gname") or header.gname or str(_pax_number(pax, "gid", header.gid))
        return Member(
            path,
            kind,
            member_size,
            bool(header.mode & 0o111),
            relative_path(target) if kind == "hardlink" else target,
            header.mode & 0o7777,
            "root" if owner == "0" else owner,
            "root" if group == "0" else group,
            tuple((key[len(XATTR) :], encode(value)) for key, value in pax.items() if key.startswith(XATTR)),
            self._content(left, sparse) if kind == "file" else None,
        )

    def _kind(self, kind: bytes, name: str) -> Kind:
        if kind in b"0\x007":
            # Before there was a type for directories, a slash at the end told them.
            return "directory" if name.endswith("/") else "file"
        if kind == b"S":
            return "file"
        if kind == b"1":
            return "hardlink"
        if kind == b"2":
            return "symlink"
        if kind in b"5D":
            return "directory"
        if kind in b"346":
            return "device"
        if kind == b"M":
            raise BadArchiveError(f"{shown(name)} continues a file of another volume")
        raise UnsupportedArchiveError(f"{shown(name)} is an entry of the unknown kind {shown(decode(kind))}")

    def _content(self, size: int, sparse: _Sparse | None) -> Read:
        left = size

        def read(count: int) -> bytes:
            nonlocal left
            count = min(count, left)
            if not count:
                return b""
            data = self._stream.read(count)
            if not data:
                raise BadArchiveError(f"it ends in the middle of {shown(self._name)}: the file was cut")
            left -= len(data)
            self._pending -= len(data)
            return data

        return sparse.expanded(read) if sparse else read

    def _sparse(self, header: _Header, pax: Mapping[str, str], name: str, size: int) -> tuple[_Sparse | None, str, int]:
        """The map of a file with holes, its name, and the bytes of data that follow."""
        if header.type == b"S":
            parts = list(_old_parts(header.block[386:482]))
            more = header.block[482]
            while more:
                block = self._exactly(_BLOCK)
                parts += _old_parts(block[:504])
                more = block[504]
                if len(parts) > MAX_SPARSE_PARTS:
                    raise BadArchiveError(f"{shown(name)} has more than {MAX_SPARSE_PARTS:,} parts between holes")
            return _Sparse.checked(name, parts, _number(header.block[483:495], "size"), size), name, size
        if "GNU.sparse.major" in pax or "GNU.sparse.minor" in pax:
            version = pax.get("GNU.sparse.major"), pax.get("GNU.sparse.minor")
            if version != ("1", "0"):
                raise UnsupportedArchiveError(f"{shown(name)} has holes in an unknown format")
            name = pax.get("GNU.sparse.name", name)
            numbers = self._map(name)
            real = _pax_number(pax, "GNU.sparse.realsize", 0)
            left = size - (size + -size % _BLOCK - self._pending)
            parts = list(zip(numbers[::2], numbers[1::2], strict=True))
            return _Sparse.checked(name, parts, real, left), name, left
        if "GNU.sparse.map" in pax:
            words = pax["GNU.sparse.map"].split(",")
            if not all(_DECIMAL.fullmatch(each) for each in words) or len(words) % 2:
                raise BadArchiveError(f"{shown(name)} has a damaged map of its holes")
            numbers = [int(each) for each in words]
            name = pax.get("GNU.sparse.name", name)
            parts = list(zip(numbers[::2], numbers[1::2], strict=True))
            return _Sparse.checked(name, parts, _pax_number(pax, "GNU.sparse.size", 0), size), name, size
        if any(key.startswith("GNU.sparse.") for key in pax):
            raise BadArchiveError(f"{shown(name)} has a damaged map of its holes")
        return None, name, size

    def _map(self, name: str) -> list[int]:
        """The map that stands before the data: decimal numbers in lines, to a whole block."""
        text = b""
        wanted: int | None = None
        while True:
            if self._pending < _BLOCK:
                raise BadArchiveError(f"{shown(name)} has a damaged map of its holes")
            text += self._exactly(_BLOCK)
            self._pending -= _BLOCK
            lines = text.split(b"\n")[:-1]
            if wanted is None and lines:
                if not lines[0].isdigit() or int(lines[0][:9]) > MAX_SPARSE_PARTS:
                    raise BadArchiveError(f"{shown(name)} has a damaged map of its holes")
                wanted = 2 * int(lines[0])
            if wanted is None and len(text) >= _BLOCK:
                raise BadArchiveError(f"{shown(name)} has a damaged map of its holes")
            if wanted is not None and len(lines) > wanted:
                numbers = lines[1 : wanted + 1]
                if not all(each.isdigit() and len(each) < 20 for each in numbers):
                    raise BadArchiveError(f"{shown(name)} has a damaged map of its holes")
                return [int(each) for each in numbers]


def _old_parts(field: bytes) -> Iterator[tuple[int, int]]:
    for at in range(0, len(field), 24):
        if not field[at]:
            return
        yield _number(field[at : at + 12], "offset"), _number(field[at + 12 : at + 24], "size")


@dataclass(frozen=True, slots=True)
class _Sparse:
    """Where the data of a file with holes belongs: offsets and sizes, in order."""

    parts: tuple[tuple[int, int], ...]
    size: int

    @classmethod
    def checked(cls, name: str, parts: list[tuple[int, int]], size: int, data: int) -> _Sparse:
        """Raises ``BadArchiveError`` unless the parts follow one another, lie in the file and have all of the data."""
        at = 0
        for offset, length in parts:
            if offset < at or offset + length > size:
                raise BadArchiveError(f"{shown(name)} has a damaged map of its holes")
            at = offset + length
        if sum(length for _, length in parts) != data:
            raise BadArchiveError(f"{shown(name)} has other data than the map of its holes says")
        return cls(tuple(parts), size)

    def expanded(self, read: Read) -> Read:
        """The whole file: zeros in the holes."""

        def pieces() -> Iterator[bytes]:
            at = 0
            for offset, length in (*self.parts, (self.size, 0)):
                while at < offset:
                    hole = min(offset - at, ARCHIVE_CHUNK)
                    yield bytes(hole)
                    at += hole
                end = offset + length
                while at < end:
                    data = read(min(end - at, ARCHIVE_CHUNK))
                    yield data
                    at += len(data)

        everything, rest = pieces(), b""

        def taken(count: int) -> bytes:
            nonlocal rest
            if not rest:
                rest = next(everything, b"")
            data, rest = rest[:count], rest[count:]
            return data

        return taken


def tar_members(read: Read, limits: Limits) -> Iterator[Member]:
    """The members of a tar archive, compressed or not.

    Raises ``NotTarError`` if it is not one, ``BadArchiveError`` if it is damaged, ``UnsupportedArchiveError``.
    """
    meter = Meter(limits)
    return _Reader(Decompressed(read, meter), meter).members()


__all__ = ["NotTarError", "has_checksum", "tar_members"]
