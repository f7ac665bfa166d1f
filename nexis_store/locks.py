"""Locks between threads and processes. The kernel releases them when a process dies, so none is ever stale."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

from nexis_store import fs
from nexis_store.errors import StoreError, cannot_write


def open_lock(path: str) -> int:
    """Open the lock file ``path``, which is made where there is none; returns its descriptor. Raises ``StoreError``."""
    try:
        return fs.open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise cannot_write(error, f"the lock {path}") from error


@contextlib.contextmanager
def locked(path: str, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file ``path``; waits as long as it takes. The file stays."""
    fd = open_lock(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def take_while_needed(path: str, *, wait: bool = True) -> Callable[[], None] | None:
    """Take the lock file ``path``, which exists only while somebody holds it or waits for it.

    Returns what releases it; ``None`` if ``wait`` is false and somebody else holds it.
    """
    while True:
        fd = open_lock(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        # Whoever held it before may have removed the name we opened: then others no longer meet us here.
        if _names(path, fd):
            return partial(_release, path, fd)
        os.close(fd)


def _release(path: str, fd: int) -> None:
    try:
        os.unlink(path)
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
    """Remove a file made by ``create_held`` if its process is gone; says whether it is.

    What is no regular file is none of ours: it is removed as well. Raises ``StoreError`` for a file that nobody lets
    us open: its process may live.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            fs.remove_tree(path)
            return True
        fd = fs.open_regular(path)
    except FileNotFoundError:
        return True
    except PermissionError as error:
        raise StoreError(
            f"{path}, which says what a process uses, cannot be read: {error.strerror}",
            hint="run the command as the user who owns it, or remove it if nobody uses the store now",
        ) from error
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
