"""GC roots: symlinks below ``.roots`` that a person can read, make and remove; the metadata follows them.

The symlink is the truth. It is made durable before the count goes up and removed before the count goes down, and
``reconcile`` (run by every collection) brings the two together after a crash or a plain ``rm``.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator

from nexis_store import fs, refs
from nexis_store.database import Database, Transaction
from nexis_store.digest import TreeDigest
from nexis_store.errors import NotInStoreError, StoreError
from nexis_store.layout import Layout
from nexis_store.names import check_path, decode, encode
from nexis_store.records import ARTIFACT, ROOT, ArtifactRecord


def set_root(layout: Layout, database: Database, name: str, digest: TreeDigest) -> None:
    """Let the root ``name`` keep ``digest`` and its closure; replaces what it kept before."""
    check_path(name)
    with database.transaction() as transaction:
        stored = transaction.get(ARTIFACT + digest)
        if stored is None:
            raise NotInStoreError(f"the root {name} cannot keep {digest}, which is not in the store")
        place = f"{layout.roots}/{name}"
        up = "../" * (name.count("/") + 1)
        target = up + layout.relative_artifact(digest, ArtifactRecord.decode(stored).name)
        directory = os.path.dirname(place)
        fs.make_directories(directory)
        try:
            _replace_link(target, place, f"{layout.root}/.roots.new")
        except IsADirectoryError:
            raise StoreError(f"{name} is a group of roots, not a root", hint="choose another name") from None
        fs.sync_path(directory)
        _assign(transaction, name, digest)


def set_indirect_root(layout: Layout, database: Database, link: str, digest: TreeDigest) -> str:
    """Make the symlink ``link`` outside the store point to an artifact, and keep the artifact while it does.

    Removing the symlink is all it takes to end that. Returns the name of the root that watches it.
    """
    name = f"auto/{TreeDigest.of(encode(link)).hex()[:32]}"
    with database.transaction() as transaction:
        stored = transaction.get(ARTIFACT + digest)
        if stored is None:
            raise NotInStoreError(f"{link} cannot keep {digest}, which is not in the store")
        if os.path.lexists(link) and not os.path.islink(link):
            raise StoreError(f"{link} is there and no symlink", hint="choose another place for the link")
        place = f"{layout.roots}/{name}"
        fs.make_directories(os.path.dirname(place))
        _replace_link(layout.artifact(digest, ArtifactRecord.decode(stored).name), link, f"{link}.new")
        _replace_link(link, place, f"{layout.root}/.roots.new")
        fs.sync_path(os.path.dirname(link))
        fs.sync_path(os.path.dirname(place))
        _assign(transaction, name, digest)
    return name


def _replace_link(target: str, place: str, temporary: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        fs.unlink(temporary)
    fs.symlink(target, temporary)
    fs.rename(temporary, place)


def old_generations(names: Iterable[str], keep: int) -> list[str]:
    """The roots ``<profile>/<number>`` that are not among the ``keep`` newest (highest) of their profile."""
    profiles: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        profile, _, number = name.rpartition("/")
        if profile and number.isascii() and number.isdigit():
            profiles.setdefault(profile, []).append((int(number), name))
    return [name for found in profiles.values() for _, name in sorted(found)[: max(0, len(found) - keep)]]


def remove_root(layout: Layout, database: Database, name: str) -> None:
    """Take the root away; raises ``NotInStoreError`` if there is none of that name."""
    check_path(name)
    with database.transaction() as transaction:
        place = f"{layout.roots}/{name}"
        try:
            fs.unlink(place)
        except (FileNotFoundError, IsADirectoryError):
            if transaction.get(ROOT + encode(name)) is None:
                raise NotInStoreError(f"there is no root {name!r}", hint="'nexis-store roots' lists them") from None
        else:
            fs.sync_path(os.path.dirname(place))
        _assign(transaction, name, None)


def _assign(transaction: Transaction, name: str, digest: TreeDigest | None) -> None:
    key = ROOT + encode(name)
    before = transaction.get(key)
    if before == digest:
        return
    if digest is not None:
        refs.retain(transaction, digest)
        transaction.put(key, digest)
    else:
        transaction.delete(key)
    if before is not None:
        refs.release(transaction, TreeDigest(before), time.time_ns())


def on_disk(layout: Layout) -> Iterator[tuple[str, TreeDigest]]:
    """The roots that symlinks name; links that name no artifact are passed over."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            entries = sorted(os.scandir(f"{layout.roots}/{prefix}"), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        for entry in entries:
            name = prefix + decode(os.fsencode(entry.name))
            if entry.is_symlink():
                with contextlib.suppress(OSError):
                    target = os.readlink(entry.path)
                    # An absolute target is a symlink of the user's own, which keeps as long as it is there.
                    digest = _digest_in(os.readlink(target) if target.startswith("/") else target)
                    if digest is not None:
                        yield name, digest
            elif entry.is_dir(follow_symlinks=False):
                pending.append(name + "/")


def _digest_in(target: str) -> TreeDigest | None:
    try:
        return TreeDigest.parse(os.path.basename(target)[:64])
    except ValueError:
        return None


def recorded(database: Database | Transaction) -> dict[str, TreeDigest]:
    """The roots that the metadata counts."""
    return {decode(key[1:]): TreeDigest(value) for key, value in database.scan(ROOT)}


def reconcile(layout: Layout, database: Database) -> None:
    """Make the metadata's roots those on disk. Costs what the roots cost, whatever the size of the store."""
    disk = dict(on_disk(layout))
    if disk == recorded(database):
        return
    with database.transaction() as transaction:
        disk = {name: digest for name, digest in on_disk(layout) if transaction.get(ARTIFACT + digest) is not None}
        for name in recorded(transaction):
            if name not in disk:
                _assign(transaction, name, None)
        for name, digest in disk.items():
            _assign(transaction, name, digest)
