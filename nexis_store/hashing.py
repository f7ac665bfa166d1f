"""What a file or directory would be called in a store, without bringing it in: evaluation names local files by it."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from nexis_store import fs
from nexis_store.digest import FileDigest
from nexis_store.errors import StoreError
from nexis_store.names import decode
from nexis_store.tree import Manifest, ManifestEntry, directory_entry, file_entry, symlink_entry

MMAP_FROM_BYTES = 1 << 20

_CHUNK = 1 << 20

_WINDOW = 1 << 26
"""So much of a file is mapped at once: as fast as all of it, and the process stays small."""


def hash_large(path: str, stopped: threading.Event | None = None) -> FileDigest:
    """The digest of a file too large to read at once, worked out on all processors.

    Raises ``StoreError`` when ``stopped`` is set meanwhile: a file of holes may claim to be larger than anybody waits.
    """
    hasher = blake3(max_threads=blake3.AUTO)
    fd = fs.open_regular(path, follow=True)
    try:
        size = os.fstat(fd).st_size
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        for at in range(0, size, _WINDOW):
            if stopped is not None and stopped.is_set():
                raise StoreError(f"reading {path} was stopped", hint="repeat the command")
            with mmap.mmap(fd, min(_WINDOW, size - at), flags, mmap.PROT_READ, offset=at) as part:
                hasher.update(part)
    finally:
        os.close(fd)
    return FileDigest(hasher.digest())


def hash_file(path: str) -> FileDigest:
    """The digest of a file's bytes. Raises ``OSError``, also for what is not a regular file."""
    with open(fs.open_regular(path), "rb", buffering=0) as file:
        data = file.read(_CHUNK)
        hasher = blake3(data)
        while data and (data := file.read(_CHUNK)):
            hasher.update(data)
    return FileDigest(hasher.digest())


def _file(path: str, place: str) -> ManifestEntry:
    status = os.stat(path)
    if status.st_size >= MMAP_FROM_BYTES:
        return file_entry(place, hash_large(path), status.st_size, bool(status.st_mode & 0o111))
    with open(path, "rb", buffering=0) as stream:
        data = stream.read()
    return file_entry(place, FileDigest.of(data), len(data), bool(status.st_mode & 0o111))


def _walk(directory: str, prefix: str) -> Iterator[ManifestEntry]:
    with os.scandir(directory) as found:
        children = list(found)
    for child in children:
        place = prefix + decode(os.fsencode(child.name))
        if child.is_symlink():
            yield symlink_entry(place, decode(os.fsencode(os.readlink(child.path))))
        elif child.is_dir():
            yield directory_entry(place)
            yield from _walk(child.path, place + "/")
        elif child.is_file():
            yield _file(child.path, place)
        else:
            raise StoreError(f"{child.path} is a device, socket or fifo, which no artifact can hold")


def tree_of_path(path: Path) -> Manifest:
    """The tree that a local file or directory makes: a file is a tree with just that file under its own name.

    The same as ``Store.add_directory(path, normalise=False)`` would land. Raises ``OSError`` when it cannot be read.
    """
    if path.is_dir():
        return Manifest.of(_walk(str(path), ""))
    return Manifest.of([_file(str(path), path.name)])
