"""What is in an archive, without unpacking it: read to its end, and named by a tree digest.

Web forges make archives of tags as they are asked for, and a new version of their compressor changes every hash. What
is in the archive stays: names, contents, executable bits and links. Owners, times and order do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from nexis_store.compression import HEAD_BYTES, Decompressed, compression_of
from nexis_store.deb import MAGIC as DEB_MAGIC
from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.errors import NexisError
from nexis_store.members import (
    DEFAULT_LIMITS,
    BadArchiveError,
    Format,
    Member,
    Meter,
    Read,
    UnsupportedArchiveError,
    shown,
)
from nexis_store.tar import NotTarError
from nexis_store.tree import Manifest, ManifestEntry, directory_entry, file_entry, symlink_entry
from nexis_store.unpack import members_of
from nexis_store.zip import MAGICS as ZIP_MAGICS

CHUNK_BYTES = 1 << 20
_DEB_HEAD = DEB_MAGIC + b"debian-binary"
_WEAK = ("LZMA", "compress")
"""Compressions that begin with two or three bytes which many other files begin with."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file turned out to hold."""

    format: Format | None
    """``None`` if it is not an archive."""
    tree: TreeDigest | None = None
    """Of a tar or zip."""
    damage: str = ""
    """Why nobody can unpack it."""
    limitation: str = ""
    """Why it has no tree digest, although other programs may unpack it."""


def read_content(path: Path) -> Content:
    """Read a file to its end, if it is an archive or compressed."""
    with path.open("rb") as stream:
        head = stream.read(len(_DEB_HEAD))
        stream.seek(0)
        format: Format = "zip" if head.startswith(ZIP_MAGICS) else "deb" if head == _DEB_HEAD else "tar"
        try:
            with members_of(stream, format, DEFAULT_LIMITS) as members:
                tree = _tree(members)
        except NotTarError:
            stream.seek(0)
            return _lone(stream, head)
        except BadArchiveError as error:
            if compression_of(head[:HEAD_BYTES]) in _WEAK:
                return Content(None)
            return Content(format, damage=str(error))
        except UnsupportedArchiveError as error:
            return Content(format, limitation=str(error))
        return Content(format, tree if format != "deb" else None)


def archive_tree(path: Path) -> TreeDigest | None:
    """The tree digest of a tar archive (of any compression) or a zip; ``None`` for any other file, or a damaged one."""
    return read_content(path).tree


def _lone(stream: BinaryIO, head: bytes) -> Content:
    """A file that is no archive; a compressed one must have an end, all the same."""
    if compression_of(head[:HEAD_BYTES]) not in ("", *_WEAK):
        try:
            Decompressed(stream.read, Meter(DEFAULT_LIMITS)).drain()
        except BadArchiveError as error:
            return Content(None, damage=str(error))
        except UnsupportedArchiveError:
            pass
    return Content(None)


def _hashed(read: Read) -> tuple[FileDigest, int]:
    hasher, size = blake3(), 0
    while chunk := read(CHUNK_BYTES):
        hasher.update(chunk)
        size += len(chunk)
    return FileDigest(hasher.digest()), size


def _tree(members: Iterable[Member]) -> TreeDigest | None:
    entries: dict[str, ManifestEntry] = {}
    for member in members:
        path = member.path
        if not path:
            continue
        if member.kind == "directory":
            entries[path] = directory_entry(path)
        elif member.kind == "symlink":
            entries[path] = symlink_entry(path, member.target)
        elif member.kind == "hardlink":
            earlier = entries.get(member.target)
            if earlier is None:
                raise BadArchiveError(f"{shown(path)} is a link to {shown(member.target)}, which is not before it")
            entries[path] = earlier._replace(path=path)
        elif member.kind == "file":
            assert member.read is not None
            digest, size = _hashed(member.read)
            entries[path] = file_entry(path, digest, size, member.executable)
        else:
            raise UnsupportedArchiveError(f"{shown(path)} is a device or fifo")
    try:
        return Manifest.of(_with_parents(entries)).digest if entries else None
    except NexisError as error:
        raise UnsupportedArchiveError(error.message) from None


def _with_parents(entries: dict[str, ManifestEntry]) -> Iterator[ManifestEntry]:
    """The entries, and the directories that archives may leave out."""
    parents = {path[:cut] for path in entries for cut in range(len(path)) if path[cut] == "/"}
    yield from (directory_entry(path) for path in parents if path not in entries)
    yield from entries.values()
