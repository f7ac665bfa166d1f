"""Single compressed streams: gzip (RFC 1952), bzip2, xz, Zstandard (RFC 8878). Pure."""

from __future__ import annotations

import io
import struct
from functools import partial

from nexis_eval.repro.content.base import MAX_EXPANDED_BYTES, Data, FormatError, Parsed, Part
from nexis_store.compression import Decompressed
from nexis_store.members import (
    ARCHIVE_CHUNK,
    BadArchiveError,
    HostileMemberError,
    Limits,
    Meter,
    UnsupportedArchiveError,
)

_LIMITS = Limits(bytes=MAX_EXPANDED_BYTES, free_bytes=MAX_EXPANDED_BYTES)

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
    return Parsed("gzip", tuple(fields), (Part("content", lambda: _expanded(raw)),))


def bzip2_stream(data: Data) -> Parsed:
    """The block size and the content."""
    raw = bytes(data)
    return Parsed("bzip2", (("block size", chr(raw[3])),), (Part("content", lambda: _expanded(raw)),))


def xz_stream(data: Data) -> Parsed:
    """The check type and the content."""
    raw = bytes(data)
    return Parsed("xz", (("check type", str(raw[7] & 15)),), (Part("content", lambda: _expanded(raw)),))


def zstd_stream(data: Data) -> Parsed:
    """The content."""
    raw = bytes(data)
    return Parsed("zstd", (), (Part("content", lambda: _expanded(raw)),))


def _expanded(raw: bytes) -> bytes:
    """All members of a compressed stream, one after the other; raises ``FormatError``."""
    try:
        stream = Decompressed(io.BytesIO(raw).read, Meter(_LIMITS))
        return b"".join(iter(partial(stream.read, ARCHIVE_CHUNK), b""))
    except (BadArchiveError, UnsupportedArchiveError, HostileMemberError) as error:
        raise FormatError(str(error)) from None
