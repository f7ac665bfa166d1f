"""What belongs to one open store in one process: its temporary roots and its staging area. Both die with the process.

A session is a file whose lock the process holds; the file lists, as plain 32-byte digests, the artifacts that must
survive until the process ends. Staged trees carry the session's name, so leftovers of dead processes are recognised.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator

from nexis_store import fs
from nexis_store.digest import DIGEST_SIZE, TreeDigest
from nexis_store.layout import Layout
from nexis_store.locks import create_held, remove_if_abandoned


class Session:
    """Created on first use: a command that only reads leaves no trace."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._mutex = threading.Lock()
        self._numbers = itertools.count()
        self._fd: int | None = None
        self._pid = 0
        self._name = ""
        self._roots: set[TreeDigest] = set()

    def _ensure(self) -> int:
        if self._fd is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._roots = set()
            self._name = f"{self._pid}-{os.urandom(6).hex()}"
            fs.make_directory(self._layout.temporary_roots, exist_ok=True)
            self._fd = create_held(f"{self._layout.temporary_roots}/{self._name}")
        return self._fd

    def protect(self, digest: TreeDigest) -> bool:
        """Keep ``digest`` from now on; ``False`` when it was kept already."""
        with self._mutex:
            fd = self._ensure()
            if digest in self._roots:
                return False
            fs.write(fd, digest, self._name)
            self._roots.add(digest)
            return True

    def new_staging(self) -> str:
        """A fresh empty directory for a tree that is being written."""
        with self._mutex:
            self._ensure()
            path = f"{self._layout.staging}/{self._name}.{next(self._numbers)}"
        try:
            fs.make_directory(path)
        except FileNotFoundError:
            fs.make_directories(self._layout.staging)
            fs.make_directory(path)
        # A default ACL would pass on to everything that is made below.
        fs.remove_attributes(path)
        return path

    def close(self) -> None:
        """Give up all temporary roots."""
        with self._mutex:
            if self._fd is not None and self._pid == os.getpid():
                # Without its lock the file means nothing, and the next collection removes it.
                with contextlib.suppress(OSError):
                    fs.unlink(f"{self._layout.temporary_roots}/{self._name}")
                os.close(self._fd)
            self._fd = None


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def protected(layout: Layout) -> Iterator[TreeDigest]:
    """The temporary roots of all living processes; files of dead ones are removed."""
    for name in _names(layout.temporary_roots):
        path = f"{layout.temporary_roots}/{name}"
        if remove_if_abandoned(path):
            continue
        with contextlib.suppress(FileNotFoundError):
            data = fs.read_whole(path)
            for at in range(0, len(data) - DIGEST_SIZE + 1, DIGEST_SIZE):
                yield TreeDigest(data[at : at + DIGEST_SIZE])


def abandoned_staging(layout: Layout) -> list[str]:
    """Staged trees whose process is gone."""
    names = _names(layout.staging)
    owners = {name.partition(".")[0] for name in names}
    gone = {owner for owner in owners if not owner or remove_if_abandoned(f"{layout.temporary_roots}/{owner}")}
    return [f"{layout.staging}/{name}" for name in names if name.partition(".")[0] in gone]
