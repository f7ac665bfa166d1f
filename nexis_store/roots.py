"""GC roots: symlinks below ``.roots`` that a person can read, make and remove; the metadata follows them.

The symlink is the truth. It is made durable before the count goes up and removed before the count goes down, and
``reconcile`` (run by every collection) brings the two together after a crash or a plain ``rm``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from typing import NamedTuple

from nexis_store import fs, refs
from nexis_store.database import Database, Transaction
from nexis_store.digest import TreeDigest
from nexis_store.errors import DamagedStoreError, NotInStoreError, StoreError, cannot_read
from nexis_store.layout import Layout
from nexis_store.names import decode, encode, why_bad_path
from nexis_store.records import ARTIFACT, ROOT, ArtifactRecord
from nexis_store.sidecar import decode_sidecar

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
        _check_on_disk(layout, digest, stored)
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


def _check_on_disk(layout: Layout, digest: TreeDigest, stored: bytes) -> None:
    place = layout.artifact(digest, ArtifactRecord.decode(stored).name)
    if not fs.is_directory(place):
        raise DamagedStoreError(
            f"the artifact's directory {place} is missing",
            hint="add or build it again, or bring it back with 'nexis-store verify --repair --from PLACE'",
        )


def set_indirect_root(layout: Layout, database: Database, link: str, digest: TreeDigest) -> str:
    """Make the symlink ``link`` outside the store point to an artifact, and keep the artifact while it does.

    Removing the symlink is all it takes to end that. Returns the name of the root that watches it.
    """
    name = f"auto/{TreeDigest.of(encode(link)).hex()[:32]}"
    with database.transaction() as transaction:
        stored = transaction.get(ARTIFACT + digest)
        if stored is None:
            raise NotInStoreError(f"{link} cannot keep {digest}, which is not in the store")
        _check_on_disk(layout, digest, stored)
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


@dataclass(frozen=True, slots=True)
class UnreadableRoot:
    """A root of which nobody can tell now what it keeps: ``path`` is the link that cannot be read, and why."""

    name: str
    path: str
    reason: str

    def __str__(self) -> str:
        return f"the root {self.name} cannot be read: {self.path}: {self.reason}"


class RootLinks(NamedTuple):
    """What the symlinks below ``.roots`` and ``.generations`` say; links that name no artifact are left out."""

    digests: dict[str, TreeDigest]
    unreadable: tuple[UnreadableRoot, ...]


def on_disk(layout: Layout) -> RootLinks:
    """Read the links of all roots. Only one that is surely gone is left out: see ``docs/store.md``, I4."""
    digests: dict[str, TreeDigest] = {}
    unreadable: list[UnreadableRoot] = []
    pending = ["", GENERATIONS]
    while pending:
        prefix = pending.pop()
        directory = _place(layout, prefix)
        try:
            with os.scandir(directory) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise cannot_read(error, f"the directory of roots {directory}") from error
        for entry in entries:
            name = prefix + decode(os.fsencode(entry.name))
            if entry.is_symlink():
                place = entry.path
                try:
                    target = read_link(place)
                    # An absolute target is a symlink of the user's own, which keeps as long as it exists.
                    if target is not None and target.startswith("/"):
                        place = target
                        target = read_link(place)
                except OSError as error:
                    unreadable.append(UnreadableRoot(name, place, error.strerror or str(error)))
                    continue
                digest = digest_in(place if target is None else target)
                if digest is not None:
                    digests[name] = digest
            elif entry.is_dir(follow_symlinks=False):
                pending.append(name + "/")
    return RootLinks(digests, tuple(unreadable))


def read_link(path: str) -> str | None:
    """The target of a symlink; ``None`` if there surely is none: its directory exists and does not have it.

    Raises ``OSError`` when that cannot be told, also where the directory is missing: its disk may not be mounted.
    """
    try:
        return os.readlink(path)
    except FileNotFoundError:
        directory = os.path.dirname(path)
        try:
            os.stat(directory)
        except OSError as error:
            raise OSError(error.errno, f"its directory cannot be reached: {error.strerror}", path) from None
        return None
    except OSError as error:
        # Something else that stands there is no link of ours.
        if error.errno == errno.EINVAL:
            return None
        raise


def named(layout: Layout, database: Database | Transaction) -> dict[str, TreeDigest]:
    """The roots by name: what their links say or, where one cannot be read, what the metadata remember of it."""
    links = on_disk(layout)
    if not links.unreadable:
        return links.digests
    remembered = recorded(database)
    return links.digests | {each.name: remembered[each.name] for each in links.unreadable if each.name in remembered}


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


def lost(layout: Layout, reader: refs.Reader) -> dict[TreeDigest, str]:
    """Artifacts on disk that roots keep and no metadata name, each with a root: ``recover`` takes them back."""
    found: dict[TreeDigest, str] = {}
    pending = list(on_disk(layout).digests.items())
    while pending:
        name, digest = pending.pop()
        if digest in found or reader.get(ARTIFACT + digest) is not None or not _has_tree(layout, digest):
            continue
        found[digest] = name
        with contextlib.suppress(OSError, DamagedStoreError):
            sidecar = decode_sidecar(fs.read_whole(layout.sidecar(digest)), digest)
            pending += [(name, each) for each in sidecar.references]
    return found


def _has_tree(layout: Layout, digest: TreeDigest) -> bool:
    try:
        return any(name.startswith(f"{digest.hex()}-") for name in os.listdir(layout.bucket(digest)))
    except OSError:
        return False


def dangling(layout: Layout, reader: refs.Reader) -> list[tuple[str, TreeDigest]]:
    """The links of roots whose artifacts are neither in the metadata nor on disk: (path, digest)."""
    return [
        (_place(layout, name), digest)
        for name, digest in on_disk(layout).digests.items()
        if reader.get(ARTIFACT + digest) is None and not _has_tree(layout, digest)
    ]


def strays(layout: Layout) -> list[str]:
    """What lies below ``.roots`` and ``.generations`` and is neither a directory nor a symlink."""
    found: list[str] = []
    pending = [layout.roots, layout.generations]
    while pending:
        try:
            with os.scandir(pending.pop()) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif not entry.is_symlink():
                found.append(entry.path)
    return found


def recorded(database: Database | Transaction) -> dict[str, TreeDigest]:
    """The roots that the metadata counts."""
    return {decode(key[1:]): TreeDigest(value) for key, value in database.scan(ROOT)}


def reconcile(layout: Layout, database: Database) -> tuple[UnreadableRoot, ...]:
    """Make the metadata's roots those on disk. Costs what the roots cost, whatever the size of the store.

    Returns the roots whose links cannot be read: they keep what they kept. Raises ``StoreError`` if the metadata do
    not know what that is.
    """
    links, before = on_disk(layout), recorded(database)
    if not links.unreadable and links.digests == before:
        return ()
    if not os.path.isdir(layout.roots) and any(not name.startswith(GENERATIONS) for name in before):
        # It is never removed: that it is gone says nothing of what its links kept.
        raise DamagedStoreError(
            f"the directory of roots {layout.roots} is gone",
            hint=f"put it back; or 'mkdir {layout.roots}', which ends all roots that were in it",
        )
    with database.transaction() as transaction:
        links = on_disk(layout)
        before = recorded(transaction)
        after = {name: digest for name, digest in links.digests.items() if transaction.get(ARTIFACT + digest)}
        for each in links.unreadable:
            if each.name not in before:
                raise StoreError(
                    f"{each}, and the database does not say what it keeps",
                    hint=f"make the link readable, or end the root with 'nexis-store roots --remove {each.name}'",
                )
            after[each.name] = before[each.name]
        for name in before:
            if name not in after:
                _assign(transaction, name, None)
        for name, digest in after.items():
            _assign(transaction, name, digest)
    return links.unreadable
