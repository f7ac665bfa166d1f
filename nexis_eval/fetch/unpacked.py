"""The tree digest of what is in an archive, without unpacking it: the same whatever compressed it, and when.

Web forges make archives of tags as they are asked for, and a new version of their compressor changes every hash. What
is in the archive stays: names, contents, executable bits and links. Owners, times and order do not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.errors import NexisError
from nexis_store.landing import normal_path
from nexis_store.names import decode
from nexis_store.tree import Manifest, ManifestEntry, directory_entry, file_entry, symlink_entry
from nexis_store.unpack import decompressed

CHUNK_BYTES = 1 << 20


def _hashed(stream: BinaryIO) -> tuple[FileDigest, int]:
    hasher, size = blake3(), 0
    while chunk := stream.read(CHUNK_BYTES):
        hasher.update(chunk)
        size += len(chunk)
    return FileDigest(hasher.digest()), size


def _with_parents(found: dict[str, ManifestEntry]) -> Iterator[ManifestEntry]:
    """The entries, and the directories that archives may leave out."""
    parents = {path[:cut] for path in found for cut in range(len(path)) if path[cut] == "/"}
    yield from (directory_entry(path) for path in parents if path not in found)
    yield from found.values()


def _tar(stream: BinaryIO) -> dict[str, ManifestEntry]:
    import tarfile

    found: dict[str, ManifestEntry] = {}
    with tarfile.open(fileobj=decompressed(stream), mode="r|", errors="surrogateescape", encoding="utf-8") as archive:
        for member in archive:
            path = normal_path(decode(os.fsencode(member.name)))
            if not path:
                continue
            if member.isdir():
                found[path] = directory_entry(path)
            elif member.issym():
                found[path] = symlink_entry(path, decode(os.fsencode(member.linkname)))
            elif member.islnk():
                earlier = found.get(normal_path(decode(os.fsencode(member.linkname))) or "")
                if earlier is None:
                    raise ValueError(f"{path} is a link to what is not in the archive")
                found[path] = earlier._replace(path=path)
            elif member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                digest, size = _hashed(content)  # type: ignore[arg-type]
                found[path] = file_entry(path, digest, size, bool(member.mode & 0o111))
            else:
                raise ValueError(f"{path} is a device or fifo")
    return found


def _zip(stream: BinaryIO) -> dict[str, ManifestEntry]:
    import stat
    import zipfile

    found: dict[str, ManifestEntry] = {}
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            path = normal_path(decode(os.fsencode(member.filename)))
            if not path:
                continue
            mode = member.external_attr >> 16
            if member.is_dir():
                found[path] = directory_entry(path)
            elif stat.S_ISLNK(mode):
                found[path] = symlink_entry(path, decode(archive.read(member)))
            else:
                with archive.open(member) as content:
                    digest, size = _hashed(content)  # type: ignore[arg-type]
                found[path] = file_entry(path, digest, size, bool(mode & 0o111))
    return found


def archive_tree(path: Path) -> TreeDigest | None:
    """The tree digest of a tar archive (of any compression) or a zip; ``None`` for any other file, or a damaged one."""
    import lzma
    import tarfile
    import zipfile
    import zlib

    with path.open("rb") as stream:
        try:
            start = stream.read(4)
            stream.seek(0)
            found = _zip(stream) if start in (b"PK\x03\x04", b"PK\x05\x06") else _tar(stream)
            return Manifest.of(_with_parents(found)).digest if found else None
        except (ValueError, EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error):
            return None
        except NexisError:
            return None
