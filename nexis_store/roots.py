"""GC roots: symlinks below ``.roots`` that a person can read, make and remove; the metadata follows them.

The symlink is the truth. It is made durable before the count goes up and removed before the count goes down, and
``reconcile`` (run by every collection) brings the two together after a crash or a plain ``rm``.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from nexis_store import fs, refs
from nexis_store.database import Database, Transaction
from nexis_store.digest import TreeDigest
from nexis_store.errors import NotInStoreError, StoreError
from nexis_store.layout import Layout
from nexis_store.names import decode, encode, why_bad_path
from nexis_store.records import ARTIFACT, ROOT, ArtifactRecord

GENERATIONS = "generations/"
"""How the names of those roots begin that are generations of a profile; their symlinks lie in ``.generations``."""


def _place(layout: Layout, name: str) -> str:
    return f"{layout.root}/.{name}" if name.startswith(GENERATIONS) else f"{layout.roots}/{name}"


def check_root_name(name: str) -> str:
    """Return ``name`` if it can name a root; raises ``StoreError``."""
    why = why_bad_path(name)
    if why is not None:
        raise StoreError(f"{name!r} cannot name a root: {why}", hint="use a name such as desktop or work/tools")
    return name


def set_root(layout: Layout, database: Database, name: str, digest: TreeDigest) -> None:
    """Let the root ``name`` keep ``digest`` and its closure; replaces what it kept before."""
    place = _place(layout, check_root_name(name))
    with database.transaction() as transaction:
        stored = transaction.get(ARTIFACT + digest)
        if stored is None:
            raise NotInStoreError(f"the root {name} cannot keep {digest}, which is not in the store")
        up = "../" * (place.count("/") - layout.root.count("/") - 1)
        target = up + layout.relative_artifact(digest, ArtifactRecord.decode(stored).name)
        directory = os.path.dirname(place)
        fs.make_directories(directory)
        try:
            replace_link(target, place, f"{layout.root}/.roots.new")
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
        replace_link(layout.artifact(digest, ArtifactRecord.decode(stored).name), link, f"{link}.new")
        replace_link(link, place, f"{layout.root}/.roots.new")
        fs.sync_path(os.path.dirname(link))
        fs.sync_path(os.path.dirname(place))
        _assign(transaction, name, digest)
    return name


def replace_link(target: str, place: str, temporary: str) -> None:
    """Let the symlink ``place`` point to ``target``, in one step."""
    with contextlib.suppress(FileNotFoundError):
        fs.unlink(temporary)
    fs.symlink(target, temporary)
    fs.rename(temporary, place)


def remove_root(layout: Layout, database: Database, name: str) -> None:
    """Take the root away; raises ``NotInStoreError`` if there is none of that name."""
    place = _place(layout, check_root_name(name))
    with database.transaction() as transaction:
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
    pending = ["", GENERATIONS]
    while pending:
        prefix = pending.pop()
        try:
            entries = sorted(os.scandir(_place(layout, prefix)), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        for entry in entries:
            name = prefix + decode(os.fsencode(entry.name))
            if entry.is_symlink():
                with contextlib.suppress(OSError):
                    target = os.readlink(entry.path)
                    # An absolute target is a symlink of the user's own, which keeps as long as it is there.
                    digest = digest_in(os.readlink(target) if target.startswith("/") else target)
                    if digest is not None:
                        yield name, digest
            elif entry.is_dir(follow_symlinks=False):
                pending.append(name + "/")


def indirect(layout: Layout, name: str) -> str | None:
    """The symlink outside the store that the root watches; ``None`` for a root without one."""
    try:
        target = os.readlink(_place(layout, name))
    except OSError:
        return None
    return target if target.startswith("/") else None


def digest_in(target: str) -> TreeDigest | None:
    """The artifact that a symlink's target names."""
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
