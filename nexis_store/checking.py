"""Reading every byte of a store: on all processors, resumable, with what is found as values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nexis_store import fs, workers
from nexis_store.digest import TreeDigest
from nexis_store.freeing import Progress
from nexis_store.layout import Layout
from nexis_store.records import ARTIFACT, REFERENCES, ArtifactRecord
from nexis_store.verify import Problem, Reader, still_there, unknown_trees, verify_tree

if TYPE_CHECKING:
    from nexis_store.store import Store

_BATCH = 2048
"""Artifacts between two notes of how far the check is."""

_FEW = 1000
"""So few entries are read before a helper has started."""

_ENTRY_BYTES = 100_000
"""Looking at an entry takes about as long as hashing so many bytes."""


def check_contents(
    store: Store,
    digests: Iterable[TreeDigest] | None = None,
    *,
    resume: bool = False,
    descriptions: bool = False,
    progress: Progress | None = None,
) -> list[Problem]:
    """Compare the files of the given artifacts, or of all, with their digests.

    With ``descriptions`` their directories and descriptions are compared with the metadata as well, as
    ``Store.verify`` does: both together read each description once.

    A run over all notes how far it is, if the store can be written to; with ``resume`` it begins behind what an
    interrupted one has read. Contents that several artifacts share by hard links are read once.
    """
    note = f"{store.layout.database}/verified"
    everything = digests is None
    chosen = _names(store, digests)
    if everything and resume:
        with contextlib.suppress(FileNotFoundError, ValueError):
            last = TreeDigest.parse(fs.read_whole(note).decode("ascii"))
            # A note that names nothing was damaged, or is very old.
            if any(digest == last for digest, _ in chosen):
                chosen = [each for each in chosen if each[0] > last]
    referring = {key[1:]: value for key, value in store.database.scan(REFERENCES)} if descriptions else None
    problems: list[Problem] = []
    for at in range(0, len(chosen), _BATCH):
        part = chosen[at : at + _BATCH]
        for found in workers.in_processes(partial(_check_part, store.layout, referring), _shares(part)):
            problems += still_there(store.database, found)
        if everything and not store.database.readonly:
            fs.write_atomically(note, str(part[-1][0]).encode(), durable=False)
        if progress is not None:
            progress(at + len(part), len(chosen))
    if everything:
        problems += unknown_trees(store.layout, store.database)
        if not store.database.readonly:
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(note)
    return problems


def _names(store: Store, digests: Iterable[TreeDigest] | None) -> list[tuple[TreeDigest, ArtifactRecord]]:
    if digests is None:
        return [(TreeDigest(key[1:]), ArtifactRecord.decode(value)) for key, value in store.database.scan(ARTIFACT)]
    with store.database.snapshot() as snapshot:
        stored = ((digest, snapshot.get(ARTIFACT + digest)) for digest in digests)
        return [(digest, ArtifactRecord.decode(value)) for digest, value in stored if value is not None]


def _shares(part: Sequence[tuple[TreeDigest, ArtifactRecord]]) -> list[Sequence[tuple[TreeDigest, ArtifactRecord]]]:
    """About the same work for each process: the largest ones go first, each to who has least so far."""
    count = workers.processes()
    if count == 1 or sum(record.entries for _, record in part) < _FEW:
        return [part]
    shares: list[list[tuple[TreeDigest, ArtifactRecord]]] = [[] for _ in range(count)]
    load = [0] * count
    for each in sorted(part, key=lambda each: -each[1].size_bytes):
        least = load.index(min(load))
        shares[least].append(each)
        load[least] += each[1].size_bytes + _ENTRY_BYTES * each[1].entries
    return list(shares)


def _check_part(
    layout: Layout, referring: Mapping[bytes, bytes] | None, part: Sequence[tuple[TreeDigest, ArtifactRecord]]
) -> list[Problem]:
    reader = Reader()
    problems: list[Problem] = []
    for digest, record in part:
        references = None if referring is None else referring.get(digest, b"")
        problems += verify_tree(layout, digest, record.name, reader, references)
    return problems
