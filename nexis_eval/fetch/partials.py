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

KEPT_SECONDS = 14 * 86400.0


def partials_directory() -> Path | None:
    """Where they are; ``None`` for somebody without a home."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "nexis" / "partial"
    with suppress(RuntimeError):
        return Path.home() / ".cache" / "nexis" / "partial"
    return None


@contextmanager
def partial_of(source: Fetch, private: Path) -> Iterator[Path]:
    """The file to receive ``source`` in, perhaps begun by an earlier run; ``private`` where none can be kept."""
    kept = partials_directory()
    descriptor = None if kept is None else _claim(kept, f"{source.algorithm}-{source.hash}")
    if kept is None or descriptor is None:
        try:
            yield private
        finally:
            private.unlink(missing_ok=True)
        return
    path = kept / f"{source.algorithm}-{source.hash}"
    try:
        yield path
    finally:
        with suppress(OSError):
            if path.exists() and not path.stat().st_size:
                path.unlink()
        os.close(descriptor)


def _claim(directory: Path, name: str) -> int | None:
    """Lock the file ``name``; ``None`` if another process has it, or the directory cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _forget_old(directory)
        path = directory / name
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
