"""Pack files: the objects that a server sends, each checked against the name that its content gives it.

Format: gitformat-pack(5). Contents of files are written out one by one as they are met, so that memory is bounded by
the largest file and a fixed cache, however large the repository.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

COMMIT, TREE, BLOB, TAG, OFFSET_DELTA, REFERENCE_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
CACHE_BYTES = 96 << 20
MAX_OBJECT_BYTES = 1 << 32
SLICE_BYTES = 1 << 16


class PackError(ValueError):
    """The pack is damaged or not one."""


@dataclass(frozen=True, slots=True)
class _Header:
    """Where an object of the pack lies: its data begins at ``data`` and holds ``size`` bytes when inflated."""

    kind: int
    size: int
    data: int
    base: int | bytes | None = None


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """The object that ``delta`` makes out of ``base``; raises ``PackError``."""
    try:
        return _apply_delta(base, delta)
    except IndexError:
        raise PackError("a delta ends too early") from None


def _size(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, position


def _apply_delta(base: bytes, delta: bytes) -> bytes:
    size, position = _size(delta, 0)
    if size != len(base):
        raise PackError("a delta is for an object of another size")
    wanted, position = _size(delta, position)
    parts: list[bytes] = []
    while position < len(delta):
        command = delta[position]
        position += 1
        if not command & 0x80:
            if not command:
                raise PackError("a delta has an unknown instruction")
            parts.append(delta[position : position + command])
            position += command
            continue
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
        parts.append(base[start : start + length])
    result = b"".join(parts)
    if len(result) != wanted:
        raise PackError("a delta makes an object of the wrong size")
    return result


class Pack:
    """Reads a pack from a file. Use as a context manager."""

    def __init__(self, path: Path, object_format: str) -> None:
        self._format = object_format
        self._raw = hashlib.new(object_format).digest_size
        with path.open("rb") as stream:
            try:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise PackError("the pack is empty") from None
        self._headers: dict[int, _Header] = {}
        self._names: dict[bytes, int] = {}
        self._cache: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._cached = 0

    def __enter__(self) -> Pack:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()

    def read(self, take: Callable[[str, bytes, bytes], None]) -> int:
        """Call ``take(name, kind, content)`` for each object, kind being ``blob``, ``tree`` …; returns their number.

        Raises ``PackError``.
        """
        data = self._map
        if data[:4] != b"PACK" or len(data) < 12 + self._raw:
            raise PackError("what the server sent is no pack")
        version, count = struct.unpack(">II", data[4:12])
        count = int(count)
        if version != 2:
            raise PackError(f"pack version {version} is not known")
        end = len(data) - self._raw
        if hashlib.new(self._format, memoryview(data)[:end]).digest() != data[end:]:
            raise PackError("the pack is damaged: its checksum is wrong")
        position, waiting = 12, []
        for _ in range(count):
            header, start = self._header(position), position
            content, position = self._inflate(header, end)
            self._headers[start] = header
            if isinstance(header.base, bytes) and header.base not in self._names:
                waiting.append(start)
                continue
            self._object(start, header, content, take)
        # A delta may name a base that comes later: rare, but allowed.
        while waiting:
            ready = [each for each in waiting if self._headers[each].base in self._names]
            if not ready:
                raise PackError("a delta names an object that is not in the pack")
            for start in ready:
                self._object(start, self._headers[start], self._inflate(self._headers[start], end)[0], take)
            waiting = [each for each in waiting if each not in ready]
        if position != end:
            raise PackError("the pack has something after its last object")
        return count

    def _object(self, start: int, header: _Header, content: bytes, take: Callable[[str, bytes, bytes], None]) -> None:
        kind = header.kind
        if header.base is not None:
            kind, base = self._content(self._base(start, header))
            content = apply_delta(base, content)
        self._keep(start, kind, content)
        label = NAMES[kind]
        name = hashlib.new(self._format, b"%s %d\0" % (label, len(content)))
        name.update(content)
        self._names[name.digest()] = start
        take(name.hexdigest(), label, content)

    def _keep(self, start: int, kind: int, content: bytes) -> None:
        if len(content) > CACHE_BYTES:
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

    def _content(self, start: int) -> tuple[int, bytes]:
        """Kind and content of an object that was met before, by following its chain of deltas."""
        deltas: list[bytes] = []
        end = len(self._map) - self._raw
        while start not in self._cache:
            header = self._headers[start]
            content, _ = self._inflate(header, end)
            if header.base is None:
                kind = header.kind
                break
            deltas.append(content)
            start = self._base(start, header)
        else:
            self._cache.move_to_end(start)
            kind, content = self._cache[start]
        for delta in reversed(deltas):
            content = apply_delta(content, delta)
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
            if size > MAX_OBJECT_BYTES:
                raise PackError("an object is larger than 4 GiB")
            if kind == OFFSET_DELTA:
                byte = data[position]
                position += 1
                back = byte & 0x7F
                while byte & 0x80:
                    byte = data[position]
                    position += 1
                    back = ((back + 1) << 7) | (byte & 0x7F)
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

    def _inflate(self, header: _Header, end: int) -> tuple[bytes, int]:
        """The data of an object, and where the next one begins."""
        view = memoryview(self._map)
        try:
            inflater = zlib.decompressobj()
            parts: list[bytes] = []
            position, done = header.data, 0
            # What zlib does not use it copies: slices near the object's size keep that small.
            step = min(max(header.size + 64, 256), SLICE_BYTES)
            while not inflater.eof:
                if position >= end:
                    raise PackError("the pack ends inside an object")
                part = inflater.decompress(view[position : min(position + step, end)], header.size - done + 1)
                consumed = min(step, end - position) - len(inflater.unused_data) - len(inflater.unconsumed_tail)
                position += consumed
                done += len(part)
                parts.append(part)
                if done > header.size or (not consumed and not part):
                    raise PackError("an object has another size than it says")
            if done != header.size:
                raise PackError("an object has another size than it says")
            return b"".join(parts), position
        except zlib.error as error:
            raise PackError(f"an object cannot be inflated: {error}") from None
        finally:
            view.release()


def write_once(directory: Path, name: str, content: bytes) -> None:
    """Keep the content of a file under its object name."""
    descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
