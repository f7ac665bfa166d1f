"""The one way into the store: a tree is staged, hashed while it is written, made durable, then shown by one rename."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from blake3 import blake3

from nexis_store import fs, workers
from nexis_store.contents import TINY, Contents
from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.durability import SyncAhead
from nexis_store.errors import (
    ConflictError,
    DamagedStoreError,
    NotInStoreError,
    StoreError,
    cannot_read,
    cannot_write,
    writing,
)
from nexis_store.hashing import hash_large
from nexis_store.marks import is_intact, is_whole
from nexis_store.names import check_component, check_name, check_path, encode
from nexis_store.publish import Artifact, Host, publish
from nexis_store.records import ARTIFACT, SMALL, ArtifactRecord
from nexis_store.sidecar import encode_sidecar
from nexis_store.tree import (
    DEFAULT,
    Attributes,
    Manifest,
    ManifestEntry,
    directory_entry,
    file_entry,
    symlink_entry,
)

HOLD_BYTES = 1 << 23
"""How much of tiny files is kept in memory while nothing but known contents have come."""


_Copied = tuple[bytes, int, int, bool]
"""What became of a small file: digest, size, mode, and whether its content was not there before."""


class _Held(NamedTuple):
    """A file that is not written yet, since the whole tree may be there already; ``data`` is ``None`` if it is long."""

    place: str
    source: str
    digest: FileDigest
    executable: bool
    size: int
    data: bytes | None


_CLAIMED = file_entry("", FileDigest(bytes(32)), 0)


class Writer:
    """Writes one artifact. Nothing is visible before ``commit``; leaving the block without it leaves nothing behind.

    For use by one thread. Parents are created as needed. A path can be written once, unless it is a directory.
    """

    def __init__(self, host: Host, name: str) -> None:
        self.name = check_name(name)
        self._host = host
        self._layout = host.layout
        self._entries: dict[str, ManifestEntry] = {}
        self._contents: Contents
        self._held: list[_Held] = []
        self._ahead: SyncAhead | None = None
        self._staging: str | None = None
        self._tree = ""
        self._fix_modes = False
        self._mends = False

    def __enter__(self) -> Writer:
        with writing(self.name):
            self._staging = self._host.session.new_staging()
            self._tree = f"{self._staging}/tree"
            fs.make_directory(self._tree)
        self._fix_modes = os.stat(self._tree).st_mode & 0o7777 != 0o755
        self._contents = Contents(
            self._layout,
            self._host.database,
            self._staging,
            exact_modes=not self._fix_modes,
            stopped=self._host.stopped,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        staging, self._staging = self._staging, None
        # A staging directory that names a tree which could not be taken back is left to the next collection.
        if staging is not None and (error is None or os.path.exists(f"{staging}/tree")):
            with contextlib.suppress(OSError):
                fs.remove_tree(staging)
        if isinstance(error, OSError):
            source = error.filename if error.filename2 is None else None
            if isinstance(source, str) and not source.startswith(f"{self._layout.root}/"):
                raise cannot_read(error, source) from error
            raise cannot_write(error, self.name) from error

    def _claim(self, path: str) -> str:
        """Check a new path and make its parents; returns where it goes on disk."""
        if self._host.stopped.is_set():
            raise StoreError(f"adding {self.name} was stopped", hint="repeat the command")
        if path in self._entries:
            raise ConflictError(
                f"{self.name}: {path} is written twice", hint="a path of an artifact can only be written once"
            )
        cut = path.rfind("/")
        parent = self._entries.get(path[:cut]) if cut > 0 else None
        if parent is None:
            check_path(path)
            self._parents(path)
        elif parent.kind != "d":
            raise ConflictError(f"{self.name}: {path} would lie below {path[:cut]}, which is no directory")
        else:
            check_component(path, cut + 1)
        return f"{self._tree}/{path}"

    def _parents(self, path: str) -> None:
        cut = path.rfind("/")
        if cut < 0:
            return
        parent = path[:cut]
        entry = self._entries.get(parent)
        if entry is None:
            self._parents(parent)
            fs.make_directory(f"{self._tree}/{parent}")
            self._entries[parent] = directory_entry(parent)
        elif entry.kind != "d":
            raise ConflictError(f"{self.name}: {path} would lie below {parent}, which is no directory")

    def entry(self, path: str) -> ManifestEntry | None:
        """What has been written at ``path`` so far."""
        return self._entries.get(path)

    def directory(self, path: str, attributes: Attributes = DEFAULT) -> None:
        """A directory; for one that is there already, ``attributes`` (unless default) replace what it had."""
        entry = self._entries.get(path)
        if entry is None:
            fs.make_directory(self._claim(path))
        elif entry.kind != "d":
            raise ConflictError(f"{self.name}: {path} is written twice, once as a directory")
        elif attributes == DEFAULT:
            return
        self._entries[path] = directory_entry(path, attributes)

    def symlink(self, path: str, target: str, attributes: Attributes = DEFAULT) -> None:
        """A symbolic link; the target is kept as it is."""
        if not target or "\0" in target:
            raise StoreError(f"{self.name}: the symlink {path} has the impossible target {target!r}")
        place = self._claim(path)
        fs.symlink(target, place)
        fs.stamp(place)
        self._entries[path] = symlink_entry(path, target, attributes)

    def expect(self, path: str, size: int, allocated: int = 0) -> None:
        """Refuse a file that says to be larger than what the disk has left, before anything of it is read or written.

        Of its bytes ``allocated`` take space on a disk already; the rest are holes, or not there yet.
        """
        if size > SMALL:
            room = os.statvfs(self._tree)
            left = room.f_bavail * room.f_frsize
            if size - allocated > left:
                raise StoreError(
                    f"{self.name}: {path} would have {size} bytes, and the disk has {left} left",
                    hint="free some disk space, for example with 'nexis-store gc', or leave the file out",
                )

    def file(
        self,
        path: str,
        data: bytes | Path | BinaryIO,
        *,
        executable: bool = False,
        attributes: Attributes = DEFAULT,
    ) -> FileDigest:
        """A regular file: from memory, copied from a path, or read from a stream to its end. Returns its digest."""
        if attributes.mode is not None:
            executable = bool(attributes.mode & 0o111)
        place = self._claim(path)
        if isinstance(data, bytes):
            digest, size = self._contents.small(place, data, executable), len(data)
        elif isinstance(data, Path):
            status = data.stat()
            self.expect(path, status.st_size, status.st_blocks * 512)
            digest, size = self._contents.from_path(place, os.fspath(data), executable)
        else:
            digest, size = self._contents.from_stream(place, data, executable)
        self._entries[path] = file_entry(path, digest, size, executable, attributes)
        return digest

    def files(self, files: Sequence[tuple[str, str, Attributes]]) -> list[int]:
        """Regular files, most of them small: (path, where it is now, attributes). Returns the mode that each has now.

        Copied by all processors. As long as every content is known nothing is written: a tree that turns out to be in
        the store costs reading it, no more.
        """
        claimed: list[tuple[str, str, int | None]] = []
        for path, source, attributes in files:
            claimed.append((self._claim(path), source, attributes.mode))
            self._entries[path] = _CLAIMED
        count = workers.processes() if len(files) >= workers.MANY else 1
        size = -(-len(claimed) // count) or 1
        parts = [claimed[at : at + size] for at in range(0, len(claimed), size)]
        modes: list[int] = []
        everything = iter(files)
        copied_parts = workers.in_processes(self._copy_part, parts)
        if len(files) >= workers.MANY and any(
            len(held) < len(found) - found.count(None) for found, held in copied_parts
        ):
            self._ahead = SyncAhead(self._host.durability)
        for part, (found, held) in zip(parts, copied_parts, strict=True):
            self._held += held
            for (place, source, forced), copied, (path, _, attributes) in zip(part, found, everything, strict=False):
                if copied is None:
                    status = os.stat(source)
                    mode, length = status.st_mode, status.st_size
                    self.expect(path, length, status.st_blocks * 512)
                    executable = bool((mode if forced is None else forced) & 0o111)
                    digest = self._contents.look_for_large(source, length, executable)
                    if digest is not None:
                        self._held.append(_Held(place, source, digest, executable, length, None))
                    else:
                        digest, length = self._contents.from_path(place, source, executable, looked=True)
                else:
                    raw, length, mode, first = copied
                    digest = FileDigest(raw)
                    executable = bool((mode if forced is None else forced) & 0o111)
                    if first:
                        self._contents.keep_first(place, digest, executable)
                self._entries[path] = file_entry(path, digest, length, executable, attributes)
                modes.append(mode)
        if len(self._held) < len(files):
            self._write_held()
        return modes

    def _copy_part(self, part: Sequence[tuple[str, str, int | None]]) -> tuple[list[_Copied | None], list[_Held]]:
        """Copy small files; ``None`` stands for one that is not small."""
        found: list[_Copied | None] = []
        held: list[_Held] = []
        holding, held_bytes = True, 0
        fresh = self._contents.fresh
        # One buffer for all: a new one for each file would cost as much as reading it.
        buffer = memoryview(bytearray(SMALL + 1))
        for place, source, forced in part:
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise fs.not_regular(source)
                mode, size = status.st_mode, status.st_size
                if size <= SMALL:
                    size = os.readv(fd, (buffer,))
            finally:
                os.close(fd)
            if size > SMALL:
                found.append(None)
                continue
            data = buffer[:size]
            executable = bool((mode if forced is None else forced) & 0o111)
            raw = blake3(data).digest()
            digest = FileDigest(raw)
            tiny = size <= TINY
            known = not tiny and (
                (digest, executable) in fresh or os.access(self._layout.link(digest, executable), os.F_OK)
            )
            if holding:
                held_bytes += size if tiny else 0
                holding = known or (tiny and held_bytes <= HOLD_BYTES)
            if holding:
                held.append(_Held(place, source, digest, executable, size, bytes(data) if tiny else None))
                first = False
            elif known:
                self._contents.put(place, digest, data, executable)
                first = fresh.get((digest, executable)) == place
            else:
                fs.write_file(place, data, 0o555 if executable else 0o444, exact=not self._fix_modes)
                first = not tiny
                if first:
                    fresh[digest, executable] = place
            found.append((raw, size, mode, first))
        return found, held

    def _write_held(self) -> None:
        """Write what was put off: there is something new in this tree."""
        held, self._held = self._held, []
        for each in held:
            if each.data is None and self._contents.known(each.place, each.digest, each.executable, each.size):
                continue
            if each.size > SMALL:
                if self._contents.from_path(each.place, each.source, each.executable, looked=True) != (
                    each.digest,
                    each.size,
                ):
                    raise StoreError(f"{self.name}: {each.source} was changed while it was added", hint="add it again")
                continue
            data = each.data if each.data is not None else fs.read_small(each.source, each.size)
            if data is None or (each.data is None and FileDigest.of(data) != each.digest):
                raise StoreError(f"{self.name}: {each.source} was changed while it was added", hint="add it again")
            self._contents.put(each.place, each.digest, data, each.executable)

    def take(self, path: str, source: str, *, executable: bool = False, attributes: Attributes = DEFAULT) -> FileDigest:
        """A regular file that the caller gives away: renamed into the store where that is possible, else copied."""
        if attributes.mode is not None:
            executable = bool(attributes.mode & 0o111)
        place = self._claim(path)
        fd = fs.open_regular(source)
        try:
            status = os.fstat(fd)
            size = status.st_size
            self.expect(path, size, status.st_blocks * 512)
            with open(fd, "rb", buffering=0, closefd=False) as stream:
                # A file with other names could still be changed through them.
                if status.st_nlink != 1:
                    digest, size = self._contents.from_stream(place, stream, executable)
                elif size <= SMALL:
                    data = stream.read()
                    digest = FileDigest(blake3(data).digest())
                    if not self._contents.known(place, digest, executable, size):
                        self._contents.move(source, place, executable)
                        if size > TINY:
                            self._contents.fresh[digest, executable] = place
                else:
                    digest = hash_large(source, self._host.stopped)
                    if not self._contents.known(place, digest, executable, size):
                        self._contents.move(source, place, executable)
                        self._contents.fresh[digest, executable] = place
        finally:
            os.close(fd)
        self._entries[path] = file_entry(path, digest, size, executable, attributes)
        return digest

    def existing(
        self,
        path: str,
        artifact: TreeDigest,
        source_path: str,
        *,
        attributes: Attributes | None = None,
    ) -> None:
        """Something an artifact of the store holds (a file, symlink or directory): linked, neither read nor hashed.

        ``attributes`` replace those it has there; ``None`` keeps them. Below a directory nothing is taken along.
        """
        entry = self._host.manifest(artifact).get(source_path)
        if entry is None:
            raise NotInStoreError(f"the artifact {artifact} has no {source_path}")
        self.adopt(path, entry, f"{self._host.path(artifact)}/{source_path}", attributes)

    def duplicate(self, path: str, earlier: str, *, attributes: Attributes | None = None) -> None:
        """The same content as a file written earlier to this artifact (a hard link in an archive)."""
        entry = self._entries.get(earlier)
        if entry is None or entry.kind != "f":
            raise StoreError(f"{self.name}: {path} is a link to {earlier}, which is no file written before")
        self._write_held()
        self.adopt(path, entry, f"{self._tree}/{earlier}", attributes)

    def place(self, path: str) -> str:
        """Where something written before lies until the commit."""
        self._write_held()
        return f"{self._tree}/{path}"

    def adopt(
        self,
        path: str,
        entry: ManifestEntry,
        source: str,
        attributes: Attributes | None = None,
        *,
        source_executable: bool | None = None,
    ) -> None:
        """An entry of another tree, whose content is at ``source`` in this store.

        ``source_executable`` says whether the file there is executable, if it is not as ``entry`` says.
        """
        attributes = entry.attributes if attributes is None else attributes
        if entry.kind == "d":
            self.directory(path, attributes)
        elif entry.kind == "l":
            self.symlink(path, entry.target or "", attributes)
        else:
            assert entry.digest is not None
            executable = entry.executable if attributes.mode is None else bool(attributes.mode & 0o111)
            there = entry.executable if source_executable is None else source_executable
            place = self._claim(path)
            mode = 0o555 if executable else 0o444
            if not is_intact(source, entry.digest, entry.size, there):
                raise DamagedStoreError(
                    f"{source} is damaged",
                    hint="'nexis-store verify --contents --repair' replaces what has a good copy",
                )
            if executable != there:
                self._contents.copy(source, place, mode)
            else:
                try:
                    fs.link(source, place)
                except OSError as error:
                    if error.errno != errno.EMLINK:
                        raise
                    self._contents.copy(source, place, mode)
            self._entries[path] = file_entry(path, entry.digest, entry.size, executable, attributes)

    def remove(self, path: str) -> None:
        """Take back a file or symlink written before (a later member of an archive replaces an earlier one)."""
        entry = self._entries.get(path)
        if entry is None or entry.kind == "d":
            raise StoreError(f"{self.name}: {path} is no file or symlink written before")
        self._write_held()
        if entry.digest is not None:
            place = self._contents.fresh.get((entry.digest, entry.executable))
            if place == f"{self._tree}/{path}":
                del self._contents.fresh[entry.digest, entry.executable]
        fs.unlink(f"{self._tree}/{path}")
        del self._entries[path]

    def commit(self, references: Iterable[TreeDigest] = ()) -> Artifact:
        """Make the tree durable and visible; returns its address. The same tree twice is one artifact."""
        assert self._staging is not None, "commit belongs inside the writer's block, once"
        manifest = Manifest.of(self._entries.values())
        wanted = tuple(dict.fromkeys(references))
        digest = manifest.digest
        host = self._host
        if host.session.protect(digest):
            # A collection that has not seen the new temporary root must be over before we look what is there.
            host.database.pass_by()
        added_ns = time.time_ns()
        if self._must_stage(manifest):
            self._stage(manifest, wanted, added_ns)
        artifact = publish(host, manifest, self.name, wanted, self._staging, added_ns, mend=self._mends)
        self._contents.offer(artifact.path)
        return artifact

    def _must_stage(self, manifest: Manifest) -> bool:
        """Whether the tree must be written: it is not in the store, or what is there of it is damaged."""
        stored = self._host.database.get(ARTIFACT + manifest.digest)
        if stored is None:
            return True
        self._mends = not is_whole(self._layout, manifest.digest, ArtifactRecord.decode(stored).name, manifest)
        return self._mends

    def _stage(self, manifest: Manifest, wanted: tuple[TreeDigest, ...], added_ns: int) -> None:
        """Bring everything that publishing needs to the disk."""
        assert self._staging is not None
        self._write_held()
        tree = self._tree
        directories = [f"{tree}/{path}" for path, entry in self._entries.items() if entry.kind == "d"]
        directories.sort(reverse=True)
        for directory in directories:
            if self._fix_modes:
                fs.finish_path(directory, 0o755)
            else:
                fs.stamp(directory)
        fs.finish_path(tree, 0o755)
        description = f"{self._staging}/description"
        goal = f"{self._staging}/goal"
        fs.write_file(description, encode_sidecar(self.name, wanted, manifest, added_ns), 0o444)
        fs.write_file(goal, encode(self._layout.relative_artifact(manifest.digest, self.name)), 0o444)
        self._contents.prepare_offer()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.wait()
        self._host.durability.sync()
