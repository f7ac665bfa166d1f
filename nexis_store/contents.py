"""The bytes of the files of a staged tree: written once, linked where the store or the tree has them already."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from nexis_store import fs, workers
from nexis_store.database import Database
from nexis_store.digest import FileDigest
from nexis_store.errors import StoreError
from nexis_store.hashing import hash_large
from nexis_store.layout import Layout
from nexis_store.marks import is_intact, is_untouched
from nexis_store.records import LARGE, SMALL, pack_number

TINY = 1 << 10
"""Files of at most so many bytes are not shared with other artifacts: ``docs/decisions/store-sharing.md``."""

CHUNK = 1 << 22


class Contents:
    """Puts contents at places below ``staging``/tree. ``fresh`` knows the first place of each one that is new."""

    def __init__(
        self, layout: Layout, database: Database, staging: str, *, exact_modes: bool, stopped: threading.Event
    ) -> None:
        self.fresh: dict[tuple[FileDigest, bool], str] = {}
        self._offers: list[tuple[str, str]] = []
        self._layout = layout
        self._database = database
        self._staging = staging
        self._tree = f"{staging}/tree"
        self._exact = exact_modes
        self._stopped = stopped

    def move(self, source: str, place: str, executable: bool) -> None:
        """Take a file away from where it is, by renaming it where that is possible: attributes would come along."""
        mode = 0o555 if executable else 0o444
        if fs.live_attributes(source):
            self.copy(source, place, mode)
            return
        try:
            fs.rename(source, place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self.copy(source, place, mode)
        else:
            fs.finish_path(place, mode)

    def copy(self, source: str, place: str, mode: int) -> None:
        """A file of its own with the bytes of another: shared blocks where the file system can, else a copy."""
        with open(fs.open_regular(source), "rb", buffering=0) as stream:
            fd = fs.create(place)
            try:
                fs.copy(stream.fileno(), fd, place)
                fs.finish(fd, mode, place)
            finally:
                os.close(fd)

    def look_for_large(self, source: str, size: int, executable: bool) -> FileDigest | None:
        """The digest of a large file if the store has it already; reading it is much cheaper than writing it again."""
        if size <= SMALL or self._database.get(LARGE + pack_number(size)) is None:
            return None
        digest = hash_large(source, self._stopped)
        return digest if os.access(self._layout.link(digest, executable), os.F_OK) else None

    def from_path(self, place: str, source: str, executable: bool, *, looked: bool = False) -> tuple[FileDigest, int]:
        """Copy a file; returns its digest and its size. ``looked`` says that ``look_for_large`` found nothing."""
        with open(fs.open_regular(source, follow=True), "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size <= SMALL:
                return self.from_stream(place, stream, executable)
            known = None if looked else self.look_for_large(source, size, executable)
            if known is not None and self.known(place, known, executable, size):
                return known, size
            fd = fs.create(place)
            try:
                fs.copy(stream.fileno(), fd, place)
                fs.finish(fd, 0o555 if executable else 0o444, place)
            finally:
                os.close(fd)
        # What is hashed is what was written (still in memory), so a source that changes meanwhile does no harm.
        digest = hash_large(place, self._stopped)
        size = os.stat(place).st_size
        self._keep_one(place, digest, executable, size)
        return digest, size

    def _keep_one(self, place: str, digest: FileDigest, executable: bool, size: int) -> None:
        """Replace a file just written by a copy that was there before, if there is one."""
        spare = f"{self._staging}/spare"
        if self.known(spare, digest, executable, size):
            fs.rename(spare, place)
        else:
            self.fresh[digest, executable] = place

    def small(self, place: str, data: bytes, executable: bool) -> FileDigest:
        """The same for bytes whose digest is not known yet; returns it."""
        digest = FileDigest(blake3(data).digest())
        self.put(place, digest, data, executable)
        return digest

    def put(self, place: str, digest: FileDigest, data: bytes | memoryview, executable: bool) -> None:
        """Write a small file, unless its content is there already."""
        if not self.known(place, digest, executable, len(data)):
            fs.write_file(place, data, 0o555 if executable else 0o444, exact=self._exact)
            if len(data) > TINY:
                self.fresh[digest, executable] = place

    def from_stream(self, place: str, stream: BinaryIO, executable: bool) -> tuple[FileDigest, int]:
        """Read a stream to its end and place its bytes."""
        head = stream.read(SMALL + 1) or b""
        while len(head) <= SMALL and (more := stream.read(SMALL + 1 - len(head))):
            head += more
        if len(head) <= SMALL:
            return self.small(place, head, executable), len(head)
        hasher = blake3(head, max_threads=blake3.AUTO)
        size = len(head)
        fd = fs.create(place)
        try:
            fs.write(fd, head, place)
            while chunk := stream.read(CHUNK):
                if self._stopped.is_set():
                    raise StoreError("adding a file was stopped", hint="repeat the command")
                hasher.update(chunk)
                fs.write(fd, chunk, place)
                size += len(chunk)
            fs.finish(fd, 0o555 if executable else 0o444, place)
        finally:
            os.close(fd)
        digest = FileDigest(hasher.digest())
        self._keep_one(place, digest, executable, size)
        return digest, size

    def known(self, place: str, digest: FileDigest, executable: bool, size: int) -> bool:
        """Link ``place`` to a copy of the content that is there already, if there is one."""
        if size <= TINY:
            return False
        source = self.fresh.get((digest, executable))
        if source is not None:
            return self._linked(source, place)
        source = self._layout.link(digest, executable)
        # Asking is cheaper than a link that fails.
        if not os.access(source, os.F_OK):
            return False
        if self._linked(source, place):
            if is_untouched(os.lstat(place), size, executable):
                return True
            if is_intact(place, digest, size, executable):
                fs.stamp(place)
                return True
            # Damaged, or cut by a power failure before it was ever part of an artifact: never serve it.
            fs.unlink(place)
        # Damaged, or with as many names as the file system allows: a new copy takes over.
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            fs.unlink(source)
        return False

    def _linked(self, source: str, place: str) -> bool:
        try:
            fs.link(source, place)
        except FileNotFoundError:
            return False
        except OSError as error:
            # A directory in its place cannot be linked.
            if error.errno not in (errno.EMLINK, errno.EPERM):
                raise
            return False
        return True

    def keep_first(self, place: str, digest: FileDigest, executable: bool) -> None:
        """Let files with one content that two helpers have written be one file."""
        first = self.fresh.setdefault((digest, executable), place)
        if first != place:
            spare = f"{self._staging}/spare"
            try:
                fs.link(first, spare)
            except OSError as error:
                if error.errno != errno.EMLINK:
                    raise
            else:
                fs.rename(spare, place)

    def prepare_offer(self) -> None:
        """Work out what ``offer`` will do, while the disk is busy and the processor is not."""
        fresh, self.fresh = self.fresh, {}
        skip = len(self._tree)
        self._offers += [
            (place[skip:], self._layout.link(digest, executable)) for (digest, executable), place in fresh.items()
        ]
        # Those that share a directory go to one helper.
        self._offers.sort(key=itemgetter(1))

    def offer(self, tree: Path) -> None:
        """Share new contents with later artifacts; ``tree`` is where they lie now.

        Only now, when they are durable: see ``docs/store.md``.
        """
        self.prepare_offer()
        wanted, self._offers = self._offers, []
        helpers = workers.processes() if len(wanted) >= workers.MANY else 1
        size = -(-len(wanted) // helpers) or 1
        parts = [wanted[at : at + size] for at in range(0, len(wanted), size)]
        workers.in_processes(partial(_link_all, os.fspath(tree)), parts)


def _link_all(tree: str, wanted: Sequence[tuple[str, str]]) -> None:
    for place, pool in wanted:
        source = tree + place
        try:
            try:
                fs.link(source, pool)
            except FileNotFoundError:
                fs.make_directories(os.path.dirname(pool))
                fs.link(source, pool)
        except (FileExistsError, FileNotFoundError, NotADirectoryError):
            # Somebody else was first, or the artifact was there already, or has just been collected. A file where a
            # directory belongs is for ``verify`` to name: the artifact is complete without being shared.
            continue
