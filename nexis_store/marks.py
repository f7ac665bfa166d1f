"""The marks by which files of the store are known to be as they were landed, without reading them.

Every file, directory and symlink of an artifact has one time stamp (``fs.EPOCH``), every file one of two modes. Whoever
writes to a file, adds to a directory or takes from it leaves another time stamp: then, and only then, the content is
read. A disk that changes bytes by itself leaves no mark; ``verify --contents`` reads everything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from nexis_store import fs
from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.hashing import hash_file
from nexis_store.layout import Layout
from nexis_store.names import decode
from nexis_store.sidecar import describes
from nexis_store.tree import Manifest, directory_entry

STAMP = fs.EPOCH[1]


def file_mode(executable: bool) -> int:
    """The mode of a file of the store, with its kind."""
    return stat.S_IFREG | (0o555 if executable else 0o444)


def is_intact(path: str, digest: FileDigest, size: int, executable: bool) -> bool:
    """Whether a file holds the content; reads it if it was touched, and stamps it anew if it is right all the same."""
    try:
        status = os.lstat(path)
        if status.st_size != size or status.st_mode != file_mode(executable):
            return False
        if status.st_mtime_ns == STAMP:
            return True
        if hash_file(path) != digest:
            return False
        fs.stamp(path)
    except OSError:
        return False
    return True


def is_whole(layout: Layout, digest: TreeDigest, name: str, manifest: Manifest) -> bool:
    """Whether an artifact and its description are on the disk as ``manifest`` says. Costs a look at each path."""
    try:
        if not describes(fs.read_whole(layout.sidecar(digest)), digest, manifest):
            return False
    except OSError:
        return False
    place = layout.artifact(digest, name)
    return next(blemishes(place, manifest), None) is None


def blemishes(place: str, manifest: Manifest) -> Iterator[str]:
    """The paths of a tree that are not as ``manifest`` says, but for those below what is not a directory."""
    below: dict[str, list[str]] | None = None
    skipped: str | None = None
    root = directory_entry("")
    for entry in (root, *manifest.entries()):
        path = entry.path
        if skipped is not None:
            if path.startswith(skipped):
                continue
            skipped = None
        here = f"{place}/{path}" if path else place
        if entry.kind == "f":
            assert entry.digest is not None
            if not is_intact(here, entry.digest, entry.size, entry.executable):
                yield path
            continue
        try:
            status = os.lstat(here)
            touched = status.st_mtime_ns != STAMP
            if entry.kind == "l":
                right = stat.S_ISLNK(status.st_mode)
                right = right and not (touched and decode(os.fsencode(os.readlink(here))) != entry.target)
            else:
                right = status.st_mode == stat.S_IFDIR | 0o755
                if right and touched:
                    if below is None:
                        below = _children(manifest)
                    right = sorted(decode(os.fsencode(name)) for name in os.listdir(here)) == sorted(below[path])
        except OSError:
            right = False
        if not right:
            yield path
            if entry.kind == "d" and not (os.path.isdir(here) and not os.path.islink(here)):
                skipped = f"{path}/" if path else ""


def _children(manifest: Manifest) -> dict[str, list[str]]:
    below: dict[str, list[str]] = {"": []}
    for entry in manifest.entries():
        directory, _, name = entry.path.rpartition("/")
        below[directory].append(name)
        if entry.kind == "d":
            below[entry.path] = []
    return below
