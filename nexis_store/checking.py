"""Reading every byte of a store: in several threads, resumable, with what is found as values."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from nexis_store import fs
from nexis_store.digest import TreeDigest
from nexis_store.gc import Progress
from nexis_store.records import ARTIFACT, ArtifactRecord
from nexis_store.verify import Problem, unknown_trees, verify_contents

if TYPE_CHECKING:
    from nexis_store.store import Store

_BATCH = 256
_LARGE = 128 << 10
"""Mean size [bytes] from which files are read in parallel."""


def check_contents(
    store: Store, digests: Iterable[TreeDigest] | None = None, *, resume: bool = False, progress: Progress | None = None
) -> list[Problem]:
    """Compare the files of the given artifacts, or of all, with their digests.

    A run over all notes how far it is; with ``resume`` it begins behind what an interrupted one has read. Contents that
    several artifacts share by hard links are read once.
    """
    note = f"{store.layout.database}/verified"
    everything = digests is None
    chosen = sorted(each.digest for each in store.artifacts()) if digests is None else list(digests)
    if everything and resume:
        with contextlib.suppress(FileNotFoundError, ValueError), open(note, encoding="ascii") as file:
            last = TreeDigest.parse(file.read())
            chosen = [each for each in chosen if each > last]
    problems: list[Problem] = []
    seen: dict[tuple[int, int], bytes] = {}

    def check(digest: TreeDigest) -> list[Problem]:
        return list(verify_contents(store.layout, store.database, digest, seen))

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for at in range(0, len(chosen), _BATCH):
            part = chosen[at : at + _BATCH]
            large = [each for each in part if _has_large_files(store, each)]
            running = pool.map(check, large)
            # Threads gain where hashing and reading take long. For small files they would only fight for Python.
            small = sorted(set(part) - set(large))
            for found in (*map(check, small), *running):
                problems += found
            if everything:
                fs.write_atomically(note, str(part[-1]).encode(), durable=False)
            if progress is not None:
                progress(min(at + _BATCH, len(chosen)), len(chosen))
    if everything:
        problems += unknown_trees(store.layout, store.database)
        with contextlib.suppress(FileNotFoundError):
            fs.unlink(note)
    return problems


def _has_large_files(store: Store, digest: TreeDigest) -> bool:
    stored = store.database.get(ARTIFACT + digest)
    if stored is None:
        return False
    record = ArtifactRecord.decode(stored)
    return record.size_bytes > _LARGE * record.entries
