"""Pack files: the objects that a server sends, each checked against the name that its content gives it.

Format: gitformat-pack(5). Objects are passed on one by one as they are met. Small ones are kept in a cache of fixed
size; a large one is inflated into a file and mapped, so that memory is bounded, however large the repository and the
largest file in it. What a pack may inflate to is limited.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

COMMIT, TREE, BLOB, TAG, OFFSET_DELTA, REFERENCE_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
CACHE_BYTES = 96 << 20
MAPPED_BYTES = 16 << 20
"""What is larger goes into a file."""
MAX_OBJECT_BYTES = 1 << 32
MAX_INFLATED_BYTES = 1 << 36
"""Of all objects together."""
MAX_CHAIN = 10_000
"""Deltas upon deltas; git itself makes chains of 4,095 at most."""
SLICE_BYTES = 1 << 16
WRITTEN_AT_ONCE_BYTES = 1 << 20


class PackError(ValueError):
    """The pack is damaged or not one."""


@dataclass(frozen=True, slots=True)
class _Header:
    """Where an object of the pack lies: its data begins at ``data`` and holds ``size`` bytes when inflated."""

    kind: int
    size: int
    data: int
    base: int | bytes | None = None


class MappedFile:
    """The content of a large object: a file of its own, mapped while it is looked at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._map: mmap.mmap | None = None

    @property
    def map(self) -> mmap.mmap:
        """Its bytes; ``release`` them."""
        if self._map is None:
            with self.path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def release(self) -> None:
        """Map it no longer: each mapping takes a file descriptor."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def link(self, target: Path) -> None:
        """Give the file another name, on the same file system."""
        target.unlink(missing_ok=True)
        target.hardlink_to(self.path)


Content: TypeAlias = bytes | MappedFile
Readable: TypeAlias = bytes | mmap.mmap
Take: TypeAlias = Callable[[str, bytes, Content], None]


def _readable(content: Content) -> Readable:
    return content.map if isinstance(content, MappedFile) else content


def _length(content: Content) -> int:
    return content.size if isinstance(content, MappedFile) else len(content)


def _size(data: Readable, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, position
        if shift > 63:
            raise PackError("a delta has an impossible size")


def _delta_head(base: Readable, delta: Readable) -> tuple[int, int]:
    """How large the object is that ``delta`` makes, and where its instructions begin."""
    try:
        size, position = _size(delta, 0)
        if size != len(base):
            raise PackError("a delta is for an object of another size")
        return _size(delta, position)
    except IndexError:
        raise PackError("a delta ends too early") from None


def _delta_parts(base: Readable, delta: Readable) -> Iterator[bytes]:
    """The pieces of the object that ``delta`` makes out of ``base``; raises ``PackError``."""
    wanted, position = _delta_head(base, delta)
    end = len(delta)
    try:
        while position < end:
            command = delta[position]
            position += 1
            if not command & 0x80:
                if not command:
                    raise PackError("a delta has an unknown instruction")
                if position + command > end:
                    raise PackError("a delta ends too early")
                part = delta[position : position + command]
                position += command
            else:
                start = length = 0
                for bit in range(4):
                    if command & (1 << bit):
                        start |= delta[position] << (8 * bit)
                        position += 1
                for bit in range(3):
                    if command & (0x10 << bit):
                        length |= delta[position] << (8 * bit)
                        position += 1
                length = length or 0x10000
                if start + length > len(base):
                    raise PackError("a delta copies from beyond its base")
                part = base[start : start + length]
            wanted -= len(part)
            if wanted < 0:
                break
            yield part
    except IndexError:
        raise PackError("a delta ends too early") from None
    if wanted:
        raise PackError("a delta makes an object of the wrong size")


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """The object that ``delta`` makes out of ``base``; raises ``PackError``."""
    return b"".join(_delta_parts(base, delta))


class Pack:
    """Reads a pack from a file, with room for large objects in ``directory``. Use as a context manager."""

    def __init__(self, path: Path, object_format: str, directory: Path) -> None:
        self._format = object_format
        self._raw = hashlib.new(object_format).digest_size
        with path.open("rb") as stream:
            try:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise PackError("the pack is empty") from None
        self._end = len(self._map) - self._raw
        self._directory = directory
        self._headers: dict[int, _Header] = {}
        self._names: dict[bytes, int] = {}
        self._cache: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._cached = 0
        self._inflated = 0
        self._large: dict[int, tuple[int, MappedFile]] = {}
        """Large objects stay in their files: deltas may build on them."""
        self._files: set[Path] = set()

    def __enter__(self) -> Pack:
        return self

    def __exit__(self, *_: object) -> None:
        for _kind, content in self._large.values():
            content.release()
        for path in self._files:
            path.unlink(missing_ok=True)
        self._map.close()

    def read(self, take: Take) -> int:
        """Call ``take(name, kind, content)`` for each object, kind being ``blob``, ``tree`` …; returns their number.

        Raises ``PackError``.
        """
        data = self._map
        if data[:4] != b"PACK" or len(data) < 12 + self._raw:
            raise PackError("what the server sent is not a pack")
        version, count = (int(each) for each in struct.unpack(">II", data[4:12]))
        if version != 2:
            raise PackError(f"pack version {version} is not known")
        if hashlib.new(self._format, memoryview(data)[: self._end]).digest() != data[self._end :]:
            raise PackError("the pack is damaged: its checksum is wrong")
        position = 12
        waiting: dict[bytes, list[int]] = {}
        for _ in range(count):
            header, start = self._header(position), position
            content, position = self._inflate(header)
            self._count(header.size)
            self._headers[start] = header
            if isinstance(header.base, bytes) and header.base not in self._names:
                # A delta may name a base that comes later: rare, but allowed.
                waiting.setdefault(header.base, []).append(start)
                self._drop(content)
                continue
            ready = waiting.pop(self._object(start, header, content, take), [])
            while ready:
                late = ready.pop()
                content, _ = self._inflate(self._headers[late])
                ready += waiting.pop(self._object(late, self._headers[late], content, take), [])
        if waiting:
            raise PackError("a delta names an object that is not in the pack")
        if position != self._end:
            raise PackError("the pack has something after its last object")
        return count

    def _object(self, start: int, header: _Header, content: Content, take: Take) -> bytes:
        """Pass on the object that begins at ``start``; returns its name."""
        kind = header.kind
        if header.base is not None:
            kind, base = self._content(self._base(start, header))
            content = self._applied(base, content)
            self._count(_length(content))
        self._keep(start, kind, content)
        label, readable = NAMES[kind], _readable(content)
        name = hashlib.new(self._format, b"%s %d\0" % (label, len(readable)))
        name.update(readable)
        self._names[name.digest()] = start
        take(name.hexdigest(), label, content)
        if isinstance(content, MappedFile):
            content.release()
        return name.digest()

    def _applied(self, base: Content, delta: Content) -> Content:
        """The object that a delta makes; the delta is not needed any more."""
        size, _ = _delta_head(_readable(base), _readable(delta))
        if size > MAX_OBJECT_BYTES:
            raise PackError(f"an object is larger than {MAX_OBJECT_BYTES:,} bytes")
        parts = _delta_parts(_readable(base), _readable(delta))
        result = self._spilled(parts) if size > MAPPED_BYTES else b"".join(parts)
        self._drop(delta)
        if isinstance(base, MappedFile):
            base.release()
        return result

    def _count(self, size: int) -> None:
        self._inflated += size
        if self._inflated > MAX_INFLATED_BYTES:
            raise PackError(f"the pack holds more than {MAX_INFLATED_BYTES:,} bytes")

    def _spilled(self, parts: Iterator[bytes]) -> MappedFile:
        descriptor, name = tempfile.mkstemp(prefix="large-", dir=self._directory)
        self._files.add(Path(name))
        with os.fdopen(descriptor, "wb", WRITTEN_AT_ONCE_BYTES) as out:
            out.writelines(parts)
        return MappedFile(Path(name))

    def _drop(self, content: Content) -> None:
        if isinstance(content, MappedFile):
            content.release()
            content.path.unlink()
            self._files.remove(content.path)

    def _keep(self, start: int, kind: int, content: Content) -> None:
        if isinstance(content, MappedFile):
            self._large[start] = (kind, content)
            return
        self._cache[start] = (kind, content)
        self._cached += len(content)
        while self._cached > CACHE_BYTES:
            _, (_, dropped) = self._cache.popitem(last=False)
            self._cached -= len(dropped)

    def _base(self, start: int, header: _Header) -> int:
        base = self._names[header.base] if isinstance(header.base, bytes) else start - (header.base or 0)
        if base not in self._headers:
            raise PackError("a delta names a place where no object begins")
        return base

    def _content(self, start: int) -> tuple[int, Content]:
        """Kind and content of an object that was met before, by following its chain of deltas."""
        deltas: list[Content] = []
        content: Content
        while True:
            if start in self._large:
                kind, content = self._large[start]
                break
            if start in self._cache:
                self._cache.move_to_end(start)
                kind, content = self._cache[start]
                break
            header = self._headers[start]
            content, _ = self._inflate(header)
            if header.base is None:
                kind = header.kind
                break
            deltas.append(content)
            if len(deltas) > MAX_CHAIN:
                raise PackError(f"a chain of more than {MAX_CHAIN:,} deltas")
            start = self._base(start, header)
        for delta in reversed(deltas):
            content = self._applied(content, delta)
        return kind, content

    def _header(self, position: int) -> _Header:
        data = self._map
        start = position
        try:
            byte = data[position]
            position += 1
            kind, size, shift = (byte >> 4) & 7, byte & 0x0F, 4
            while byte & 0x80:
                byte = data[position]
                position += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if size > MAX_OBJECT_BYTES or shift > 63:
                    raise PackError(f"an object is larger than {MAX_OBJECT_BYTES:,} bytes")
            if kind == OFFSET_DELTA:
                byte = data[position]
                position += 1
                back = byte & 0x7F
                while byte & 0x80:
                    byte = data[position]
                    position += 1
                    back = ((back + 1) << 7) | (byte & 0x7F)
                    if back > start:
                        break
                if not 0 < back <= start:
                    raise PackError("a delta names a place outside the pack")
                return _Header(kind, size, position, back)
            if kind == REFERENCE_DELTA:
                return _Header(kind, size, position + self._raw, data[position : position + self._raw])
        except IndexError:
            raise PackError("the pack ends too early") from None
        if kind not in NAMES:
            raise PackError(f"object kind {kind} is not known")
        return _Header(kind, size, position)

    def _inflate(self, header: _Header) -> tuple[Content, int]:
        """The data of an object, and where the next one begins."""
        position = header.data

        def parts() -> Iterator[bytes]:
            nonlocal position
            inflater = zlib.decompressobj()
            done = 0
            # What zlib does not use it copies: slices near the object's size keep that small.
            step = min(max(header.size + 64, 256), SLICE_BYTES)
            with memoryview(self._map) as view:
                while not inflater.eof:
                    with view[position : min(position + step, self._end)] as piece:
                        part = inflater.decompress(piece, min(header.size - done + 1, WRITTEN_AT_ONCE_BYTES))
                        # At its end zlib has what it does not use in both, where the output was limited before.
                        consumed = len(piece) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
                    position += consumed
                    done += len(part)
                    if not consumed and not part and position >= self._end:
                        raise PackError("the pack ends inside an object")
                    if done > header.size or (not consumed and not part):
                        raise PackError("an object has another size than it says")
                    yield part
            if done != header.size:
                raise PackError("an object has another size than it says")

        try:
            content = self._spilled(parts()) if header.size > MAPPED_BYTES else b"".join(parts())
        except zlib.error as error:
            raise PackError(f"an object cannot be inflated: {error}") from None
        return content, position


def write_once(directory: Path, name: str, content: bytes) -> None:
    """Keep the content of a file under its object name."""
    descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
