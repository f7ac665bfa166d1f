"""Reads zip archives as unzip does, from a file: the list at the end counts, of two entries with one name the later.

Format: PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from nexis_store.compression import MAX_MEMORY
from nexis_store.members import (
    BadArchiveError,
    Limits,
    Member,
    Meter,
    Read,
    UnsupportedArchiveError,
    relative_path,
    shown,
)
from nexis_store.names import decode

if TYPE_CHECKING:
    import zipfile

MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
"""How a zip begins: with a file, empty, as a part of several."""
_METHODS = {1: "shrinking", 6: "implode", 9: "Deflate64", 10: "implode (new)", 95: "xz", 98: "PPMd"}
_LZMA = 14
_READ_METHODS = frozenset((0, 8, 12, _LZMA))
_DOS, _UNIX = 0, 3
_UTF8 = 0x800
_MAX_TARGET = 4096


def zip_members(stream: BinaryIO, size: int, limits: Limits) -> Iterator[Member]:
    """The members of a zip archive of ``size`` bytes, in a file that can be read anywhere.

    Raises ``BadArchiveError`` if it is damaged, encrypted or not a zip, ``UnsupportedArchiveError``.
    """
    import lzma
    import struct
    import zipfile
    import zlib

    meter = Meter(limits)
    meter.bytes_in = size
    # What zipfile raises for damage is whatever the damage leads to.
    damage = (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        EOFError,
        ValueError,
        OverflowError,
        IndexError,
        KeyError,
        RuntimeError,
    )
    path = ""
    try:
        with zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                path = _name(info)
                yield _member(archive, info, path, meter, damage)
    except UnicodeDecodeError as error:
        raise BadArchiveError(f"a name is marked as UTF-8 and is not: {error.object!r}") from None
    except NotImplementedError as error:
        raise UnsupportedArchiveError(f"{shown(path)}: {error}") from None
    except damage as error:
        raise BadArchiveError(f"{shown(path)}: {error}" if path else str(error)) from None
    except OSError as error:
        if error.errno is not None and error.errno != 22:
            raise
        raise BadArchiveError(str(error)) from None


def _name(info: zipfile.ZipInfo) -> str:
    """The name as unzip takes it: with the slashes of DOS turned, in UTF-8 where a Unix wrote it."""
    name = info.filename
    if info.create_system == _UNIX and not info.flag_bits & _UTF8 and not name.isascii():
        name = decode(name.encode("cp437"))
    if info.create_system == _DOS and "/" not in name:
        name = name.replace("\\", "/")
    return name


def _member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, meter: Meter, damage: tuple[type[Exception], ...]
) -> Member:
    meter.member(info.file_size)
    path = relative_path(name)
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if name.endswith("/") or kind == stat.S_IFDIR:
        return Member(path, "directory")
    if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
        return Member(path, "device")
    if info.flag_bits & 1:
        raise BadArchiveError(f"{shown(name)} is encrypted")
    if info.compress_type not in _READ_METHODS:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise UnsupportedArchiveError(f"{shown(name)} is compressed by {method}, which this program does not read")
    if kind == stat.S_IFLNK:
        if info.file_size > _MAX_TARGET:
            raise BadArchiveError(f"{shown(name)} is a symbolic link to something of {info.file_size:,} bytes")
        return Member(path, "symlink", target=decode(archive.read(info)))
    return Member(path, "file", info.file_size, bool(mode & 0o111), read=_content(archive, info, name, damage))


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, damage: tuple[type[Exception], ...]) -> Read:
    """The content; its checksum is compared at its end. A local header that tells another size is damage."""
    if info.compress_type == _LZMA:
        _check_dictionary(archive, info, name)
    stream = archive.open(info)
    left = info.file_size

    def read(count: int) -> bytes:
        nonlocal left
        try:
            data = stream.read(count)
        except damage as error:
            raise BadArchiveError(f"{shown(name)}: {error}") from None
        except OSError as error:
            # bzip2 reports damage as OSError without a number.
            if error.errno is not None:
                raise
            raise BadArchiveError(f"{shown(name)}: {error}") from None
        left -= len(data)
        if left < 0 or (not data and left and count):
            raise BadArchiveError(f"{shown(name)} does not have the size that the list says")
        return data

    return read


def _check_dictionary(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> None:
    """Refuse LZMA data whose header asks for a dictionary that no zip needs: it is allocated before anything is read.

    Source: APPNOTE.TXT, sections 4.3.7 and 5.8.8; the dictionary's size is the last four bytes of the properties.
    """
    file = archive.fp
    if file is None:
        return
    file.seek(info.header_offset)
    header = file.read(30)
    if len(header) < 30:
        return
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
    properties = file.read(9)
    size = int.from_bytes(properties[5:9], "little")
    if size > MAX_MEMORY:
        raise BadArchiveError(f"{shown(name)} needs {size:,} bytes of memory to be unpacked")


__all__ = ["MAGICS", "zip_members"]
