"""Collecting garbage: a plan is computed as a value, then executed. Costs what the garbage costs.

Dead artifacts are on a list, so nothing searches for them. The plan follows what their end releases. Executing it takes
small slices under the lock: check again, forget the metadata, rename into ``.trash``. The bytes are freed afterwards,
without any lock; a kill at any moment leaves at most work for the next collection.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from nexis_store import freeing, fs, refs, roots
from nexis_store.database import Database, Transaction
from nexis_store.digest import BuildKey, TreeDigest
from nexis_store.errors import NotInStoreError
from nexis_store.freeing import Progress
from nexis_store.layout import Layout
from nexis_store.names import decode, encode
from nexis_store.records import (
    ARTIFACT,
    COUNT,
    DEAD,
    DERIVATION,
    DOOMED,
    PENDING,
    PRODUCED,
    REALISATION,
    REFERENCES,
    REFERRER,
    ArtifactRecord,
    decode_realisation,
    latest_key,
    unpack_number,
)
from nexis_store.roots import UnreadableRoot
from nexis_store.session import abandoned_staging, protected

SLICE = 256
"""Artifacts taken under one lock: writers wait some milliseconds at most."""

GROUP = 8 * SLICE
"""Artifacts whose metadata one sync makes durable, before any of their trees is moved."""


@dataclass(frozen=True, slots=True)
class Dead:
    """One artifact that goes."""

    digest: TreeDigest
    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GcPlan:
    """What a collection will do. ``size_bytes`` counts contents; shared ones may be counted more than once."""

    dead: tuple[Dead, ...]
    kept_by_limit: int = 0
    """Dead artifacts left alone because of ``max_freed`` or ``older_than``."""

    roots: tuple[str, ...] = ()
    """Roots that are removed first."""

    unreadable: tuple[UnreadableRoot, ...] = ()
    """Roots whose links cannot be read now; they keep what they kept."""

    @property
    def size_bytes(self) -> int:
        """The sum of the sizes of all files."""
        return sum(each.size_bytes for each in self.dead)

    def __str__(self) -> str:
        lines = [f"{each.digest} {each.size_bytes:>12} {each.name}" for each in self.dead]
        return "\n".join([*lines, f"{len(self.dead)} artifacts, at most {self.size_bytes} bytes"])


@dataclass(frozen=True, slots=True)
class GcResult:
    """What a collection did. ``freed_bytes`` is disk space whose last name went (blocks, not lengths)."""

    collected: int
    freed_bytes: int
    seconds_until_gone: float
    seconds_until_freed: float


def plan_gc(
    layout: Layout,
    database: Database,
    *,
    max_freed: int | None = None,
    older_than_ns: int | None = None,
    without: Sequence[str] = (),
) -> GcPlan:
    """Work out what is garbage now. ``max_freed`` [bytes] stops when enough was found; ``older_than_ns`` spares what
    died less than so long ago. ``without`` names roots that count as removed already: executing the plan removes
    them, and what only they keep goes, however short ago it died."""
    unreadable = roots.reconcile(layout, database)
    ending = [(name, digest) for name, digest in roots.recorded(database).items() if name in set(without)]
    safe = set(protected(layout))
    now = time.time_ns()
    counts: dict[TreeDigest, int] = {}
    chosen: dict[TreeDigest, Dead] = {}
    spared = size = 0
    queue: list[TreeDigest] = []
    for key, value in database.scan(DEAD):
        if older_than_ns is not None and now - unpack_number(value) < older_than_ns:
            spared += 1
            continue
        queue.append(TreeDigest(key[1:]))
    with database.snapshot() as snapshot:
        for _, digest in ending:
            counts[digest] = counts.get(digest, refs.count(snapshot, digest)) - 1
            if counts[digest] == 0:
                queue.append(digest)
        for digest in queue:
            if digest in chosen or digest in safe:
                continue
            stored = snapshot.get(ARTIFACT + digest)
            if stored is None:
                continue
            if max_freed is not None and size >= max_freed:
                spared += 1
                continue
            record = ArtifactRecord.decode(stored)
            chosen[digest] = Dead(digest, record.name, record.size_bytes)
            size += record.size_bytes
            for each in refs.references(snapshot, digest):
                before = counts.get(each)
                left = counts[each] = (refs.count(snapshot, each) if before is None else before) - 1
                if left == 0:
                    queue.append(each)
    return GcPlan(tuple(chosen.values()), spared, tuple(name for name, _ in ending), unreadable)


def execute_gc(
    layout: Layout,
    database: Database,
    plan: GcPlan,
    progress: Progress | None = None,
    *,
    while_freeing: Progress | None = None,
    free: bool = True,
) -> GcResult:
    """Carry out ``plan``; what came back to life since is left alone. Without ``free`` the bytes stay in the trash.

    ``progress`` is told of artifacts that are out of the store, ``while_freeing`` of those whose space is free.
    """
    started = time.perf_counter()
    collected = 0
    for name in plan.roots:
        with contextlib.suppress(NotInStoreError):
            roots.remove_root(layout, database, name)
    fs.make_directory(layout.trash, exist_ok=True)
    for at in range(0, len(plan.dead), GROUP):
        part = plan.dead[at : at + GROUP]
        collected += _forget(layout, database, part)
        if progress is not None:
            progress(at + len(part), len(plan.dead))
    gone = time.perf_counter()
    freed = empty_trash(layout, database, while_freeing) if free else 0
    return GcResult(collected, freed, gone - started, time.perf_counter() - started)


def _forget(layout: Layout, database: Database, part: Sequence[Dead]) -> int:
    """Take some artifacts out of the metadata, then out of sight."""
    taken: list[Dead] = []
    for at in range(0, len(part), SLICE):
        with database.transaction(durable=False) as transaction:
            taken += _forget_slice(layout, transaction, part[at : at + SLICE])
    database.sync()
    for at in range(0, len(taken), SLICE):
        with database.transaction(durable=False) as transaction:
            for dead in taken[at : at + SLICE]:
                _hide(layout, transaction, dead.digest, dead.name)
    return len(taken)


def _forget_slice(layout: Layout, transaction: Transaction, part: Sequence[Dead]) -> list[Dead]:
    taken: list[Dead] = []
    safe = set(protected(layout))
    with transaction.many():
        for each in part:
            # The plan is as old as its snapshot: look again now that nobody else can change anything.
            if each.digest in safe or transaction.get(DEAD + each.digest) is None:
                continue
            forget(transaction, each.digest, each.name)
            taken.append(each)
    return taken


def _hide(layout: Layout, transaction: Transaction, digest: TreeDigest, name: str) -> None:
    """Move a doomed artifact into the trash, unless it was added again meanwhile."""
    if transaction.get(DOOMED + digest) is None:
        return
    _move_to_trash(layout, digest, layout.artifact(digest, name))
    transaction.delete(DOOMED + digest)


def _move_to_trash(layout: Layout, digest: TreeDigest, place: str) -> None:
    tag = f"{layout.trash}/{digest.hex()}.{os.urandom(4).hex()}"
    with contextlib.suppress(FileNotFoundError):
        fs.rename(place, tag)
    with contextlib.suppress(FileNotFoundError):
        fs.rename(layout.sidecar(digest), f"{tag}.tree")


def forget(transaction: Transaction, digest: TreeDigest, name: str) -> None:
    """Remove all metadata of a dead artifact; what only it kept is dead now, too."""
    now = time.time_ns()
    for each in refs.references(transaction, digest):
        transaction.delete(REFERRER + each + digest)
        refs.release(transaction, each, now)
    for table in (ARTIFACT, REFERENCES, COUNT, DEAD, PENDING):
        transaction.delete(table + digest)
    for key, _ in transaction.scan(PRODUCED + digest):
        build = BuildKey(key[-32:])
        value = transaction.get(REALISATION + build)
        if value is not None:
            realisation = decode_realisation(build, value)
            # It may have come out as something else since.
            if digest in realisation.outputs.values():
                transaction.delete(REALISATION + build)
                latest = latest_key(realisation.name, realisation.extra.get("platform", ""))
                for pointer in (DERIVATION + realisation.derivation, latest):
                    if transaction.get(pointer) == build:
                        transaction.delete(pointer)
        transaction.delete(key)
    transaction.put(DOOMED + digest, encode(name))


def empty_trash(layout: Layout, database: Database, progress: Progress | None = None) -> int:
    """Free what interrupted and finished collections left in the trash; returns bytes of disk space."""
    doomed = [(TreeDigest(key[1:]), decode(value)) for key, value in database.scan(DOOMED)]
    if doomed:
        with database.transaction(durable=False) as transaction:
            for digest, name in doomed:
                _hide(layout, transaction, digest, name)
    for path in abandoned_staging(layout):
        _take_unknown(layout, database, path)
        fs.remove_tree(path)
    try:
        names = set(os.listdir(layout.trash))
    except FileNotFoundError:
        return 0
    # A description goes with its tree.
    trees = sorted(name for name in names if not (name.endswith(".tree") and name.removesuffix(".tree") in names))
    return freeing.free_all(layout, [f"{layout.trash}/{name}" for name in trees], progress)


def _take_unknown(layout: Layout, database: Database, staging: str) -> None:
    """Take away the tree that a process showed and then was killed before the journal knew of it."""
    try:
        relative = decode(fs.read_whole(f"{staging}/goal"))
        digest = TreeDigest.parse(os.path.basename(relative)[:64])
    except (OSError, ValueError):
        return
    if relative == layout.relative_artifact(digest, os.path.basename(relative)[65:]):
        take_unknown(layout, database, digest, f"{layout.root}/{relative}")


def take_unknown(layout: Layout, database: Database, digest: TreeDigest, place: str) -> None:
    """Move a tree into the trash if neither metadata nor roots name it: nobody will find it again."""
    fs.make_directory(layout.trash, exist_ok=True)
    with database.transaction() as transaction:
        if transaction.get(ARTIFACT + digest) is None and not _is_kept(layout, transaction, digest):
            _move_to_trash(layout, digest, place)


def _is_kept(layout: Layout, transaction: Transaction, digest: TreeDigest) -> bool:
    """Whether a root keeps a tree that no metadata name, or may do so: ``recover`` takes it back."""
    return bool(roots.on_disk(layout).unreadable) or digest in roots.lost(layout, transaction)
