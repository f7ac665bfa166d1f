"""Proving a store: metadata against disk, counts against a recount, contents against their digests."""

from __future__ import annotations

import itertools
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from blake3 import blake3

from nexis_store import fs, history, roots, workers
from nexis_store.database import Database
from nexis_store.digest import TreeDigest
from nexis_store.errors import DamagedStoreError, NotInStoreError
from nexis_store.layout import Layout
from nexis_store.names import decode, shown
from nexis_store.publish import read_sidecar
from nexis_store.records import (
    ARTIFACT,
    COUNT,
    DEAD,
    REALISATION,
    REFERENCES,
    REFERRER,
    ROOT,
    ArtifactRecord,
    unpack_digests,
    unpack_number,
)
from nexis_store.sidecar import decode_manifest, decode_sidecar
from nexis_store.tree import Manifest

HEXADECIMAL = "0123456789abcdef"

_DIRECTORIES = (".links", ".roots", ".generations", ".roots.tmp", ".staging", ".trash", ".locks", ".logs")

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


def verify_metadata(layout: Layout, database: Database, *, descriptions: bool = True) -> Iterator[Problem]:
    """Check that the counts are right and, with ``descriptions``, that every artifact is complete on disk."""
    database.check()
    # All tables as of one moment: others may add and collect meanwhile.
    with database.snapshot() as snapshot:
        tables = {table: dict(snapshot.scan(table)) for table in (ARTIFACT, REFERENCES, REFERRER, COUNT, DEAD, ROOT)}
    yield from _verify_files(layout, database)
    expected: Counter[TreeDigest] = Counter(map(TreeDigest, tables[ROOT].values()))
    artifacts = {TreeDigest(key[1:]): value for key, value in tables[ARTIFACT].items()}
    backward: set[bytes] = set()
    referring = {key[1:]: value for key, value in tables[REFERENCES].items()}
    if descriptions:
        listed = [
            (digest, ArtifactRecord.decode(value).name, referring.get(digest, b""))
            for digest, value in artifacts.items()
        ]
        share = -(-len(listed) // (workers.processes() if len(listed) >= workers.MANY else 1)) or 1
        parts = [listed[at : at + share] for at in range(0, len(listed), share)]
        for problems in workers.in_processes(partial(_descriptions, layout), parts):
            yield from still_there(database, problems)
    for key, value in referring.items():
        digest = TreeDigest(key)
        for each in unpack_digests(value):
            expected[each] += 1
            backward.add(each + digest)
            if each not in artifacts:
                yield Problem("dangling", digest, "", f"refers to {each}, which is not in the store")
    for key in tables[REFERRER]:
        if key[1:] not in backward:
            yield Problem("references", TreeDigest(key[1:33]), "", "a referrer is recorded that does not refer to it")
        backward.discard(key[1:])
    for pair in backward:
        yield Problem("references", TreeDigest(pair[:32]), "", "a referrer is not recorded")
    counted = {TreeDigest(key[1:]): unpack_number(value) for key, value in tables[COUNT].items()}
    dead = {TreeDigest(key[1:]) for key in tables[DEAD]}
    for digest in set(artifacts) | set(counted) | dead:
        right = expected[digest]
        if counted.get(digest, 0) != right:
            yield Problem("count", digest, "", f"is counted {counted.get(digest, 0)} times, but {right} refer to it")
        if (digest in dead) != (right == 0):
            yield Problem("dead list", digest, "", "is listed as dead" if digest in dead else "is dead but not listed")
        if digest not in artifacts:
            yield Problem("count", digest, "", "has a count but is not in the store")


def _verify_files(layout: Layout, database: Database) -> Iterator[Problem]:
    """Check what lies beside the artifacts: directories, journal, history, and that roots name what the metadata do."""
    for name in _DIRECTORIES:
        path = f"{layout.root}/{name}"
        if os.path.lexists(path) and not os.path.isdir(path):
            yield Problem("damaged", None, path, "it is not a directory")
    for path in database.strays():
        yield Problem("surplus", None, path, "it does not belong to the journal; remove it")
    for path in roots.strays(layout):
        yield Problem("surplus", None, path, "it is not a root; remove it")
    problems = _compare_with_metadata(layout, database)
    if problems and not database.readonly:
        # Others may have been in the middle of something.
        with database.alone():
            problems = _compare_with_metadata(layout, database)
    yield from problems


def _compare_with_metadata(layout: Layout, database: Database) -> list[Problem]:
    problems = []
    unknown = {key for key, _ in database.scan(REALISATION)}.difference(history.remembered(layout))
    if unknown:
        builds = "1 build" if len(unknown) == 1 else f"{len(unknown)} builds"
        problems.append(Problem("history", None, layout.history_file, f"it lacks {builds} that the database has"))
    for digest, name in roots.lost(layout, database).items():
        place = f"{layout.bucket(digest)}/{digest.hex()}"
        problems.append(Problem("lost", digest, place, f"the root {name} keeps it, and no metadata name it"))
    for path, digest in roots.dangling(layout, database):
        problems.append(Problem("root", digest, path, "it names an artifact that the store does not have"))
    return problems


def still_there(database: Database, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Leave out those of artifacts that were collected while they were looked at."""
    return (each for each in problems if each.digest is None or database.get(ARTIFACT + each.digest) is not None)


def _descriptions(layout: Layout, part: Sequence[tuple[TreeDigest, str, bytes]]) -> list[Problem]:
    return [problem for each in part for problem in _describe(layout, *each)[0]]


def _describe(
    layout: Layout, digest: TreeDigest, name: str, references: bytes
) -> tuple[list[Problem], Manifest | None]:
    """What is wrong with an artifact's directory and description; and the manifest, if it can be read."""
    problems = []
    place = layout.artifact(digest, name)
    if not fs.is_directory(place):
        problems.append(Problem("missing", digest, place, "the artifact's directory is not there"))
    try:
        sidecar = decode_sidecar(read_sidecar(layout, digest), digest)
    except (NotInStoreError, DamagedStoreError) as error:
        return [*problems, Problem("damaged", digest, layout.sidecar(digest), error.message)], None
    if not set(unpack_digests(references)) <= set(sidecar.references):
        problems.append(Problem("references", digest, layout.sidecar(digest), "it lacks references that count"))
    return problems, sidecar.manifest


def buckets(layout: Layout) -> Iterator[tuple[str, str]]:
    """Every entry of the store's buckets: (directory, name). Lists the whole store."""
    for top in _tops(layout):
        for bucket in sorted(os.listdir(f"{layout.root}/{top}")):
            if os.path.isdir(f"{layout.root}/{top}/{bucket}"):
                for name in sorted(os.listdir(f"{layout.root}/{top}/{bucket}")):
                    yield f"{layout.root}/{top}/{bucket}", name


def _tops(layout: Layout) -> list[str]:
    names = sorted(os.listdir(layout.root))
    hexadecimal = (name for name in names if len(name) == 2 and name[0] in HEXADECIMAL and name[1] in HEXADECIMAL)
    return [name for name in hexadecimal if os.path.isdir(f"{layout.root}/{name}")]


def _unknown_in(layout: Layout, present: set[str], tops: Sequence[str]) -> list[tuple[str, str]]:
    """The (directory, name) of all entries below these directories that belong to no artifact in ``present``."""
    found = []
    for top in tops:
        for bucket in sorted(os.listdir(f"{layout.root}/{top}")):
            directory = f"{layout.root}/{top}/{bucket}"
            if not os.path.isdir(directory):
                found.append((f"{layout.root}/{top}", bucket))
                continue
            found += [(directory, name) for name in sorted(os.listdir(directory)) if name[:64] not in present]
    return found


def descriptions(layout: Layout) -> Iterator[tuple[TreeDigest, str]]:
    """Every description on disk: (digest, path)."""
    for directory, name in buckets(layout):
        if name.endswith(".tree") and len(name) == 69:
            yield TreeDigest.parse(name[:64]), f"{directory}/{name}"


def unknown_trees(layout: Layout, database: Database) -> Iterator[Problem]:
    """Trees and descriptions that neither metadata nor roots name: what a power cut may leave."""
    kept = roots.lost(layout, database)
    present = {key[1:].hex() for key, _ in database.scan(ARTIFACT)}
    tops = _tops(layout)
    share = -(-len(tops) // (workers.processes() if len(present) >= workers.MANY else 1)) or 1
    parts = [tops[at : at + share] for at in range(0, len(tops), share)]
    for directory, name in itertools.chain(*workers.in_processes(partial(_unknown_in, layout, present), parts)):
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
        if not known and digest not in kept and os.path.lexists(f"{directory}/{name}"):
            yield Problem("unknown", digest, f"{directory}/{name}", "no metadata name it")


class Reader:
    """Reads files to prove them; an inode with several names is read once. For one thread."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], tuple[bytes, int, list[str]]] = {}
        # A new buffer for each file would cost as much as reading it.
        self._buffer = memoryview(bytearray(_CHUNK))
        # Noting when a file was read last would write every inode of the store.
        self._flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME

    def _open(self, path: str) -> int:
        try:
            return os.open(path, self._flags)
        except PermissionError:
            # Only the owner may ask for that.
            fd = os.open(path, self._flags & ~os.O_NOATIME)
            self._flags &= ~os.O_NOATIME
            return fd

    def look_at(self, path: str) -> tuple[bytes, int, list[str]]:
        """The digest, mode and attributes of a regular file; something else has no digest that any entry could have."""
        fd = self._open(path)
        try:
            status = os.fstat(fd)
            mode = status.st_mode
            if not stat.S_ISREG(mode):
                return b"", 0, []
            shared = status.st_nlink > 1
            if shared:
                known = self._seen.get((status.st_dev, status.st_ino))
                if known is not None:
                    return known
            count = os.readv(fd, (self._buffer,))
            hasher = blake3(self._buffer[:count])
            if count == _CHUNK:
                while count := os.readv(fd, (self._buffer,)):
                    hasher.update(self._buffer[:count])
            found = hasher.digest(), stat.S_IMODE(mode), fs.live_attributes(fd)
        finally:
            os.close(fd)
        if shared:
            self._seen[status.st_dev, status.st_ino] = found
        return found


def verify_contents(
    layout: Layout, database: Database, digest: TreeDigest, reader: Reader | None = None
) -> Iterator[Problem]:
    """Read one artifact and compare every path with its manifest."""
    stored = database.get(ARTIFACT + digest)
    if stored is not None:
        yield from verify_tree(layout, digest, ArtifactRecord.decode(stored).name, reader)


def verify_tree(
    layout: Layout, digest: TreeDigest, name: str, reader: Reader | None = None, references: bytes | None = None
) -> Iterator[Problem]:
    """The same without asking the metadata: the artifact is called ``name``.

    With its ``references``, as the metadata have them, the description is proved as well.
    """
    place = layout.artifact(digest, name)
    manifest: Manifest | None
    if references is not None:
        problems, manifest = _describe(layout, digest, name, references)
        yield from problems
    else:
        try:
            manifest = decode_manifest(read_sidecar(layout, digest), digest)
        except (NotInStoreError, DamagedStoreError):
            return
    if manifest is None or not fs.is_directory(place):
        return
    yield from compare(place, manifest, digest, Reader() if reader is None else reader)


def compare(place: str, manifest: Manifest, digest: TreeDigest, reader: Reader) -> Iterator[Problem]:
    """Compare the tree at ``place`` with a manifest. Below what stands in place of a directory nothing is looked at."""
    listed: dict[str, set[str]] = {"": set()}
    hidden: str | None = None
    for entry in manifest.entries():
        relative, kind = entry.path, entry.kind
        if hidden is not None and relative.startswith(hidden):
            continue
        hidden = None
        cut = relative.rfind("/")
        listed[relative[:cut] if cut > 0 else ""].add(relative[cut + 1 :])
        path = f"{place}/{relative}"
        mode = wanted = 0
        attributes: list[str] = []
        try:
            if kind == "f":
                found, mode, attributes = reader.look_at(path)
                wrong = found != entry.digest
                wanted = 0o555 if entry.executable else 0o444
            elif kind == "l":
                wrong = decode(os.fsencode(os.readlink(path))) != entry.target
            else:
                listed[relative] = set()
                status = os.lstat(path).st_mode
                wrong = not stat.S_ISDIR(status)
                if wrong:
                    hidden = f"{relative}/"
                    del listed[relative]
                mode, wanted = stat.S_IMODE(status), 0o755
                attributes = fs.live_attributes(path)
        except OSError as error:
            yield Problem("missing", digest, relative, error.strerror or str(error))
            continue
        if wrong:
            yield Problem("damaged", digest, relative, "it is not what its digest says")
        elif mode != wanted:
            yield Problem("mode", digest, relative, f"its mode on disk is {mode:04o} instead of {wanted:04o}")
        if attributes and not wrong:
            live = ", ".join(attributes)
            yield Problem("attributes", digest, relative, f"it has extended attributes on disk: {live}")
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
