"""``Store``: the library's face. It composes the other modules and holds no logic of its own.

with Store.open(Path("/srv/store")) as store:
    with store.writer("hello-1.0") as writer:
        writer.file("usr/bin/hello", b"#!/bin/sh\\necho hello\\n", executable=True)
        artifact = writer.commit()
    store.set_root("hello", artifact.digest)
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from nexis_store import (
    finding,
    fs,
    gc,
    generations,
    landing,
    marks,
    opening,
    publish,
    recovery,
    refs,
    roots,
    unpack,
    verify,
)
from nexis_store import union as merging
from nexis_store.builds import remember
from nexis_store.database import Database, Transaction
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.durability import Durability
from nexis_store.errors import Contested, DamagedStoreError, NotInStoreError, StoreError, writing
from nexis_store.freeing import Progress
from nexis_store.gc import GcPlan, GcResult
from nexis_store.generations import Generation
from nexis_store.history import settle
from nexis_store.homes import default_store_root
from nexis_store.ingest import Writer
from nexis_store.layout import Layout
from nexis_store.locks import take_while_needed
from nexis_store.metadata.base import Backend
from nexis_store.metadata.choose import open_backend
from nexis_store.names import encode
from nexis_store.publish import Artifact, read_sidecar
from nexis_store.realisation import Realisation
from nexis_store.records import (
    ARTIFACT,
    DERIVATION,
    DURATION,
    PRODUCED,
    REALISATION,
    REFERRER,
    ArtifactRecord,
    decode_realisation,
    latest_key,
    unpack_number,
)
from nexis_store.session import Session
from nexis_store.sidecar import decode_manifest
from nexis_store.together import Part, commit_together
from nexis_store.tree import Attributes, Manifest
from nexis_store.unpack import Format
from nexis_store.verify import Problem


@dataclass(frozen=True, slots=True)
class ArtifactInfo:
    """What the store knows about an artifact. Sizes in bytes, times in nanoseconds since the epoch."""

    digest: TreeDigest
    name: str
    path: Path
    size_bytes: int
    entries: int
    added_ns: int
    references: tuple[TreeDigest, ...]
    referrers: tuple[TreeDigest, ...]
    realisations: tuple[BuildKey, ...]


class Store:
    """One store. Safe for many threads and beside many processes. Make it with ``open``, end it with ``close``."""

    def __init__(self, layout: Layout, backend: Backend, *, readonly: bool = False) -> None:
        self.layout = layout
        self.session = Session(layout)
        self.durability = Durability(layout.root)
        self.stopped = threading.Event()
        """While it is set, everything that is being added in any thread of this process ends with a ``StoreError``."""
        restarted = recovery.restarted(layout)
        self.database = Database(
            backend,
            layout.database,
            readonly=readonly,
            after_restart=restarted,
            before_checkpoint=lambda changes: settle(layout, changes),
        )
        if restarted and not readonly:
            recovery.after_power_cut(layout, self.database)
        self._inspection = marks.Inspection()
        self._manifests = lru_cache(maxsize=512)(self._read_manifest)

    @classmethod
    def open(cls, root: Path, *, profile: str = "auto", create: bool = True, readonly: bool = False) -> Store:
        """Open the store at ``root``; makes it there unless ``create`` is false or ``readonly`` true.

        ``profile`` matters when the store is made: ``desktop`` (LMDB), ``server`` (RocksDB) or ``auto``. Raises
        ``StoreError`` when there is no store, it is of another version, or the place is not writable.
        """
        if sys.getfilesystemencoding() != "utf-8":
            # Python would read and write other names than the ones that are hashed.
            raise StoreError(
                f"a store needs UTF-8 for the names of files, and this Python has {sys.getfilesystemencoding()}",
                hint="start it with PYTHONUTF8=1, or as 'python -X utf8'",
            )
        layout = Layout(os.path.abspath(root))
        backend_name = opening.backend_named(layout, profile if create and not readonly else None)
        with writing(f"the store at {layout.root}"):
            if not readonly:
                opening.check_writable(layout)
            backend = open_backend(layout, backend_name, readonly=readonly, create=False)
            try:
                return cls(layout, backend, readonly=readonly)
            except BaseException:
                backend.close()
                raise

    def close(self) -> None:
        """Release files, locks and temporary roots."""
        self.session.close()
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """Where the store is."""
        return Path(self.layout.root)

    # Writing

    def writer(self, name: str) -> Writer:
        """Start an artifact: ``with store.writer("vim-9.0") as writer: …; writer.commit()``."""
        return Writer(self, name)

    def add_directory(
        self,
        path: Path,
        name: str,
        *,
        attributes: Mapping[str, Attributes] | None = None,
        normalise: bool = True,
        references: Iterable[TreeDigest] = (),
        move: bool = False,
    ) -> Artifact:
        """Add the tree below ``path`` under the landing rules (``docs/formats/landing.md``).

        ``move`` may take the files themselves; the caller removes what is left of the directory. ``attributes`` are
        for paths as they are after landing (``usr/bin/su``).
        """
        with self.writer(name) as writer:
            return landing.land(
                writer,
                os.fspath(path),
                attributes=attributes or {},
                normalise=normalise,
                references=references,
                move=move,
            )

    def prepare_directory(
        self,
        path: Path,
        name: str,
        *,
        attributes: Mapping[str, Attributes] | None = None,
        normalise: bool = True,
        references: Iterable[TreeDigest] = (),
    ) -> Part:
        """``add_directory`` that moves, up to where the tree is written and hashed: for ``record_together``."""
        with Part(self, name) as part:
            landing.land(
                part,
                os.fspath(path),
                attributes=attributes or {},
                normalise=normalise,
                references=references,
                move=True,
            )
        return part

    def add_archive(
        self,
        stream: BinaryIO,
        name: str,
        *,
        format: Format = "tar",
        strip: int = 0,
        prefix: str = "",
        exclude: Sequence[str] = (),
        usrmerge: bool = True,
        references: Iterable[TreeDigest] = (),
        keep_attributes: bool | None = None,
    ) -> Artifact:
        """Unpack a tar (gzip, xz, zstd, bzip2 or plain), zip or deb archive in one pass.

        ``keep_attributes`` says whether the archive's owners, modes and xattrs count; by default those of a deb do.
        Raises ``HostileArchiveError`` for anything that reaches out of the tree or that no artifact can hold.
        """
        rules = unpack.rules_for(
            format, strip=strip, prefix=prefix, exclude=exclude, usrmerge=usrmerge, keep_attributes=keep_attributes
        )
        with self.writer(name) as writer:
            unpack.unpack(writer, stream, format, rules)
            return writer.commit(references)

    @writing("the union")
    def union(
        self,
        name: str,
        parts: Sequence[tuple[str, TreeDigest]],
        *,
        winners: Sequence[tuple[str, str]] = (),
        later_wins: bool = False,
        exclude: Sequence[str] = (),
        references: Iterable[TreeDigest] = (),
    ) -> Artifact:
        """Merge artifacts, given with labels for messages. Raises ``PathConflictError`` when two have one path."""
        return merging.union(
            self, name, parts, winners=winners, later_wins=later_wins, exclude=exclude, references=references
        )

    def contested(
        self,
        parts: Sequence[tuple[str, TreeDigest]],
        *,
        winners: Sequence[tuple[str, str]] = (),
        exclude: Sequence[str] = (),
    ) -> list[Contested]:
        """The paths for which ``union`` would raise ``PathConflictError``."""
        return merging.merge(self, parts, winners=winners, later_wins=False, exclude=exclude)[1]

    # Reading

    def _record(self, digest: TreeDigest) -> ArtifactRecord:
        stored = self.database.get(ARTIFACT + digest)
        if stored is None:
            raise NotInStoreError(f"the store has no {digest}", hint="'nexis-store ls' lists what it has")
        return ArtifactRecord.decode(stored)

    def has(self, digest: TreeDigest) -> bool:
        """Whether an artifact is there."""
        return self.database.get(ARTIFACT + digest) is not None

    def path(self, digest: TreeDigest) -> Path:
        """The directory that holds an artifact; raises ``NotInStoreError``."""
        return Path(self.layout.artifact(digest, self._record(digest).name))

    def artifact(self, digest: TreeDigest) -> Artifact:
        """The same value that adding it returned; raises ``NotInStoreError``."""
        record = self._record(digest)
        place = Path(self.layout.artifact(digest, record.name))
        return Artifact(digest, record.name, place, record.size_bytes, refs.references(self.database, digest))

    def info(self, digest: TreeDigest) -> ArtifactInfo:
        """Everything the metadata say about an artifact; raises ``NotInStoreError``."""
        record = self._record(digest)
        return ArtifactInfo(
            digest=digest,
            name=record.name,
            path=Path(self.layout.artifact(digest, record.name)),
            size_bytes=record.size_bytes,
            entries=record.entries,
            added_ns=record.added_ns,
            references=refs.references(self.database, digest),
            referrers=self.referrers(digest),
            realisations=tuple(BuildKey(key[-32:]) for key, _ in self.database.scan(PRODUCED + digest)),
        )

    def artifacts(self) -> Iterator[Artifact]:
        """All artifacts, in the order of their digests."""
        for key, value in self.database.scan(ARTIFACT):
            digest, record = TreeDigest(key[1:]), ArtifactRecord.decode(value)
            place = Path(self.layout.artifact(digest, record.name))
            yield Artifact(digest, record.name, place, record.size_bytes, refs.references(self.database, digest))

    def find(self, text: str) -> TreeDigest:
        """The artifact that ``text`` means: a digest, the unique beginning of one, a root, a name, a path in the store.

        Raises ``NotInStoreError`` when there is none or more than one.
        """
        return finding.find(self.layout, self.database, text)

    def _read_manifest(self, digest: TreeDigest) -> Manifest:
        return decode_manifest(read_sidecar(self.layout, digest), digest)

    def manifest(self, digest: TreeDigest) -> Manifest:
        """The listing of an artifact, proved against its digest; raises ``NotInStoreError``, ``DamagedStoreError``."""
        return self._manifests(digest)

    def check_intact(self, digests: Iterable[TreeDigest], *, most: int = 512) -> None:
        """Look whether somebody has touched artifacts that are about to be used; raises ``DamagedStoreError`` if so.

        Only marks are looked at (``marks``), of at most so many paths, none of them twice: of large trees a part, and
        another one each time. What was touched is read.
        """
        places = {os.fspath(self.path(digest)): digest for digest in digests}
        for place, path in self._inspection.look(list(places), most):
            if not marks.is_right(place, path, self.manifest(places[place])):
                self._inspection.forget(place)
                raise DamagedStoreError(
                    f"{place}/{path} is damaged" if path else f"{place} is damaged",
                    hint=f"run 'nexis-store verify --contents --repair {places[place].hex()[:16]}', then this again",
                )

    def references(self, digest: TreeDigest) -> tuple[TreeDigest, ...]:
        """What an artifact refers to directly."""
        return refs.references(self.database, digest)

    def referrers(self, digest: TreeDigest) -> tuple[TreeDigest, ...]:
        """The artifacts that refer to it directly."""
        return tuple(TreeDigest(key[-32:]) for key, _ in self.database.scan(REFERRER + digest))

    def closure(self, digests: Iterable[TreeDigest]) -> list[TreeDigest]:
        """The artifacts and everything they need, each once."""
        with self.database.snapshot() as snapshot:
            return refs.closure(snapshot, digests)

    @writing("the references")
    def add_references(self, digest: TreeDigest, references: Iterable[TreeDigest]) -> tuple[TreeDigest, ...]:
        """Let an artifact that is there refer to more artifacts, durably; returns all it refers to now.

        For what is declared differently later although its bytes are the same. Costs a look-up where it refers to them
        already. References are never taken away: another user of the artifact may rely on them. Raises
        ``NotInStoreError`` when the artifact or one that it shall refer to is not there.
        """
        return publish.add_references(self, digest, references)

    # Builds

    @writing("the realisation")
    def record(self, realisation: Realisation) -> None:
        """Remember what a build came out as. Its outputs must be in the store."""
        with self.database.transaction() as transaction:
            remember(transaction, realisation)

    @writing("the results of builds")
    def record_together(self, builds: Sequence[tuple[Sequence[Part], Realisation]]) -> None:
        """Add the outputs of several builds and remember what they came out as: durable and visible in one step.

        It costs two syncs whatever the number of builds. If it raises, none of them was added.
        """

        def record(transaction: Transaction) -> None:
            for _, realisation in builds:
                remember(transaction, realisation)

        commit_together(self, [each for outputs, _ in builds for each in outputs], record)

    def record_alias(self, derivation: DerivationId, key: BuildKey) -> None:
        """Remember that another recipe has the build key of a realisation that is there."""
        with self.database.transaction() as transaction:
            transaction.put(DERIVATION + derivation, key)

    def last_realisation(self, label: str, platform: str) -> Realisation | None:
        """What the last build with that name came out as, whatever its key; its outputs may be gone."""
        key = self.database.get(latest_key(label, platform))
        value = self.database.get(REALISATION + key) if key is not None else None
        return decode_realisation(BuildKey(key), value) if key is not None and value is not None else None

    def known(self, key: BuildKey) -> Realisation | None:
        """Return what a build key came out as, whether or not the outputs are present."""
        value = self.database.get(REALISATION + key)
        if value is None:
            return None
        return decode_realisation(key, value)

    def realisation(self, key: BuildKey) -> Realisation | None:
        """Return what a build key came out as if all of that is present."""
        realisation = self.known(key)
        return realisation if realisation is not None and self.present(realisation) else None

    def present(self, realisation: Realisation) -> bool:
        """Whether this store has every output of ``realisation``."""
        return all(map(self.is_present, realisation.outputs.values()))

    def is_present(self, digest: TreeDigest) -> bool:
        """Whether the metadata have an artifact and the disk its directory: one that is gone is built again."""
        stored = self.database.get(ARTIFACT + digest)
        return stored is not None and fs.is_directory(self.layout.artifact(digest, ArtifactRecord.decode(stored).name))

    def known_recipe(self, derivation: DerivationId) -> Realisation | None:
        """Return what a recipe came out as the last time it was recorded, whether or not the outputs are present."""
        key = self.database.get(DERIVATION + derivation)
        return self.known(BuildKey(key)) if key is not None else None

    def realised(self, derivation: DerivationId) -> Realisation | None:
        """Return what a recipe came out as the last time it was recorded if all of that is present."""
        realisation = self.known_recipe(derivation)
        return realisation if realisation is not None and self.present(realisation) else None

    def duration(self, label: str) -> int | None:
        """How long the last build of that name took, in nanoseconds."""
        value = self.database.get(DURATION + encode(label))
        return unpack_number(value) if value is not None else None

    @writing("the log")
    def put_log(self, key: BuildKey, data: bytes | Iterable[bytes]) -> None:
        """Keep the log of a build, in one piece or in several, compressed. Not worth waiting for the disk."""
        import zstandard

        path = self.layout.log(key)
        fs.make_directories(os.path.dirname(path))
        compressor = zstandard.ZstdCompressor(level=3).compressobj()
        pieces = [compressor.compress(each) for each in ((data,) if isinstance(data, bytes) else data)]
        fs.write_atomically(path, b"".join((*pieces, compressor.flush())), durable=False)

    def log(self, key: BuildKey) -> bytes | None:
        """The log of a build, if one was kept."""
        import zstandard

        try:
            with open(self.layout.log(key), "rb") as file:
                return zstandard.ZstdDecompressor().decompressobj().decompress(file.read())
        except (FileNotFoundError, zstandard.ZstdError):
            return None

    @contextlib.contextmanager
    def lock_build(self, key: BuildKey) -> Iterator[None]:
        """Hold the right to build ``key``: waits while another thread or process builds it."""
        release = take_while_needed(self._build_lock(key))
        assert release is not None
        try:
            yield
        finally:
            release()

    def try_lock_build(self, key: BuildKey) -> Callable[[], None] | None:
        """The same without waiting: what gives the right back, or ``None`` if somebody else has it."""
        return take_while_needed(self._build_lock(key), wait=False)

    def _build_lock(self, key: BuildKey) -> str:
        fs.make_directory(self.layout.build_locks, exist_ok=True)
        return self.layout.build_lock(key)

    # Roots and garbage

    @writing("the list of what this process uses")
    def temporary_root(self, digest: TreeDigest) -> bool:
        """Keep an artifact until this process ends; says whether it is there to be kept."""
        if self.session.protect(digest):
            self.database.pass_by()
        return self.has(digest)

    @writing("the root")
    def set_root(self, name: str, digest: TreeDigest) -> None:
        """Keep an artifact and all it refers to until the root is removed or set to another one."""
        roots.set_root(self.layout, self.database, name, digest)

    @writing("the root")
    def set_indirect_root(self, link: Path, digest: TreeDigest) -> None:
        """Make a symlink of the user's own that keeps an artifact as long as it is there."""
        roots.set_indirect_root(self.layout, self.database, os.path.abspath(link), digest)

    @writing("the root")
    def remove_root(self, name: str) -> None:
        """Stop keeping what the root kept; raises ``NotInStoreError``."""
        roots.remove_root(self.layout, self.database, name)

    def roots(self) -> dict[str, TreeDigest]:
        """All named roots, in order."""
        return dict(sorted(each for each in roots.named(self.layout, self.database).items() if self.has(each[1])))

    def indirect_root(self, name: str) -> str | None:
        """The user's own symlink that the root ``name`` watches; ``None`` if it is an ordinary root."""
        return roots.indirect(self.layout, name)

    def profiles(self) -> list[str]:
        """The names of all profiles, in order."""
        return generations.profiles(self.layout)

    def generations(self, profile: str) -> list[Generation]:
        """The generations of a profile, oldest first."""
        return generations.generations(self.layout, self.database, profile)

    @writing("the generation")
    def add_generation(self, profile: str, digest: TreeDigest) -> Generation:
        """Make an artifact the newest generation of a profile, and the current one."""
        return generations.add(self.layout, self.database, profile, digest)

    @writing("the generation")
    def switch_generation(self, profile: str, number: int) -> Generation:
        """Make another generation the current one."""
        return generations.switch(self.layout, self.database, profile, number)

    @writing("the generation")
    def roll_back(self, profile: str) -> Generation:
        """Switch to the generation before the current one."""
        return generations.roll_back(self.layout, self.database, profile)

    @writing("the generation")
    def remove_generations(self, profile: str, numbers: Iterable[int]) -> None:
        """Forget generations; the current one cannot be."""
        generations.remove(self.layout, self.database, profile, numbers)

    @writing("the roots")
    def plan_gc(
        self, *, max_freed: int | None = None, older_than_ns: int | None = None, keep_generations: int | None = None
    ) -> GcPlan:
        """Work out what is garbage: ``gc.plan_gc``.

        ``keep_generations`` and ``older_than_ns`` also end generations (never a current one): ``generations.outdated``.
        """
        profiles = self.profiles() if keep_generations is not None or older_than_ns is not None else []
        for profile in profiles:
            generations.check_current(self.layout, profile)
        ending = [
            each.root
            for profile in profiles
            for each in generations.outdated(
                self.generations(profile), keep=keep_generations, older_than_ns=older_than_ns
            )
        ]
        return gc.plan_gc(self.layout, self.database, max_freed=max_freed, older_than_ns=older_than_ns, without=ending)

    @writing("the trash")
    def execute_gc(
        self,
        plan: GcPlan,
        progress: Progress | None = None,
        *,
        while_freeing: Progress | None = None,
        free: bool = True,
    ) -> GcResult:
        """Carry out a plan: ``gc.execute_gc``."""
        result = gc.execute_gc(self.layout, self.database, plan, progress, while_freeing=while_freeing, free=free)
        self._manifests.cache_clear()
        return result

    @writing("the trash")
    def empty_trash(self) -> int:
        """Free what collections left in the trash; returns bytes of disk space."""
        return gc.empty_trash(self.layout, self.database)

    def verify(
        self, *, contents: bool = False, digests: Iterable[TreeDigest] | None = None, descriptions: bool = True
    ) -> Iterator[Problem]:
        """Find what is wrong: metadata against disk, with ``contents`` every byte of the given (or all) artifacts.

        Without ``descriptions`` artifacts are not looked at for that: ``check_contents`` is to follow, and will.
        """
        yield from verify.verify_metadata(self.layout, self.database, descriptions=descriptions)
        if contents or digests is not None:
            chosen = [artifact.digest for artifact in self.artifacts()] if digests is None else digests
            for digest in chosen:
                yield from verify.verify_contents(self.layout, self.database, digest)


__all__ = ["Artifact", "ArtifactInfo", "Store", "default_store_root"]
