"""Where running builds keep their files: one directory per engine below the store.

The directory lies in the store's own file system so that results can be moved in. Each engine holds a lock on its own;
what is not locked was left by an engine that died (kill -9, power cut) and is deleted at the next start.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from nexis_store.digest import DerivationId
from nexis_store.names import directory_name

ID_DIGITS = 12
"""So many of an id's digits tell two derivations of one name apart."""


def build_name(name: str, each: DerivationId) -> str:
    """How the directories of builds of a derivation called ``name`` begin, and are found by those who read along."""
    return f"{name}-{each.hex()[:ID_DIGITS]}"


def remove_tree(path: Path) -> None:
    """Delete a directory that a build wrote, whatever permissions it left behind and however deep it goes.

    Directories are moved up to the top before they are emptied, so that no path is ever long and nothing recurses:
    configure scripts and hostile builds make trees that are deeper than a path may name.
    """
    if _remove_shallow(os.fspath(path)):
        return
    path.chmod(stat.S_IRWXU)
    number = 0
    while True:
        with os.scandir(path) as found:
            entries = list(found)
        if not entries:
            break
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                Path(entry.path).unlink()
                continue
            Path(entry.path).chmod(stat.S_IRWXU)
            with os.scandir(entry.path) as found:
                children = list(found)
            for child in children:
                if child.is_dir(follow_symlinks=False):
                    Path(child.path).chmod(stat.S_IRWXU)
                    number += 1
                    Path(child.path).rename(path / f".removed-{number}-{os.getpid()}")
                else:
                    Path(child.path).unlink()
            Path(entry.path).rmdir()
    path.rmdir()


def _remove_shallow(path: str) -> bool:
    """Remove a directory that holds nothing but files and empty directories, as most builds leave theirs."""
    try:
        with os.scandir(path) as found:
            entries = list(found)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                os.rmdir(entry.path)  # noqa: PTH106  # Paths cost more than the calls, and there may be many builds.
            else:
                os.unlink(entry.path)  # noqa: PTH108
        os.rmdir(path)  # noqa: PTH106
    except FileNotFoundError:
        return not os.path.lexists(path)
    except OSError:
        return False
    return True


class Workspace:
    """A private directory for one engine; use it as a context manager.

    ``parent`` may be a directory that others use too (``/dev/shm``), as long as ``prefix`` is not theirs.
    """

    def __init__(self, parent: Path, prefix: str = "engine-") -> None:
        self._parent = parent
        self._prefix = prefix
        self._lock = -1
        self._numbers = itertools.count(1)
        self.path = parent

    def __enter__(self) -> Self:
        self._parent.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self.path = Path(tempfile.mkdtemp(dir=self._parent, prefix=self._prefix))
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def _sweep(self) -> None:
        """Remove what dead engines left. A directory without its lock file yet belongs to one that is just starting."""
        for orphan in self._parent.glob(f"{self._prefix}*"):
            try:
                # Where others may write too, they could have put a link to something of ours there.
                found = orphan.lstat()
                if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                    continue
                descriptor = os.open(orphan / "lock", os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(orphan)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)

    def directory(self, name: str) -> Path:
        """A fresh directory whose name starts with ``name``."""
        path = self.path / f"{directory_name(name)}-{next(self._numbers)}"
        path.mkdir(0o700)
        return path

    def keep(self, directory: Path) -> Path:
        """Move a directory out of the workspace, so that it stays when the engine ends; returns its new place."""
        place = Path(tempfile.mkdtemp(dir=self._parent, prefix=f"failed-{directory.name}-"))
        return directory.rename(place)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        remove_tree(self.path)
        os.close(self._lock)
