"""Finds the files in a Debian package: deb(5), an ``ar`` archive. Pure."""

from __future__ import annotations

import re

from nexis_store.members import ARCHIVE_CHUNK, BadArchiveError, Read

MAGIC = b"!<arch>\n"
_SIZE = re.compile(rb"([0-9]{1,10}) *")


def _exactly(read: Read, size: int) -> bytes:
    parts = []
    while size and (part := read(min(size, ARCHIVE_CHUNK))):
        parts.append(part)
        size -= len(part)
    if size:
        raise BadArchiveError("it ends in the middle: the file was cut")
    return b"".join(parts)


def deb_data(read: Read) -> Read:
    """The (compressed) ``data.tar`` of a Debian package; raises ``BadArchiveError`` unless it is one."""
    if _exactly(read, len(MAGIC)) != MAGIC:
        raise BadArchiveError("it is not a Debian package")
    expected = ["debian-binary", "control.tar", "data.tar"]
    while True:
        header = _exactly(read, 60)
        member = header[:16].rstrip().rstrip(b"/").decode("ascii", "replace")
        match = _SIZE.fullmatch(header[48:58])
        if header[58:] != b"`\n" or match is None:
            raise BadArchiveError("a header of its members is damaged")
        size = int(match[1])
        if not member.startswith("_"):
            # Names with '_' in front are for additions that old programs pass over.
            if not (member == expected[0] or (member.startswith(expected[0]) and expected[0].endswith(".tar"))):
                raise BadArchiveError(f"it has {member!r} where {expected[0]} belongs: it is not a Debian package")
            if expected[0] == "data.tar":
                return _bounded(read, size)
            name = expected.pop(0)
            if name == "debian-binary":
                version = _exactly(read, min(size, 16))
                size -= len(version)
                if not version.startswith(b"2."):
                    raise BadArchiveError(f"it is a Debian package of the unknown format {version!r}")
                # What is left is read below, with the byte that makes it even.
                size += len(version) % 2
        remaining = size + size % 2
        while remaining:
            remaining -= len(_exactly(read, min(remaining, ARCHIVE_CHUNK)))


def _bounded(read: Read, size: int) -> Read:
    left = size

    def rest(count: int) -> bytes:
        nonlocal left
        count = min(count, left)
        if not count:
            return b""
        data = read(count)
        if not data:
            raise BadArchiveError("it ends in the middle: the file was cut")
        left -= len(data)
        return data

    return rest


__all__ = ["MAGIC", "deb_data"]
