"""Where running builds keep their files: one directory per engine below the store.

The directory lies in the store's own file system so that results can be moved in. Each engine holds a lock on its own;
what is not locked was left by an engine that died (kill -9, power cut) and is deleted at the next start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self


def remove_tree(path: Path) -> None:
    """Delete a directory that a build wrote, whatever permissions it left behind."""

    def make_writable(directory: str) -> None:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    Path(entry.path).chmod(stat.S_IRWXU)
                    make_writable(entry.path)

    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        path.chmod(stat.S_IRWXU)
        make_writable(str(path))
        shutil.rmtree(path)


class Workspace:
    """A private directory for one engine; use it as a context manager."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._lock = -1
        self.path = parent

    def __enter__(self) -> Self:
        self._parent.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self.path = Path(tempfile.mkdtemp(dir=self._parent, prefix="engine-"))
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def _sweep(self) -> None:
        """Remove what dead engines left. A directory without its lock file yet belongs to one that is just starting."""
        for orphan in self._parent.iterdir():
            try:
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
        return Path(tempfile.mkdtemp(dir=self.path, prefix=f"{name}-"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        remove_tree(self.path)
        os.close(self._lock)
