"""The moment a tree becomes part of the store: one rename, then one record of the journal (``docs/store.md``)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nexis_store import fs, refs
from nexis_store.database import Database, Transaction
from nexis_store.digest import TreeDigest
from nexis_store.durability import Durability
from nexis_store.errors import DamagedStoreError, NotInStoreError, StoreError
from nexis_store.layout import Layout
from nexis_store.marks import is_whole
from nexis_store.names import decode, encode
from nexis_store.records import ARTIFACT, DEAD, DOOMED, LARGE, PENDING, SMALL, ArtifactRecord, pack_number
from nexis_store.session import Session
from nexis_store.sidecar import encode_sidecar, with_references
from nexis_store.tree import Manifest


@dataclass(frozen=True, slots=True)
class Artifact:
    """A tree in the store. ``path`` is the directory that holds it, read-only for everybody."""

    digest: TreeDigest
    name: str
    path: Path
    size_bytes: int
    references: tuple[TreeDigest, ...] = ()


class Host(Protocol):
    """What a writer needs of the store it writes to."""

    layout: Layout
    session: Session

    @property
    def database(self) -> Database:
        """The metadata."""
        ...

    def manifest(self, digest: TreeDigest) -> Manifest:
        """The listing of an artifact."""
        ...

    def path(self, digest: TreeDigest) -> Path:
        """Where an artifact is."""
        ...

    @property
    def stopped(self) -> threading.Event:
        """Set when whoever adds something gives up."""
        ...

    @property
    def durability(self) -> Durability:
        """How bytes get to the disk."""
        ...


def publish(
    host: Host,
    manifest: Manifest,
    name: str,
    wanted: tuple[TreeDigest, ...],
    staging: str,
    added_ns: int,
    *,
    mend: bool = False,
) -> Artifact:
    """Show the durable tree in ``staging`` under its digest, or add references to what is there already.

    With ``mend`` what is there was damaged: the staged tree takes its place if that is still so.
    """
    try:
        with host.database.transaction() as transaction:
            return publish_in(host, transaction, manifest, name, wanted, staging, added_ns, mend=mend)
    except BaseException:
        withdraw(host, manifest.digest, name, staging)
        raise


def withdraw(host: Host, digest: TreeDigest, name: str, staging: str) -> None:
    """Take back a tree that was shown although the journal could not take it."""
    if os.path.exists(f"{staging}/tree"):
        return
    with host.database.transaction() as transaction:
        if transaction.get(ARTIFACT + digest) is None:
            with contextlib.suppress(FileNotFoundError):
                fs.rename(host.layout.artifact(digest, name), f"{staging}/tree")
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(host.layout.sidecar(digest))


def publish_in(
    host: Host,
    transaction: Transaction,
    manifest: Manifest,
    name: str,
    wanted: tuple[TreeDigest, ...],
    staging: str,
    added_ns: int,
    *,
    mend: bool = False,
) -> Artifact:
    """``publish`` as a part of a larger change; if that fails, ``withdraw`` takes it back."""
    digest, layout = manifest.digest, host.layout
    _check_present(transaction, name, wanted)
    stored = transaction.get(ARTIFACT + digest)
    if stored is not None:
        record = ArtifactRecord.decode(stored)

        def describe(all: tuple[TreeDigest, ...]) -> bytes:
            return encode_sidecar(record.name, all, manifest, record.added_ns)

        after = _refer(layout, transaction, digest, wanted, staging, describe)
        # Looked at again under the lock: somebody else may have mended it, and what is whole is not replaced.
        if mend and not is_whole(layout, digest, record.name, manifest):
            _mend(layout, digest, record.name, staging, describe(after))
    elif not os.path.exists(f"{staging}/description"):
        raise StoreError(f"{name} was collected while it was added again", hint="repeat the command")
    else:
        record = ArtifactRecord(name, manifest.size_bytes, len(manifest), added_ns)
        doomed = transaction.get(DOOMED + digest)
        if doomed is not None and decode(doomed) != name:
            # A collection has forgotten it and not yet moved it away. Under its other name nobody would find it again.
            with contextlib.suppress(FileNotFoundError):
                fs.rename(layout.artifact(digest, decode(doomed)), f"{staging}/doomed")
        show(layout, digest, name, staging)
        after = refs.add_references(transaction, digest, wanted)
        transaction.put(ARTIFACT + digest, record.encode())
        transaction.put(DEAD + digest, pack_number(added_ns))
        transaction.put(PENDING + digest, encode(os.path.basename(staging)))
        transaction.delete(DOOMED + digest)
        for entry in manifest.entries():
            if entry.size > SMALL:
                transaction.put(LARGE + pack_number(entry.size), b"")
    return Artifact(digest, record.name, Path(layout.artifact(digest, record.name)), record.size_bytes, after)


def _mend(layout: Layout, digest: TreeDigest, name: str, staging: str, description: bytes) -> None:
    """Put the staged tree where a damaged one is, durably: the metadata name it already."""
    place = layout.artifact(digest, name)
    fs.make_directories(layout.bucket(digest))
    fs.write_atomically(layout.sidecar(digest), description, mode=0o444)
    if os.path.lexists(place):
        fs.exchange(f"{staging}/tree", place)
    else:
        fs.rename(f"{staging}/tree", place)
    fs.sync_path(layout.bucket(digest))


def _check_present(transaction: Transaction, name: str, wanted: Iterable[TreeDigest]) -> None:
    for each in wanted:
        if transaction.get(ARTIFACT + each) is None:
            raise NotInStoreError(
                f"{name} refers to {each}, which is not in the store", hint="add what is referred to first"
            )


def _refer(
    layout: Layout,
    transaction: Transaction,
    digest: TreeDigest,
    wanted: Iterable[TreeDigest],
    staging: str,
    describe: Callable[[tuple[TreeDigest, ...]], bytes],
) -> tuple[TreeDigest, ...]:
    """Let an artifact that is there refer to ``wanted`` too; returns all it refers to."""
    before = refs.references(transaction, digest)
    after = refs.add_references(transaction, digest, wanted)
    if after != before:
        # A kill before the journal knows leaves a description with references too many: recovery may use them
        # or not. The other order could leave too few.
        fs.write_file(f"{staging}/references", describe(after), 0o444)
        fs.sync_path(f"{staging}/references")
        fs.rename(f"{staging}/references", layout.sidecar(digest))
    return after


def add_references(host: Host, digest: TreeDigest, wanted: Iterable[TreeDigest]) -> tuple[TreeDigest, ...]:
    """Let an artifact that is there refer to more artifacts: one record of the journal, durable on return.

    Returns all it refers to now. Costs a look-up when it refers to them already. Raises ``NotInStoreError``.
    """
    new = tuple(dict.fromkeys(wanted))
    stored = host.database.get(ARTIFACT + digest)
    if stored is None:
        raise NotInStoreError(f"the store has no {digest}", hint="'nexis-store ls' lists what it has")
    present = refs.references(host.database, digest)
    if {*present, digest}.issuperset(new):
        return present
    staging = host.session.new_staging()
    try:
        with host.database.transaction() as transaction:
            _check_present(transaction, ArtifactRecord.decode(stored).name, (digest, *new))
            description = read_sidecar(host.layout, digest)
            return _refer(
                host.layout, transaction, digest, new, staging, lambda all: with_references(description, digest, all)
            )
    finally:
        with contextlib.suppress(OSError):
            fs.remove_tree(staging)


def show(layout: Layout, digest: TreeDigest, name: str, staging: str) -> None:
    """Rename a staged tree into place, its description first."""
    place = layout.artifact(digest, name)
    fs.make_directories(layout.bucket(digest))
    fs.rename(f"{staging}/description", layout.sidecar(digest))
    if os.path.lexists(place):
        # A tree that no metadata name (an interrupted collection, a lost journal) was not verified by us: it goes.
        fs.rename(place, f"{staging}/garbage")
    fs.rename(f"{staging}/tree", place)


def read_sidecar(layout: Layout, digest: TreeDigest) -> bytes:
    """The bytes of a sidecar; raises ``NotInStoreError``."""
    try:
        return fs.read_whole(layout.sidecar(digest))
    except FileNotFoundError:
        raise NotInStoreError(
            f"the store has no description of {digest}",
            hint="it has just been collected, or the store is damaged: 'nexis-store verify' tells",
        ) from None
    except OSError as error:
        raise DamagedStoreError(
            f"the description of {digest} cannot be read: {error.strerror}", hint="run 'nexis-store verify'"
        ) from error
