"""Repairing from elsewhere: another store, a binary cache, an exported closure, or what a rebuild makes.

Nothing that comes from there is trusted: a file counts only if it has the digest that the damaged artifact's manifest
says, a manifest only if it has the artifact's digest.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexis_store import fs
from nexis_store.binary_cache import INDEX, BinaryCache
from nexis_store.checking import check_contents
from nexis_store.digest import BuildKey, FileDigest, TreeDigest
from nexis_store.errors import DamagedStoreError, NexisError, StoreError
from nexis_store.hashing import hash_file, tree_of_path
from nexis_store.layout import Layout
from nexis_store.publish import Artifact
from nexis_store.records import REALISATION
from nexis_store.repair import repair_problem
from nexis_store.sidecar import encode_sidecar
from nexis_store.store import Store
from nexis_store.transfer import MAGIC, load, sorted_for_import
from nexis_store.tree import Manifest
from nexis_store.verify import Problem


@dataclass(frozen=True, slots=True)
class Repair:
    """What was repaired, and what is still wrong."""

    repaired: tuple[Problem, ...]
    left: tuple[Problem, ...]


Source = Store | BinaryCache
"""Where good copies may be."""


class _Copies:
    """Files from elsewhere, found by content. Stores are listed when the first file is asked for."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = [each for each in sources if isinstance(each, Store)]
        self._caches = [each for each in sources if isinstance(each, BinaryCache)]
        self._paths: dict[FileDigest, list[str]] | None = None
        self._offers: dict[FileDigest, list[str]] = {}

    def offer(self, digest: FileDigest, path: str) -> None:
        """Name a place where a copy may lie."""
        self._offers.setdefault(digest, []).append(path)

    def find(self, digest: FileDigest, size: int) -> bytes | None:
        """The bytes of a good copy."""
        for cache in self._caches:
            if (data := cache.content(digest, size)) is not None:
                return data
        if self._paths is None:
            self._paths = {}
            for source in self._sources:
                for artifact in source.artifacts():
                    with contextlib.suppress(NexisError):
                        for entry in source.manifest(artifact.digest).entries():
                            if entry.digest is not None:
                                self._paths.setdefault(entry.digest, []).append(f"{artifact.path}/{entry.path}")
        for path in (*self._offers.get(digest, ()), *self._paths.get(digest, ())):
            with contextlib.suppress(OSError):
                if hash_file(path) == digest:
                    return Path(path).read_bytes()
        return None


def repair(store: Store, problems: Sequence[Problem], sources: Sequence[Source] = ()) -> Repair:
    """Repair what can be: from good copies in the store itself, else from ``sources``."""
    copies = _Copies(sources)
    repaired: dict[Problem, None] = {}
    left: dict[Problem, None] = {}
    pending = list(problems)
    # Only a look at what was repaired shows whether it is right now, and what the damage had hidden.
    while pending:
        touched: dict[TreeDigest, None] = {}
        for problem in pending:
            if problem in repaired or not _repair_one(store, problem, sources, copies):
                repaired.pop(problem, None)
                left[problem] = None
                continue
            repaired[problem] = None
            if problem.digest is not None and problem.kind != "unknown":
                touched[problem.digest] = None
        pending = [each for each in check_contents(store, touched, descriptions=True) if each not in left]
    return Repair(tuple(repaired), tuple(left))


def _repair_one(store: Store, problem: Problem, sources: Sequence[Source], copies: _Copies) -> bool:
    if problem.digest is not None and problem.kind in ("damaged", "missing") and store.has(problem.digest):
        with contextlib.suppress(OSError, NexisError):
            _look_behind_symlink(store, problem.digest, problem.path, copies)
    if problem.digest is not None and _restore(store, problem, problem.digest, sources):
        return True
    return repair_problem(store.layout, store.database, problem, copies.find)


def _look_behind_symlink(store: Store, digest: TreeDigest, path: str, copies: _Copies) -> None:
    """Where somebody put a symlink in place of a directory, what it leads to may be the good copies."""
    place = os.fspath(store.path(digest))
    path = path if path.startswith("/") else f"{place}/{path}"
    if os.path.islink(path) and os.path.isdir(path):
        target = os.path.realpath(path)
        for entry in store.manifest(digest).entries():
            here = f"{place}/{entry.path}"
            if entry.digest is not None and here.startswith(f"{path}/"):
                copies.offer(entry.digest, target + here.removeprefix(path))


def _restore(store: Store, problem: Problem, digest: TreeDigest, sources: Sequence[Source]) -> bool:
    """Bring back an artifact's description or its directory; the files are the next check's business."""
    if not store.has(digest):
        return False
    artifact = store.artifact(digest)
    if problem.kind == "missing" and problem.path == os.fspath(artifact.path):
        if os.path.lexists(problem.path):
            fs.remove_tree(problem.path)
        fs.make_directories(problem.path)
        fs.finish_path(problem.path, 0o755)
        return True
    if problem.kind != "damaged" or problem.path != store.layout.sidecar(digest):
        return False
    for manifest in (_read_tree(artifact), *(_manifest(source, digest) for source in sources)):
        if manifest is not None and manifest.digest == digest:
            if os.path.isdir(problem.path):
                fs.remove_tree(problem.path)
            data = encode_sidecar(artifact.name, artifact.references, manifest, store.info(digest).added_ns)
            fs.write_atomically(problem.path, data, mode=0o444)
            return True
    return False


def _read_tree(artifact: Artifact) -> Manifest | None:
    """What lies on disk, if it can be read. It has the artifact's digest if all its attributes are the usual ones."""
    with contextlib.suppress(OSError, NexisError):
        return tree_of_path(artifact.path)
    return None


def _manifest(source: Source, digest: TreeDigest) -> Manifest | None:
    with contextlib.suppress(OSError, NexisError):
        return source.manifest(digest)
    return None


@contextlib.contextmanager
def opened(store: Store, places: Sequence[Path]) -> Iterator[list[Source]]:
    """What ``places`` offer: stores, binary caches, exported closures, directories of exported closures."""
    with contextlib.ExitStack() as stack:
        found: list[Source] = []
        archives: list[Path] = []
        for place in places:
            if os.path.exists(Layout(os.path.abspath(place)).format_file):
                found.append(stack.enter_context(Store.open(place, create=False, readonly=True)))
                continue
            if (place / INDEX).is_file():
                found.append(BinaryCache(place))
                continue
            inside = sorted(place.rglob("*")) if place.is_dir() else [place]
            good = [each for each in inside if each.is_file() and _is_archive(each)]
            if not good:
                raise StoreError(
                    f"{place} is no store, no binary cache, no exported closure and no directory of exported closures",
                    hint="name the directory of a store or a cache, or a file that 'nexis-store export' wrote",
                )
            archives += good
        if archives:
            scratch = stack.enter_context(scratch_store(store))
            for archive in archives:
                with open(archive, "rb") as stream:
                    load(scratch, stream)
            found.append(scratch)
        yield found


@contextlib.contextmanager
def scratch_store(store: Store) -> Iterator[Store]:
    """An empty store on the same file system, gone afterwards; a collection removes what a kill leaves of it."""
    place = store.session.new_staging()
    try:
        with Store.open(Path(place) / "store", profile="desktop") as scratch:
            # It need not survive anything.
            scratch.durability.sync = lambda: None  # type: ignore[method-assign]
            yield scratch
    finally:
        fs.remove_tree(place)


def _is_archive(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


@contextlib.contextmanager
def rebuilt(store: Store, problems: Sequence[Problem], command: str) -> Iterator[Store]:
    """A store in which ``command``, run by the shell with it as ``$NEXIS_STORE``, has made again what is damaged.

    All that is whole is there before (as hard links), so a build makes only what is not. Raises ``StoreError`` when
    the command fails.
    """
    bad = {problem.digest for problem in problems if problem.digest is not None}
    with scratch_store(store) as scratch:
        present: set[TreeDigest] = set()
        for digest in sorted_for_import(store, [each.digest for each in store.artifacts()]):
            if digest not in bad and present.issuperset(store.references(digest)):
                with contextlib.suppress(DamagedStoreError):
                    _link(store, digest, scratch)
                    present.add(digest)
        for key, _ in store.database.scan(REALISATION):
            realisation = store.realisation(BuildKey(key[1:]))
            if realisation is not None and present.issuperset(realisation.outputs.values()):
                scratch.record(realisation)
        environment = {**os.environ, "NEXIS_STORE": os.fspath(scratch.root)}
        done = subprocess.run(["/bin/sh", "-c", command], env=environment)
        if done.returncode:
            raise StoreError(
                f"the command '{command}' ended with {done.returncode}", hint="correct what it says, then repair again"
            )
        yield scratch


def _link(store: Store, digest: TreeDigest, scratch: Store) -> None:
    artifact = store.artifact(digest)
    with scratch.writer(artifact.name) as writer:
        for entry in store.manifest(digest).entries():
            writer.adopt(entry.path, entry, f"{artifact.path}/{entry.path}")
        writer.commit(artifact.references)
