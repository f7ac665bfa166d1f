"""Single compressed streams: gzip (RFC 1952), bzip2, xz, Zstandard (RFC 8878). Pure."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib

from nexis_eval.repro.content.base import MAX_EXPANDED_BYTES, Data, FormatError, Parsed, Part

GZIP_SYSTEMS = {0: "FAT", 3: "Unix", 7: "Macintosh", 10: "NTFS", 255: "unknown"}


def gzip_stream(data: Data) -> Parsed:
    """The header's fields (time stamp, name, level hint, system) and the content."""
    raw = bytes(data)
    method, flags, mtime, extra, system = struct.unpack_from("<BBIBB", raw, 2)
    if method != 8:
        raise FormatError("not deflate")
    at = 10
    if flags & 4:
        at += 2 + struct.unpack_from("<H", raw, at)[0]
    texts = {}
    for bit, label in ((8, "name"), (16, "comment")):
        if flags & bit:
            end = raw.index(b"\0", at)
            texts[label] = raw[at:end].decode("latin-1")
            at = end + 1
    fields = [
        ("mtime", str(mtime)),
        ("compression hint", str(extra)),
        ("system", GZIP_SYSTEMS.get(system, str(system))),
        *texts.items(),
    ]
    return Parsed("gzip", tuple(fields), (Part("content", lambda: _inflate(raw)),))


def _inflate(raw: bytes) -> bytes:
    chunks = []
    size = 0
    while raw[:2] == b"\x1f\x8b":
        stream = zlib.decompressobj(wbits=31)
        try:
            chunk = stream.decompress(raw, MAX_EXPANDED_BYTES - size)
        except zlib.error as error:
            raise FormatError(str(error)) from None
        if not stream.eof:
            raise FormatError("truncated, or too large")
        chunks.append(chunk)
        size += len(chunk)
        raw = stream.unused_data
    return b"".join(chunks)


def bzip2_stream(data: Data) -> Parsed:
    """The block size and the content."""
    raw = bytes(data)
    return Parsed("bzip2", (("block size", chr(raw[3])),), (Part("content", lambda: _bunzip(raw)),))


def _bunzip(raw: bytes) -> bytes:
    try:
        return bz2.BZ2Decompressor().decompress(raw, MAX_EXPANDED_BYTES)
    except (OSError, EOFError) as error:
        raise FormatError(str(error)) from None


def xz_stream(data: Data) -> Parsed:
    """The check type and the content."""
    raw = bytes(data)
    return Parsed("xz", (("check type", str(raw[7] & 15)),), (Part("content", lambda: _unxz(raw)),))


def _unxz(raw: bytes) -> bytes:
    try:
        return lzma.LZMADecompressor(memlimit=MAX_EXPANDED_BYTES).decompress(raw, MAX_EXPANDED_BYTES)
    except lzma.LZMAError as error:
        raise FormatError(str(error)) from None


def zstd_stream(data: Data) -> Parsed:
    """The content."""
    raw = bytes(data)
    return Parsed("zstd", (), (Part("content", lambda: _unzstd(raw)),))


def _unzstd(raw: bytes) -> bytes:
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as reader:
            return reader.read(MAX_EXPANDED_BYTES)
    except zstandard.ZstdError as error:
        raise FormatError(str(error)) from None
