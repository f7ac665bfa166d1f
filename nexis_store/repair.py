"""Making a store right again: counts from the references, metadata from what is on disk, contents from other copies."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nexis_store import fs, history, refs, roots
from nexis_store.database import Database, Transaction
from nexis_store.digest import BuildKey, FileDigest, TreeDigest
from nexis_store.errors import DamagedStoreError
from nexis_store.gc import take_unknown
from nexis_store.hashing import hash_file
from nexis_store.layout import Layout
from nexis_store.metadata.base import Backend
from nexis_store.names import encode
from nexis_store.records import (
    ARTIFACT,
    COUNT,
    DEAD,
    DERIVATION,
    DURATION,
    PRODUCED,
    REALISATION,
    REFERENCES,
    REFERRER,
    ROOT,
    ArtifactRecord,
    decode_realisation,
    latest_key,
    pack_digests,
    pack_number,
    unpack_digests,
    unpack_number,
)
from nexis_store.roots import UnreadableRoot
from nexis_store.session import protected
from nexis_store.sidecar import decode_sidecar
from nexis_store.tree import ManifestEntry
from nexis_store.verify import Problem, descriptions


@dataclass(frozen=True, slots=True)
class Recount:
    """What a recount found: how many counts were wrong, and how many artifacts only kept each other alive."""

    artifacts: int
    corrected: int
    unreachable: int


def recount(layout: Layout, database: Database) -> Recount:
    """Count all references anew and correct what differs; put what no root reaches on the dead list.

    Counts of artifacts that refer to each other in a circle never reach zero by themselves: this finds them.
    """
    roots.reconcile(layout, database)
    with database.transaction() as transaction:
        artifacts = [TreeDigest(key[1:]) for key, _ in transaction.scan(ARTIFACT)]
        start = [*roots.recorded(transaction).values(), *protected(layout)]
        live = {*refs.closure(transaction, (each for each in start if transaction.get(ARTIFACT + each) is not None))}
        corrected = _set_counts(transaction, artifacts)
        garbage = [each for each in artifacts if each not in live and transaction.get(DEAD + each) is None]
        unreachable = _cut_circles(transaction, garbage, time.time_ns())
    return Recount(len(artifacts), corrected, unreachable)


def _set_counts(transaction: Transaction, artifacts: list[TreeDigest]) -> int:
    counts: Counter[TreeDigest] = Counter(roots.recorded(transaction).values())
    pairs: set[bytes] = set()
    for key, value in transaction.scan(REFERENCES):
        for each in unpack_digests(value):
            counts[each] += 1
            pairs.add(each + key[1:])
    present = set(artifacts)
    corrected = 0
    now = time.time_ns()
    for key, _ in transaction.scan(REFERRER):
        if key[1:] not in pairs:
            transaction.delete(key)
            corrected += 1
        pairs.discard(key[1:])
    for pair in pairs:
        transaction.put(REFERRER + pair, b"")
        corrected += 1
    strange = [key for table in (COUNT, DEAD) for key, _ in transaction.scan(table) if key[1:] not in present]
    for key in strange:
        transaction.delete(key)
        corrected += 1
    for digest in artifacts:
        right = counts[digest]
        if unpack_number(transaction.get(COUNT + digest)) != right:
            corrected += 1
            if right:
                transaction.put(COUNT + digest, pack_number(right))
            else:
                transaction.delete(COUNT + digest)
        listed = transaction.get(DEAD + digest) is not None
        if listed != (right == 0):
            corrected += 1
            if right:
                transaction.delete(DEAD + digest)
            else:
                transaction.put(DEAD + digest, pack_number(now))
    return corrected


def _cut_circles(transaction: Transaction, garbage: Iterable[TreeDigest], now: int) -> int:
    """Release the references by which ``garbage`` refers to itself in circles; return how many that made dead."""
    needs = {digest: refs.references(transaction, digest) for digest in garbage}
    circles = _circles(needs)
    released: list[TreeDigest] = []
    for digest, needed in needs.items():
        inside = [each for each in needed if circles.get(each) == circles[digest]]
        if not inside:
            continue
        left = [each for each in needed if each not in inside]
        if left:
            transaction.put(REFERENCES + digest, pack_digests(left))
        else:
            transaction.delete(REFERENCES + digest)
        for each in inside:
            transaction.delete(REFERRER + each + digest)
            refs.release(transaction, each, now)
        released += inside
    return sum(transaction.get(DEAD + each) is not None for each in dict.fromkeys(released))


def _circles(needs: Mapping[TreeDigest, Sequence[TreeDigest]]) -> dict[TreeDigest, int]:
    """For each artifact the number of its strongly connected component (Tarjan 1972, without recursion).

    Following each circle by itself takes hours where an unreachable closure has 100,000 artifacts.
    """
    order: dict[TreeDigest, int] = {}
    lowest: dict[TreeDigest, int] = {}
    component: dict[TreeDigest, int] = {}
    stack: list[TreeDigest] = []
    for root in needs:
        if root in order:
            continue
        pending = [(root, iter(needs[root]))]
        order[root] = lowest[root] = len(order)
        stack.append(root)
        while pending:
            digest, others = pending[-1]
            for each in others:
                if each not in needs or each in component:
                    continue
                if each not in order:
                    order[each] = lowest[each] = len(order)
                    stack.append(each)
                    pending.append((each, iter(needs[each])))
                    break
                lowest[digest] = min(lowest[digest], order[each])
            else:
                pending.pop()
                if pending:
                    above = pending[-1][0]
                    lowest[above] = min(lowest[above], lowest[digest])
                if lowest[digest] == order[digest]:
                    while digest not in component:
                        component[stack.pop()] = order[digest]
    return component


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was rebuilt, and the descriptions that could not be read."""

    artifacts: int
    realisations: int
    roots: int
    damaged: tuple[str, ...]
    unreadable: tuple[UnreadableRoot, ...] = ()
    """Roots that nothing says what they keep: nobody collects garbage until they can be read or are removed."""


def rebuild(layout: Layout, backend: Backend, realisations: dict[bytes, bytes]) -> Recovery:
    """Fill an empty backend from what is on disk. ``realisations`` come from the history and the journal."""
    changes: dict[bytes, bytes | None] = {}
    damaged: list[str] = []
    found: dict[TreeDigest, tuple[TreeDigest, ...]] = {}
    for digest, path in descriptions(layout):
        try:
            sidecar = decode_sidecar(fs.read_whole(path), digest)
        except (DamagedStoreError, OSError, ValueError, KeyError):
            damaged.append(path)
            continue
        place = layout.artifact(digest, sidecar.name)
        if not fs.is_directory(place):
            continue
        manifest = sidecar.manifest
        record = ArtifactRecord(sidecar.name, manifest.size_bytes, len(manifest), sidecar.added_ns)
        changes[ARTIFACT + digest] = record.encode()
        found[digest] = sidecar.references
    counts: Counter[TreeDigest] = Counter()
    for digest, wanted in found.items():
        kept = [each for each in wanted if each in found]
        if kept:
            changes[REFERENCES + digest] = pack_digests(kept)
        for each in kept:
            counts[each] += 1
            changes[REFERRER + each + digest] = b""
    links = roots.on_disk(layout)
    kept_roots = {name: digest for name, digest in links.digests.items() if digest in found}
    for name, digest in kept_roots.items():
        counts[digest] += 1
        changes[ROOT + encode(name)] = digest
    damaged += [
        f"{layout.root}/.{name}" if name.startswith(roots.GENERATIONS) else f"{layout.roots}/{name}"
        for name, digest in links.digests.items()
        if digest not in found and layout.sidecar(digest) not in damaged
    ]
    now = time.time_ns()
    for digest in found:
        if counts[digest]:
            changes[COUNT + digest] = pack_number(counts[digest])
        else:
            changes[DEAD + digest] = pack_number(now)
    remembered = 0
    for key, value in realisations.items():
        realisation = decode_realisation(BuildKey(key[1:]), value)
        if not all(digest in found for digest in realisation.outputs.values()):
            continue
        remembered += 1
        changes[key] = value
        changes[DERIVATION + realisation.derivation] = realisation.key
        for digest in realisation.outputs.values():
            changes[PRODUCED + digest + realisation.key] = b""
        changes[latest_key(realisation.name, realisation.extra.get("platform", ""))] = realisation.key
        if realisation.duration_ns:
            changes[DURATION + encode(realisation.name)] = pack_number(realisation.duration_ns)
    backend.apply(changes)
    return Recovery(len(found), remembered, len(kept_roots), tuple(damaged), links.unreadable)


FindCopy = Callable[[FileDigest, int], bytes | None]
"""Fetches a file of that digest and size from elsewhere, for example a binary cache; ``None`` if it has none."""


def repair_problem(layout: Layout, database: Database, problem: Problem, fetch: FindCopy | None) -> bool:
    """Repair one path of an artifact that is damaged or missing, take away a tree that nobody knows; says if it did."""
    if problem.kind == "unknown" and problem.digest is not None:
        take_unknown(layout, database, problem.digest, problem.path)
        return not os.path.lexists(problem.path)
    if problem.kind == "history":
        _write_history(layout, database)
        return True
    if problem.digest is None or problem.kind not in ("damaged", "missing", "mode", "attributes", "surplus"):
        return False
    stored = database.get(ARTIFACT + problem.digest)
    try:
        manifest = decode_sidecar(fs.read_whole(layout.sidecar(problem.digest)), problem.digest).manifest
    except (OSError, DamagedStoreError):
        return False
    entry = manifest.get(problem.path)
    if stored is None:
        return False
    place = layout.artifact(problem.digest, ArtifactRecord.decode(stored).name)
    path = f"{place}/{problem.path}"
    if entry is None and problem.kind != "surplus":
        return False
    _make_parents(place, problem.path)
    if entry is None:
        _clear(path)
        fs.stamp(os.path.dirname(path))
        return True
    if problem.kind == "attributes":
        fs.remove_attributes(path)
        # An ACL has a say in the mode.
        _set_mode(layout, entry, path)
        return True
    if problem.kind == "mode":
        _set_mode(layout, entry, path)
        return True
    if entry.kind in "dl":
        _clear(path)
        if entry.kind == "d":
            fs.make_directory(path)
            fs.finish_path(path, 0o755)
        else:
            fs.symlink(entry.target or "", path)
            fs.stamp(path)
        fs.stamp(os.path.dirname(path))
        return True
    assert entry.digest is not None
    forget_damaged_pool(layout, entry.digest)
    return repair_file(layout, database, entry, path, fetch)


def _make_parents(place: str, relative: str) -> None:
    """Make the directories above a path of an artifact what they must be: nothing is ever written through a symlink."""
    above = [place, *(f"{place}/{relative[:at]}" for at, letter in enumerate(relative) if letter == "/")]
    for directory in above:
        if not fs.is_directory(directory):
            _clear(directory)
            fs.make_directories(directory)
            fs.finish_path(directory, 0o755)


def _set_mode(layout: Layout, entry: ManifestEntry, path: str) -> None:
    """Give a path its mode. A file that shares its inode with what is not the store's becomes one of its own."""
    if entry.kind == "d":
        fs.finish_path(path, 0o755)
        return
    assert entry.digest is not None
    mode = 0o555 if entry.executable else 0o444
    pool = layout.link(entry.digest, entry.executable)
    if os.stat(path).st_nlink == 1 or (os.path.exists(pool) and os.path.samefile(path, pool)):
        fs.finish_path(path, mode)
    else:
        _replace(path, fs.read_whole(path), mode)


def _write_history(layout: Layout, database: Database) -> None:
    """Write the history anew: what the database has, and what only the history still knows."""
    with database.alone():
        builds = history.remembered(layout)
        builds.update((key, value) for key, value in database.scan(REALISATION))
        history.rewrite(layout.history_file, builds)


def repair_file(layout: Layout, database: Database, entry: ManifestEntry, path: str, fetch: FindCopy | None) -> bool:
    """Replace a damaged file by a good copy: of ``.links``, of another artifact, or what ``fetch`` brings."""
    assert entry.digest is not None
    digest, mode = entry.digest, 0o555 if entry.executable else 0o444
    for candidate in (*_pool(layout, digest), *_other_copies(layout, database, digest)):
        if candidate == path or not os.path.isfile(candidate):
            continue
        with contextlib.suppress(OSError):
            content = fs.read_whole(candidate)
            if FileDigest.of(content) == digest:
                _replace(path, content, mode)
                return True
    data = fetch(digest, entry.size) if fetch is not None else None
    if data is None or FileDigest.of(data) != digest:
        return False
    _replace(path, data, mode)
    return True


def _pool(layout: Layout, digest: FileDigest) -> tuple[str, str]:
    return layout.link(digest, False), layout.link(digest, True)


def _other_copies(layout: Layout, database: Database, digest: FileDigest) -> Iterator[str]:
    for key, value in database.scan(ARTIFACT):
        tree = TreeDigest(key[1:])
        try:
            manifest = decode_sidecar(fs.read_whole(layout.sidecar(tree)), tree).manifest
        except (OSError, DamagedStoreError):
            continue
        place = layout.artifact(tree, ArtifactRecord.decode(value).name)
        for entry in manifest.entries():
            if entry.digest == digest:
                yield f"{place}/{entry.path}"


def _replace(path: str, data: bytes, mode: int) -> None:
    temporary = f"{path}.repaired"
    if os.path.isdir(path) and not os.path.islink(path):
        _clear(path)
    fs.write_file(temporary, data, mode)
    fs.sync_path(temporary)
    fs.rename(temporary, path)
    fs.stamp(os.path.dirname(path))
    fs.sync_path(os.path.dirname(path))


def _clear(path: str) -> None:
    """Remove whatever stands where something else belongs."""
    if os.path.isdir(path) and not os.path.islink(path):
        fs.remove_tree(path)
    elif os.path.lexists(path):
        fs.unlink(path)


def forget_damaged_pool(layout: Layout, digest: FileDigest) -> None:
    """Take a content out of ``.links`` if it is not what it should be, so that nothing new links to it."""
    for path in _pool(layout, digest):
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or hash_file(path) != digest:
                _clear(path)
