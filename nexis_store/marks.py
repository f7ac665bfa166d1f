"""The marks by which files of the store are known to be as they were landed, without reading them.

Every file, directory and symlink of an artifact has one time stamp (``fs.EPOCH``), every file one of two modes. Whoever
writes to a file, adds to a directory or takes from it leaves another time stamp: then, and only then, the content is
read. A disk that changes bytes by itself leaves no mark; ``verify --contents`` reads everything.
"""

from __future__ import annotations

import itertools
import os
import random
import stat
import threading
from collections.abc import Iterator, Sequence

from nexis_store import fs
from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.hashing import hash_file
from nexis_store.layout import Layout
from nexis_store.names import decode
from nexis_store.sidecar import describes
from nexis_store.tree import Manifest, ManifestEntry, directory_entry

STAMP = fs.EPOCH[1]


def file_mode(executable: bool) -> int:
    """The mode of a file of the store, with its kind."""
    return stat.S_IFREG | (0o555 if executable else 0o444)


def is_untouched(status: os.stat_result, size: int, executable: bool) -> bool:
    """Whether a file has the marks of one that was landed and never touched."""
    return status.st_mtime_ns == STAMP and status.st_size == size and status.st_mode == file_mode(executable)


def is_intact(path: str, digest: FileDigest, size: int, executable: bool) -> bool:
    """Whether a file holds the content; reads it if it was touched."""
    try:
        status = os.lstat(path)
        if status.st_size != size or status.st_mode != file_mode(executable):
            return False
        return status.st_mtime_ns == STAMP or hash_file(path) == digest
    except OSError:
        return False


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
    below = _Children(manifest)
    skipped: str | None = None
    for entry in (directory_entry(""), *manifest.entries()):
        path = entry.path
        if skipped is not None:
            if path.startswith(skipped):
                continue
            skipped = None
        here = f"{place}/{path}" if path else place
        if not _is_right(here, entry, below):
            yield path
            if entry.kind == "d" and not fs.is_directory(here):
                skipped = f"{path}/" if path else ""


def _is_right(here: str, entry: ManifestEntry, below: _Children) -> bool:
    if entry.kind == "f":
        assert entry.digest is not None
        return is_intact(here, entry.digest, entry.size, entry.executable)
    try:
        status = os.lstat(here)
        touched = status.st_mtime_ns != STAMP
        if entry.kind == "l":
            return stat.S_ISLNK(status.st_mode) and not (
                touched and decode(os.fsencode(os.readlink(here))) != entry.target
            )
        return status.st_mode == stat.S_IFDIR | 0o755 and not (
            touched and sorted(decode(os.fsencode(name)) for name in os.listdir(here)) != below.of(entry.path)
        )
    except OSError:
        return False


class _Children:
    """The names in each directory of a manifest, worked out when somebody asks."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._names: dict[str, list[str]] | None = None

    def of(self, path: str) -> list[str]:
        """The names in the directory ``path``, in order."""
        if self._names is None:
            self._names = {"": []}
            for entry in self._manifest.entries():
                directory, _, name = entry.path.rpartition("/")
                self._names[directory].append(name)
                if entry.kind == "d":
                    self._names[entry.path] = []
            for names in self._names.values():
                names.sort()
        return self._names[path]


class Inspection:
    """Looks at the marks of trees, some paths at a time and each once: what is read by the thousand costs little.

    Which part of a large tree comes first is left to chance, so that it is not the same part in every process.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._walks: dict[str, Iterator[str | None] | None] = {}

    def look(self, places: Sequence[str], most: int) -> Iterator[tuple[str, str]]:
        """Go on with these trees for at most so many paths; yields (tree, path) of those that somebody has touched."""
        found: list[tuple[str, str]] = []
        with self._mutex:
            pending = [place for place in dict.fromkeys(places) if self._walks.setdefault(place, _walk(place))]
            while pending and most > 0:
                share = min(_SHARE, most)
                for place in list(pending):
                    walk = self._walks[place]
                    assert walk is not None
                    looked = 0
                    for path in itertools.islice(walk, share):
                        looked += 1
                        if path is not None:
                            found.append((place, path))
                    most -= looked
                    if looked < share:
                        self._walks[place] = None
                        pending.remove(place)
        return iter(found)

    def forget(self, place: str) -> None:
        """Look at a tree anew when it is used again: it was damaged, and may be repaired by then."""
        with self._mutex:
            self._walks.pop(place, None)


_SHARE = 64


def _walk(place: str) -> Iterator[str | None]:
    """Each path below ``place``, itself as the empty one: ``None`` for those whose marks are as they were landed."""
    try:
        yield None if _is_marked(os.lstat(place)) else ""
    except OSError:
        yield ""
        return
    pending = [place]
    skip = len(place) + 1
    while pending:
        try:
            with os.scandir(pending.pop()) as listing:
                entries = list(listing)
        except OSError:
            # Its own marks have told.
            continue
        random.shuffle(entries)
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                yield entry.path[skip:]
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append(entry.path)
            yield None if _is_marked(status) else entry.path[skip:]
        random.shuffle(pending)


_MODES = frozenset((file_mode(False), file_mode(True), stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777))


def _is_marked(status: os.stat_result) -> bool:
    return status.st_mtime_ns == STAMP and status.st_mode in _MODES


def is_right(place: str, path: str, manifest: Manifest) -> bool:
    """Whether one path of a tree, the empty one for itself, is as ``manifest`` says. Reads a file that was touched."""
    entry = manifest.get(path) if path else directory_entry("")
    return entry is not None and _is_right(f"{place}/{path}" if path else place, entry, _Children(manifest))
