"""Locks between threads and processes. The kernel releases them when a process dies, so none is ever stale."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from nexis_store import fs


@contextlib.contextmanager
def locked(path: str, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file ``path``; waits as long as it takes. The file stays."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked_while_needed(path: str) -> Iterator[None]:
    """Hold the lock file ``path``, which exists only while somebody holds it or waits for it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Whoever held it before may have removed the name we opened: then others no longer meet us here.
            if not _names(path, fd):
                continue
            try:
                yield
            finally:
                os.unlink(path)
            return
        finally:
            os.close(fd)


def create_held(path: str) -> int:
    """Create a file whose lock shows that this process lives; returns its descriptor, open for appending."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if _names(path, fd):
            return fd
        os.close(fd)


def remove_if_abandoned(path: str) -> bool:
    """Remove a file made by ``create_held`` if its process is gone; says whether it is."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        if _names(path, fd):
            fs.unlink(path)
        return True
    finally:
        os.close(fd)


def _names(path: str, fd: int) -> bool:
    try:
        there, here = os.stat(path), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
