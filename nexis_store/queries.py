"""Questions about what is in a store: differences, sizes, and what keeps what."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nexis_store.digest import BuildKey, TreeDigest
from nexis_store.freeing import own_bytes
from nexis_store.maintenance import backend_of
from nexis_store.realisation import Realisation, was_given
from nexis_store.records import DEAD, REALISATION, decode_realisation
from nexis_store.tree import Manifest, ManifestEntry, sort_key

if TYPE_CHECKING:
    from nexis_store.store import Store


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that two trees do not share; ``None`` on the side that lacks it."""

    path: str
    before: ManifestEntry | None
    after: ManifestEntry | None

    @property
    def what(self) -> str:
        """``added``, ``removed``, or what of it changed: ``kind``, ``content``, ``target``, ``attributes``."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        if self.before.kind != self.after.kind:
            return "kind"
        if self.before.digest != self.after.digest:
            return "content"
        return "target" if self.before.target != self.after.target else "attributes"


def diff(before: Manifest, after: Manifest) -> Iterator[Difference]:
    """The paths that differ, in order. Equal directories are skipped whole, by their digests."""
    if before.digest == after.digest:
        return
    old, new = before.directories(), after.directories()
    same = {path for path, digest in old.items() if path and new.get(path) == digest}
    left = _unshared(before, same)
    right = _unshared(after, same)
    one, two = next(left, None), next(right, None)
    while one is not None or two is not None:
        if two is None or (one is not None and _key(one) < _key(two)):
            assert one is not None
            yield Difference(one.path, one, None)
            one = next(left, None)
        elif one is None or _key(two) < _key(one):
            yield Difference(two.path, None, two)
            two = next(right, None)
        else:
            if not one.same_content(two):
                yield Difference(one.path, one, two)
            one, two = next(left, None), next(right, None)


def _key(entry: ManifestEntry) -> bytes:
    return sort_key(entry.path)


def _unshared(manifest: Manifest, same: set[str]) -> Iterator[ManifestEntry]:
    """The entries that do not lie below a directory of ``same``."""
    skipping = ""
    for entry in manifest.entries():
        if skipping and entry.path.startswith(skipping):
            continue
        skipping = entry.path + "/" if entry.path in same else ""
        yield entry


@dataclass(frozen=True, slots=True)
class Usage:
    """Disk space in bytes: ``exclusive`` is what would come free by itself; ``shared`` has names elsewhere."""

    digest: TreeDigest
    name: str
    apparent: int
    exclusive: int
    shared: int


def usage(store: Store, digest: TreeDigest) -> Usage:
    """What an artifact takes on the disk. A file is shared if it has names beyond this tree and ``.links``.

    So are the blocks of a large file that reflinks share.
    """
    place = store.path(digest)
    names: Counter[tuple[int, int]] = Counter()
    inodes: dict[tuple[int, int], os.stat_result] = {}
    paths: dict[tuple[int, int], str] = {}
    pooled: dict[tuple[int, int], int] = {}
    manifest = store.manifest(digest)
    for entry in manifest.entries():
        if entry.digest is None:
            continue
        status = os.lstat(f"{place}/{entry.path}")
        key = (status.st_dev, status.st_ino)
        names[key] += 1
        if key not in inodes:
            inodes[key] = status
            paths[key] = f"{place}/{entry.path}"
            pooled[key] = _is_pooled(store, entry, status)
    exclusive = shared = 0
    for key, status in inodes.items():
        own = 0 if status.st_nlink > names[key] + pooled[key] else own_bytes(paths[key], status)
        exclusive += own
        shared += status.st_blocks * 512 - own
    return Usage(digest, store.artifact(digest).name, manifest.size_bytes, exclusive, shared)


def _is_pooled(store: Store, entry: ManifestEntry, status: os.stat_result) -> int:
    assert entry.digest is not None
    try:
        return int(os.stat(store.layout.link(entry.digest, entry.executable)).st_ino == status.st_ino)
    except FileNotFoundError:
        return 0


def why_alive(store: Store, digest: TreeDigest) -> list[tuple[str, list[TreeDigest]]]:
    """The roots that keep an artifact, each with a shortest chain of references from the root's artifact to it."""
    towards: dict[TreeDigest, TreeDigest | None] = {digest: None}
    queue = [digest]
    for each in queue:
        for referrer in store.referrers(each):
            if referrer not in towards:
                towards[referrer] = each
                queue.append(referrer)
    found: list[tuple[str, list[TreeDigest]]] = []
    for name, target in store.roots().items():
        if target in towards:
            chain: list[TreeDigest] = []
            step: TreeDigest | None = target
            while step is not None:
                chain.append(step)
                step = towards[step]
            found.append((name, chain))
    return found


def built_from(store: Store, digests: Iterable[TreeDigest]) -> list[Realisation]:
    """The builds that were given one of these artifacts, or what was built from it, or what refers to one of those."""
    builds = [decode_realisation(BuildKey(key[1:]), value) for key, value in store.database.scan(REALISATION)]
    found: dict[BuildKey, Realisation] = {}
    pending = list(digests)
    concerned: set[TreeDigest] = set()
    while pending:
        digest = pending.pop()
        if digest in concerned:
            continue
        concerned.add(digest)
        # What refers to it brings it along into builds.
        pending += store.referrers(digest)
        for build in builds:
            if build.key not in found and was_given(build, [digest]):
                found[build.key] = build
                pending += build.outputs.values()
    return sorted(found.values(), key=lambda build: build.name)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Totals of a store. Sizes in bytes; ``stored`` is disk space, each content once."""

    artifacts: int
    dead: int
    roots: int
    realisations: int
    apparent: int
    stored: int
    backend: str


def statistics(store: Store) -> Statistics:
    """Totals of a store; lists all of it."""
    artifacts = list(store.artifacts())
    return Statistics(
        artifacts=len(artifacts),
        dead=sum(1 for _ in store.database.scan(DEAD)),
        roots=len(store.roots()),
        realisations=sum(1 for _ in store.database.scan(REALISATION)),
        apparent=sum(each.size_bytes for each in artifacts),
        stored=stored_bytes(os.fspath(each.path) for each in artifacts),
        backend=backend_of(store.layout),
    )


def stored_bytes(paths: Iterable[str]) -> int:
    """Disk space of all files below ``paths``, each inode once."""
    seen: set[int] = set()
    total = 0
    for path in paths:
        for directory, _, files in os.walk(path):
            for name in files:
                status = os.lstat(f"{directory}/{name}")
                if status.st_ino not in seen:
                    seen.add(status.st_ino)
                    total += status.st_blocks * 512
    return total
