"""Decompression to the end and with proof: gzip, bzip2, xz, LZMA, lzip and zstd, found by their first bytes. Pure.

The libraries stop silently where a file is cut, or hand over more than memory has: here a stream is read piece by
piece, every member of it, and what ends too early raises ``BadArchiveError``. What follows the last member is ignored
or refused as the tool of each format does it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from nexis_store.members import ARCHIVE_CHUNK, BadArchiveError, Meter, Read, UnsupportedArchiveError

if TYPE_CHECKING:
    import lzma

MAX_MEMORY = 1 << 30
"""A decompressor may need so many bytes: what ``xz -9e`` and ``zstd --ultra --long=27`` write needs a tenth."""
_PIECE = 1 << 20
_ZSTD_PIECE = 1 << 10
"""A block of zstd that repeats one byte takes 4 bytes and gives 128 KiB; there is no way to ask for less of it."""


class _Decompressor(Protocol):
    """Decompresses one member of a stream."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def feed(self, data: bytes) -> bytes:
        """Give more input (or none) and take what comes out; nothing comes out only if more input is needed."""
        ...


class _Deflate:
    def __init__(self) -> None:
        self._object = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def feed(self, data: bytes) -> bytes:
        try:
            return self._object.decompress(self._object.unconsumed_tail + data, _PIECE)
        except zlib.error as error:
            raise BadArchiveError(f"its gzip compression is damaged: {error}") from None


class _Bzip2:
    def __init__(self) -> None:
        import bz2

        self._object = bz2.BZ2Decompressor()

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def feed(self, data: bytes) -> bytes:
        try:
            return self._object.decompress(data, _PIECE)
        except (OSError, ValueError) as error:
            raise BadArchiveError(f"its bzip2 compression is damaged: {error}") from None


def _from_lzma(decompressor: lzma.LZMADecompressor, data: bytes) -> bytes:
    import lzma

    try:
        return decompressor.decompress(data, _PIECE)
    except lzma.LZMAError as error:
        if "Memory usage limit" in str(error):
            raise UnsupportedArchiveError(f"unpacking it takes more than {MAX_MEMORY:,} bytes of memory") from None
        raise BadArchiveError(f"its compression is damaged: {error}") from None


class _Xz:
    """xz, and what came before it."""

    def __init__(self, form: int) -> None:
        import lzma

        self._object = lzma.LZMADecompressor(form, memlimit=MAX_MEMORY)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def feed(self, data: bytes) -> bytes:
        return _from_lzma(self._object, data)


class _Lzip:
    """A raw LZMA stream between a head and a tail (RFC draft-diaz-lzip, section 2)."""

    def __init__(self) -> None:
        self._head = b""
        self._object: lzma.LZMADecompressor | None = None
        self._checksum = self._size = self._packed = 0
        self.eof = False
        self.unused_data = b""
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        import lzma

        if self._object is None:
            self._head += data
            if len(self._head) < 6:
                return b""
            exponent, fraction = self._head[5] & 31, self._head[5] >> 5
            if self._head[:5] != b"LZIP\x01" or not 12 <= exponent <= 29:
                raise BadArchiveError("its lzip member has a damaged header")
            size = (1 << exponent) - fraction * (1 << exponent) // 16
            self._object = lzma.LZMADecompressor(
                lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": 3, "lp": 0, "pb": 2}]
            )
            data = self._head[6:]
        if self._object.eof:
            return self._end(data)
        out = _from_lzma(self._object, data)
        self._packed += len(data)
        self._checksum = zlib.crc32(out, self._checksum)
        self._size += len(out)
        if self._object.eof:
            rest = self._object.unused_data
            self._packed -= len(rest)
            self._end(rest)
        return out

    def _end(self, data: bytes) -> bytes:
        self._tail += data
        if len(self._tail) >= 20:
            checksum, size, member_size = struct.unpack("<IQQ", self._tail[:20])
            if (checksum, size, member_size) != (self._checksum, self._size, self._packed + 26):
                raise BadArchiveError("its lzip member does not have the checksum or size that it says")
            self.eof, self.unused_data = True, self._tail[20:]
        return b""


class _Zstandard:
    def __init__(self) -> None:
        import zstandard

        self._error: type[Exception] = zstandard.ZstdError
        self._object = zstandard.ZstdDecompressor(max_window_size=MAX_MEMORY).decompressobj()
        self._pending = b""

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data + self._pending

    def feed(self, data: bytes) -> bytes:
        self._pending += data
        while self._pending and not self._object.eof:
            piece, self._pending = self._pending[:_ZSTD_PIECE], self._pending[_ZSTD_PIECE:]
            try:
                out = self._object.decompress(piece)
            except self._error as error:
                if "too much memory" in str(error):
                    raise UnsupportedArchiveError(
                        f"unpacking it takes more than {MAX_MEMORY:,} bytes of memory"
                    ) from None
                raise BadArchiveError(f"its zstd compression is damaged: {error}") from None
            if out:
                return out
        return b""


_MAGIC: tuple[tuple[bytes, str, Callable[[], _Decompressor]], ...] = (
    (b"\x1f\x8b", "gzip", _Deflate),
    (b"BZh", "bzip2", _Bzip2),
    (b"\xfd7zXZ\0", "xz", lambda: _Xz(1)),
    (b"\x5d\0\0", "LZMA", lambda: _Xz(2)),
    (b"LZIP\x01", "lzip", _Lzip),
    (b"\x28\xb5\x2f\xfd", "zstd", _Zstandard),
)
HEAD_BYTES = 6
"""So many bytes tell how something is compressed."""


def compression_of(head: bytes) -> str:
    """The name of the compression that something which begins with ``head`` has; empty for none."""
    if head.startswith(b"\x1f\x9d"):
        return "compress"
    return next((name for magic, name, _ in _MAGIC if head.startswith(magic)), "")


class Decompressed:
    """A stream, or what its compression holds."""

    def __init__(self, read: Read, meter: Meter) -> None:
        """Looks at the first bytes; raises ``UnsupportedArchiveError`` for a compression of the 1980s."""
        self._source = read
        self._meter = meter
        head = b""
        while len(head) < HEAD_BYTES and (more := read(HEAD_BYTES - len(head))):
            head += more
        meter.bytes_in += len(head)
        self.compression = compression_of(head)
        if self.compression == "compress":
            raise UnsupportedArchiveError("it is compressed by compress(1), which this program does not read")
        self._make = next((make for _, name, make in _MAGIC if name == self.compression), None)
        self._unit: _Decompressor | None = self._make() if self._make else None
        self._input = head
        self._output = b""
        self._bytes_out = 0

    @property
    def is_proved(self) -> bool:
        """Whether the end of the stream proves that all of it came: a compression does, a plain stream may be cut."""
        return self._make is not None

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, none only at the end; raises ``BadArchiveError``."""
        if self._make is None:
            data, self._input = self._input[:size], self._input[size:]
            return data or self._raw(size)
        while not self._output:
            if not self._fill():
                return b""
        data, self._output = self._output[:size], self._output[size:]
        return data

    def drain(self) -> None:
        """Read what follows to the end."""
        while self.read(_PIECE):
            pass

    def _raw(self, size: int) -> bytes:
        data = self._source(size)
        self._meter.bytes_in += len(data)
        return data

    def _fill(self) -> bool:
        """Decompress a piece; whether there may be more."""
        if self._unit is None:
            return False
        data, self._input = self._input, b""
        out = self._unit.feed(data)
        if not out and not self._unit.eof:
            data = self._raw(ARCHIVE_CHUNK)
            if not data:
                raise BadArchiveError(f"its {self.compression} compression ends in the middle: the file was cut")
            out = self._unit.feed(data)
        self._output = out
        self._bytes_out += len(out)
        self._meter.expansion(self._bytes_out)
        if self._unit.eof:
            self._input = self._unit.unused_data
            self._unit = self._next()
        return True

    def _next(self) -> _Decompressor | None:
        """Another member that follows; ``None`` at the end."""
        assert self._make is not None
        head = self._input
        zeros = 0
        while self.compression in ("gzip", "xz"):
            # gzip pads with zeros to the block of a tape, xz to a multiple of four bytes.
            rest = head.lstrip(b"\0")
            zeros += len(head) - len(rest)
            head = rest or self._raw(ARCHIVE_CHUNK)
            if rest or not head:
                break
        while len(head) < HEAD_BYTES and (more := self._raw(ARCHIVE_CHUNK)):
            head += more
        if self.compression == "xz" and zeros % 4:
            raise BadArchiveError("its xz stream is followed by something else")
        if not head:
            return None
        several = self.compression != "LZMA" and not (self.compression == "gzip" and zeros)
        if several and compression_of(head) == self.compression:
            self._input = head
            return self._make()
        if self.compression == "zstd" and head[:1] and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18":
            self._input = head
            return self._make()
        if self.compression == "bzip2" or (self.compression == "lzip" and not head.startswith(b"LZIP")):
            return None
        raise BadArchiveError(f"its {self.compression} compression is followed by something else")


__all__ = ["HEAD_BYTES", "MAX_MEMORY", "Decompressed", "compression_of"]
