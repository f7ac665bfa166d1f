"""Where downloads that broke off are kept for the next run: by the hash that the whole file must have.

A large file over a bad line comes in pieces; a run that ends early loses none of them. Whoever holds the lock of a
partial file writes it; somebody else who wants the same file at that moment downloads it for himself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nexis_eval.graph.derivation import Fetch
from nexis_store.homes import cache_directory

KEPT_SECONDS = 14 * 86400.0


@contextmanager
def partial_of(source: Fetch, private: Path) -> Iterator[Path]:
    """The file to receive ``source`` in, perhaps begun by an earlier run; ``private`` where none can be kept."""
    path = cache_directory("partial") / f"{source.algorithm}-{source.hash}"
    descriptor = _claim(path)
    if descriptor is None:
        try:
            yield private
        finally:
            private.unlink(missing_ok=True)
        return
    try:
        yield path
    finally:
        with suppress(OSError):
            if path.exists() and not path.stat().st_size:
                path.unlink()
        os.close(descriptor)


def _claim(path: Path) -> int | None:
    """Lock the file; ``None`` if another process has it, or the directory cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_old(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _forget_old(directory: Path) -> None:
    oldest = time.time() - KEPT_SECONDS
    for each in directory.iterdir():
        with suppress(OSError):
            if each.stat().st_mtime < oldest:
                each.unlink()


def move(path: Path, target: Path) -> None:
    """Give a file its final name, on another file system if need be."""
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(path, target)
        path.unlink()
