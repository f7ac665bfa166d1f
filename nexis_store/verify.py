"""Proving a store: metadata against disk, counts against a recount, contents against their digests."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from nexis_store import refs, roots
from nexis_store.database import Database
from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.errors import DamagedStoreError, NotInStoreError
from nexis_store.layout import Layout
from nexis_store.names import decode, shown
from nexis_store.publish import read_sidecar
from nexis_store.records import (
    ARTIFACT,
    COUNT,
    DEAD,
    REFERENCES,
    REFERRER,
    ArtifactRecord,
    unpack_digests,
    unpack_number,
)
from nexis_store.sidecar import decode_sidecar
from nexis_store.tree import Manifest

HEXADECIMAL = "0123456789abcdef"

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it must be. ``digest`` is the artifact's; ``path`` a path in it or of the store."""

    kind: str
    digest: TreeDigest | None
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.digest} " if self.digest else ""
        return f"{self.kind}: {where}{shown(self.path)}: {self.message}"


def verify_metadata(layout: Layout, database: Database) -> Iterator[Problem]:
    """Check that every artifact is complete on disk (directory and description) and that the counts are right."""
    expected: Counter[TreeDigest] = Counter(roots.recorded(database).values())
    artifacts: set[TreeDigest] = set()
    backward: set[bytes] = set()
    for key, value in database.scan(ARTIFACT):
        digest = TreeDigest(key[1:])
        artifacts.add(digest)
        name = ArtifactRecord.decode(value).name
        place = layout.artifact(digest, name)
        if not os.path.isdir(place):
            yield Problem("missing", digest, place, "the artifact's directory is not there")
        try:
            sidecar = decode_sidecar(read_sidecar(layout, digest), digest)
        except (NotInStoreError, DamagedStoreError) as error:
            yield Problem("damaged", digest, layout.sidecar(digest), error.message)
        else:
            if not set(refs.references(database, digest)) <= set(sidecar.references):
                yield Problem("references", digest, layout.sidecar(digest), "it lacks references that count")
    for key, value in database.scan(REFERENCES):
        digest = TreeDigest(key[1:])
        for each in unpack_digests(value):
            expected[each] += 1
            backward.add(each + digest)
            if each not in artifacts:
                yield Problem("dangling", digest, "", f"refers to {each}, which is not in the store")
    for key, _ in database.scan(REFERRER):
        if key[1:] not in backward:
            yield Problem("references", TreeDigest(key[1:33]), "", "a referrer is recorded that does not refer to it")
        backward.discard(key[1:])
    for pair in backward:
        yield Problem("references", TreeDigest(pair[:32]), "", "a referrer is not recorded")
    counted = {TreeDigest(key[1:]): unpack_number(value) for key, value in database.scan(COUNT)}
    dead = {TreeDigest(key[1:]) for key, _ in database.scan(DEAD)}
    for digest in artifacts | set(counted) | dead:
        right = expected[digest]
        if counted.get(digest, 0) != right:
            yield Problem("count", digest, "", f"is counted {counted.get(digest, 0)} times, but {right} refer to it")
        if (digest in dead) != (right == 0):
            yield Problem("dead list", digest, "", "is listed as dead" if digest in dead else "is dead but not listed")
        if digest not in artifacts:
            yield Problem("count", digest, "", "has a count but is not in the store")


def buckets(layout: Layout) -> Iterator[tuple[str, str]]:
    """Every entry of the store's buckets: (directory, name). Lists the whole store."""
    for top in sorted(os.listdir(layout.root)):
        if len(top) == 2 and top[0] in HEXADECIMAL and top[1] in HEXADECIMAL:
            for bucket in sorted(os.listdir(f"{layout.root}/{top}")):
                for name in sorted(os.listdir(f"{layout.root}/{top}/{bucket}")):
                    yield f"{layout.root}/{top}/{bucket}", name


def descriptions(layout: Layout) -> Iterator[tuple[TreeDigest, str]]:
    """Every description on disk: (digest, path)."""
    for directory, name in buckets(layout):
        if name.endswith(".tree") and len(name) == 69:
            yield TreeDigest.parse(name[:64]), f"{directory}/{name}"


def unknown_trees(layout: Layout, database: Database) -> Iterator[Problem]:
    """Trees and descriptions that no metadata name: what a power cut may leave where renames are reordered."""
    present = {key[1:].hex() for key, _ in database.scan(ARTIFACT)}
    for directory, name in buckets(layout):
        if name[:64] in present:
            continue
        try:
            digest = TreeDigest.parse(name[:64])
        except ValueError:
            yield Problem("surplus", None, f"{directory}/{name}", "it does not belong to the store")
            continue
        if database.readonly:
            known = database.get(ARTIFACT + digest) is not None
        else:
            with database.transaction(durable=False) as transaction:
                # Shown a moment ago, it is known as soon as its writer gives up the lock.
                known = transaction.get(ARTIFACT + digest) is not None
        if not known and os.path.lexists(f"{directory}/{name}"):
            yield Problem("unknown", digest, f"{directory}/{name}", "no metadata name it")


Seen = dict[tuple[int, int], tuple[bytes, int]]
"""Inodes that were read before, with their contents' digests and their modes: hard links need no second look."""


def verify_contents(
    layout: Layout, database: Database, digest: TreeDigest, seen: Seen | None = None
) -> Iterator[Problem]:
    """Read one artifact and compare every path with its manifest."""
    stored = database.get(ARTIFACT + digest)
    if stored is not None:
        yield from verify_tree(layout, digest, ArtifactRecord.decode(stored).name, seen)


def verify_tree(layout: Layout, digest: TreeDigest, name: str, seen: Seen | None = None) -> Iterator[Problem]:
    """The same without asking the metadata: the artifact is called ``name``."""
    place = layout.artifact(digest, name)
    try:
        manifest = decode_sidecar(read_sidecar(layout, digest), digest).manifest
    except (NotInStoreError, DamagedStoreError):
        return
    yield from compare(place, manifest, digest, {} if seen is None else seen)


def compare(place: str, manifest: Manifest, digest: TreeDigest, seen: Seen) -> Iterator[Problem]:
    """Compare the tree at ``place`` with a manifest."""
    listed: dict[str, set[str]] = {"": set()}
    for entry in manifest.entries():
        relative, kind = entry.path, entry.kind
        cut = relative.rfind("/")
        listed[relative[:cut] if cut > 0 else ""].add(relative[cut + 1 :])
        path = f"{place}/{relative}"
        mode = wanted = 0
        try:
            if kind == "f":
                found, mode = _look_at(path, seen)
                wrong = found != entry.digest
                wanted = 0o555 if entry.executable else 0o444
            elif kind == "l":
                wrong = decode(os.fsencode(os.readlink(path))) != entry.target
            else:
                listed[relative] = set()
                status = os.lstat(path).st_mode
                wrong = not stat.S_ISDIR(status)
                mode, wanted = stat.S_IMODE(status), 0o755
        except OSError as error:
            yield Problem("missing", digest, relative, error.strerror or str(error))
            continue
        if wrong:
            yield Problem("damaged", digest, relative, "it is not what its digest says")
        elif mode != wanted:
            yield Problem("mode", digest, relative, f"its mode on disk is {mode:04o} instead of {wanted:04o}")
    for directory, names in listed.items():
        try:
            there = os.listdir(f"{place}/{directory}")
        except OSError:
            continue
        # Names that are not UTF-8 come decoded in the same way on both sides.
        if names.issuperset(there):
            continue
        for name in there:
            if decode(os.fsencode(name)) not in names:
                yield Problem(
                    "surplus", digest, f"{directory}/{name}".lstrip("/"), "it does not belong to the artifact"
                )


def _look_at(path: str, seen: Seen) -> tuple[bytes, int]:
    """The digest and the mode of a regular file; something else has no digest that any entry could have."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return b"", 0
        shared = status.st_nlink > 1
        key = (status.st_dev, status.st_ino)
        if shared and key in seen:
            return seen[key]
        if status.st_size < _CHUNK:
            # Asking for a whole chunk would cost more than reading a small file: the buffer is allocated first.
            found = blake3(os.read(fd, status.st_size + 1)).digest()
        else:
            hasher = blake3()
            while data := os.read(fd, _CHUNK):
                hasher.update(data)
            found = hasher.digest()
    finally:
        os.close(fd)
    if shared:
        seen[key] = found, stat.S_IMODE(status.st_mode)
    return found, stat.S_IMODE(status.st_mode)


def hash_file(path: str) -> FileDigest:
    """The digest of a file's bytes."""
    with open(path, "rb", buffering=0) as file:
        data = file.read(_CHUNK)
        hasher = blake3(data)
        while data and (data := file.read(_CHUNK)):
            hasher.update(data)
    return FileDigest(hasher.digest())
