"""Deleting the trees in the trash, by their descriptions, and what of the pool only they had."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial

from nexis_store import fs, workers
from nexis_store.digest import FileDigest
from nexis_store.layout import Layout
from nexis_store.tree import skim

THREADS = 8
CHUNK = 16
WARM_UP = 4
"""Trees whose deletion tells nothing, because it first reads directories and inodes."""
SAMPLE = 200
SLOW_SECONDS = 60e-6
"""If deleting a file takes longer than this, over so many files, it waits for the device: ``docs/decisions``."""
FEW = 64
"""So few trees are deleted before helpers have started."""

LOOK_FROM_BYTES = 1 << 20
"""Size of files from which it is asked which of their blocks other files share."""


Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


def free_all(layout: Layout, paths: Sequence[str], progress: Progress | None = None) -> int:
    """Delete trees of the trash; returns the disk space [bytes] that came free.

    The first ones tell whether deleting waits for the device: then more wait at once than there are processors.
    """
    freed = files = 0
    started = time.perf_counter()
    position = 0
    while position < len(paths) and (position < WARM_UP or files < SAMPLE):
        if position == WARM_UP:
            files, started = 0, time.perf_counter()
        space, count = free(layout, paths[position])
        freed += space
        files += count
        position += 1
    slow = time.perf_counter() - started > SLOW_SECONDS * files
    rest = paths[position:]
    helpers = workers.processes()
    if len(rest) < FEW or (helpers == 1 and not slow):
        return freed + _free_part(layout, _told(progress, position, len(paths), 1), rest)
    if helpers > 1:
        helpers = workers.MOST if slow else helpers
        parts = [rest[each::helpers] for each in range(helpers)]
        tell = _told(progress, position, len(paths), helpers)
        return freed + sum(workers.in_processes(partial(_free_part, layout, tell), parts))
    from concurrent.futures import ThreadPoolExecutor

    parts = [rest[at : at + CHUNK] for at in range(0, len(rest), CHUNK)]
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        return freed + sum(pool.map(partial(_free_part, layout, None), parts))


def _told(progress: Progress | None, before: int, total: int, helpers: int) -> Callable[[int], None] | None:
    """Tells of this process's part as if all helpers were as far; those in other processes say nothing."""
    if progress is None:
        return None
    me = os.getpid()
    return lambda done: progress(min(before + done * helpers, total), total) if os.getpid() == me else None


def _free_part(layout: Layout, tell: Callable[[int], None] | None, paths: Sequence[str]) -> int:
    freed = 0
    for done, path in enumerate(paths, 1):
        freed += free(layout, path)[0]
        if tell is not None and (done % CHUNK == 0 or done == len(paths)):
            tell(done)
    return freed


def free(layout: Layout, path: str) -> tuple[int, int]:
    """Delete one tree of the trash, and those contents that no other artifact shares: (bytes freed, files deleted)."""
    description = f"{path}.tree"
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                # What somebody put in place of a tree. A symlink leads out of the store.
                raise NotADirectoryError(path)
        listed = skim(fs.read_whole(description))
    except (OSError, ValueError, IndexError, struct.error):
        try:
            freed, files = _remove_unlisted(path)
        except PermissionError:
            freed, files = 0, 0
            fs.remove_tree(path)
    else:
        freed, files = _remove_listed(layout, path, listed)
    try:
        fs.unlink(description)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        fs.remove_tree(description)
    return freed, files


def _remove_listed(layout: Layout, path: str, listed: list[tuple[str, bytes | None, bool]]) -> tuple[int, int]:
    """Delete a tree by its description, without listing a directory."""
    freed = files = 0
    prefix = f"{path}/"
    directories = [prefix]
    pooled: dict[str, None] = {}
    if not all(map(_is_no_other, (path, *(prefix + each[0][:-1] for each in listed if each[0][-1] == "/")))):
        # Below a symlink lies what is not the store's.
        freed, files = _remove_unlisted(path)
    for relative, digest, executable in listed:
        place = prefix + relative
        if relative[-1] == "/":
            directories.append(place)
            continue
        try:
            if digest is not None:
                status = os.lstat(place)
                if status.st_nlink == 1:
                    freed += own_bytes(place, status)
                else:
                    pooled[layout.link(FileDigest(digest), executable)] = None
            fs.unlink(place)
            files += 1
        except FileNotFoundError:
            # An interrupted collection deleted it, but perhaps not the name in the pool.
            if digest is not None:
                pooled[layout.link(FileDigest(digest), executable)] = None
        except (NotADirectoryError, IsADirectoryError):
            continue
    try:
        for directory in reversed(directories):
            with contextlib.suppress(FileNotFoundError):
                fs.remove_directory(directory)
    except OSError:
        # It holds more than it should, or something else than it should.
        space, more = _remove_unlisted(path)
        freed, files = freed + space, files + more
    for place in pooled:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(place)
            if status.st_nlink == 1:
                freed += own_bytes(place, status)
                fs.unlink(place)
                files += 1
    return freed, files


def _is_no_other(path: str) -> bool:
    """Whether this is a directory, or gone."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return True


def own_bytes(path: str, status: os.stat_result) -> int:
    """Disk space that comes free with a file's last name: its blocks, less those that reflinks share."""
    space = status.st_blocks * 512
    # For small files looking would cost more than deleting, and they hardly matter.
    if status.st_size > LOOK_FROM_BYTES and stat.S_ISREG(status.st_mode):
        space -= min(space, fs.shared_bytes(path))
    return space


def _remove_unlisted(path: str) -> tuple[int, int]:
    """Delete a tree whatever it holds; the disk space of files that had no other name, and how many files it had."""
    freed = files = 0
    if os.path.islink(path):
        fs.unlink(path)
        return 0, 1
    pending = [path]
    directories: list[str] = []
    while pending:
        directory = pending.pop()
        directories.append(directory)
        try:
            entries = list(os.scandir(directory))
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            fs.unlink(directory)
            directories.pop()
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
                continue
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if status.st_nlink == 1:
                    freed += own_bytes(entry.path, status)
                fs.unlink(entry.path)
                files += 1
    for directory in reversed(directories):
        with contextlib.suppress(FileNotFoundError):
            fs.remove_directory(directory)
    return freed, files
