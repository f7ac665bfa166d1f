"""The one way into the store: a tree is staged, hashed while it is written, made durable, then shown by one rename."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from blake3 import blake3

from nexis_store import fs, workers
from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.durability import SyncAhead
from nexis_store.errors import ConflictError, NotInStoreError, StoreError, cannot_write, writing
from nexis_store.hashing import hash_large
from nexis_store.names import check_component, check_name, check_path, encode
from nexis_store.publish import Artifact, Host, publish
from nexis_store.records import ARTIFACT, LARGE, SMALL, pack_number
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

TINY = 1 << 10
"""Files of at most so many bytes are not shared with other artifacts: ``docs/decisions/store-sharing.md``."""

CHUNK = 1 << 22

MANY = 2000
"""So many small files are worth the helpers that copy some of them."""

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
        self._fresh: dict[tuple[FileDigest, bool], str] = {}
        self._held: list[_Held] = []
        self._ahead: SyncAhead | None = None
        self._staging: str | None = None
        self._tree = ""
        self._fix_modes = False

    def __enter__(self) -> Writer:
        with writing(self.name):
            self._staging = self._host.session.new_staging()
            self._tree = f"{self._staging}/tree"
            fs.make_directory(self._tree)
        self._fix_modes = os.stat(self._tree).st_mode & 0o777 != 0o755
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
            raise cannot_write(error, self.name) from error

    def _claim(self, path: str) -> str:
        """Check a new path and make its parents; returns where it goes on disk."""
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
            digest, size = self._small(place, data, executable), len(data)
        elif isinstance(data, Path):
            digest, size = self._from_path(place, os.fspath(data), executable)
        else:
            digest, size = self._from(place, data, executable)
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
        count = workers.processes() if len(files) >= MANY else 1
        size = -(-len(claimed) // count) or 1
        parts = [claimed[at : at + size] for at in range(0, len(claimed), size)]
        modes: list[int] = []
        everything = iter(files)
        copied_parts = workers.in_processes(self._copy_part, parts)
        if len(files) >= MANY and any(len(held) < len(found) - found.count(None) for found, held in copied_parts):
            self._ahead = SyncAhead(self._host.durability)
        for part, (found, held) in zip(parts, copied_parts, strict=True):
            self._held += held
            for (place, source, forced), copied, (path, _, attributes) in zip(part, found, everything, strict=False):
                if copied is None:
                    status = os.stat(source)
                    mode, length = status.st_mode, status.st_size
                    executable = bool((mode if forced is None else forced) & 0o111)
                    digest = self._look_for_large(source, length, executable)
                    if digest is not None:
                        self._held.append(_Held(place, source, digest, executable, length, None))
                    else:
                        digest, length = self._from_path(place, source, executable, looked=True)
                else:
                    raw, length, mode, first = copied
                    digest = FileDigest(raw)
                    executable = bool((mode if forced is None else forced) & 0o111)
                    if first:
                        self._keep_first(place, digest, executable)
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
        fresh = self._fresh
        for place, source, forced in part:
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                status = os.fstat(fd)
                size, mode = status.st_size, status.st_mode
                data = os.read(fd, size + 1) if size <= SMALL else b""
            finally:
                os.close(fd)
            if len(data) != size:
                found.append(None)
                continue
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
                held.append(_Held(place, source, digest, executable, size, data if tiny else None))
                first = False
            elif known:
                self._put(place, digest, data, executable)
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
            if each.data is None and self._known(each.place, each.digest, each.executable, each.size):
                continue
            if each.size > SMALL:
                if self._from_path(each.place, each.source, each.executable, looked=True) != (each.digest, each.size):
                    raise StoreError(f"{self.name}: {each.source} was changed while it was added", hint="add it again")
                continue
            data = each.data if each.data is not None else fs.read_small(each.source, each.size)
            if data is None or (each.data is None and FileDigest.of(data) != each.digest):
                raise StoreError(f"{self.name}: {each.source} was changed while it was added", hint="add it again")
            self._put(each.place, each.digest, data, each.executable)

    def _keep_first(self, place: str, digest: FileDigest, executable: bool) -> None:
        """Let files with one content that two helpers have written be one file."""
        first = self._fresh.setdefault((digest, executable), place)
        if first != place:
            spare = f"{self._staging}/spare"
            try:
                fs.link(first, spare)
            except OSError as error:
                if error.errno != errno.EMLINK:
                    raise
            else:
                fs.rename(spare, place)

    def take(self, path: str, source: str, *, executable: bool = False, attributes: Attributes = DEFAULT) -> FileDigest:
        """A regular file that the caller gives away: renamed into the store where that is possible, else copied."""
        if attributes.mode is not None:
            executable = bool(attributes.mode & 0o111)
        place = self._claim(path)
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            status = os.fstat(fd)
            size = status.st_size
            with open(fd, "rb", buffering=0, closefd=False) as stream:
                # A file with other names could still be changed through them.
                if status.st_nlink != 1:
                    digest, size = self._from(place, stream, executable)
                elif size <= SMALL:
                    data = stream.read()
                    digest = FileDigest(blake3(data).digest())
                    if not self._known(place, digest, executable, size):
                        self._move(source, place, executable)
                        if size > TINY:
                            self._fresh[digest, executable] = place
                else:
                    digest = hash_large(source)
                    if not self._known(place, digest, executable, size):
                        self._move(source, place, executable)
                        self._fresh[digest, executable] = place
        finally:
            os.close(fd)
        self._entries[path] = file_entry(path, digest, size, executable, attributes)
        return digest

    def _move(self, source: str, place: str, executable: bool) -> None:
        mode = 0o555 if executable else 0o444
        try:
            fs.rename(source, place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(source, place, mode)
        else:
            fs.finish_path(place, mode)

    def _copy(self, source: str, place: str, mode: int) -> None:
        """A file of its own with the bytes of another: shared blocks where the file system can, else a copy."""
        with open(source, "rb", buffering=0) as stream:
            fd = fs.create(place)
            try:
                fs.copy(stream.fileno(), fd, place)
                fs.finish(fd, mode, place)
            finally:
                os.close(fd)

    def _look_for_large(self, source: str, size: int, executable: bool) -> FileDigest | None:
        """The digest of a large file if the store has it already; reading it is much cheaper than writing it again."""
        if size <= SMALL or self._host.database.get(LARGE + pack_number(size)) is None:
            return None
        digest = hash_large(source)
        return digest if os.access(self._layout.link(digest, executable), os.F_OK) else None

    def _from_path(self, place: str, source: str, executable: bool, *, looked: bool = False) -> tuple[FileDigest, int]:
        with open(source, "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size <= SMALL:
                return self._from(place, stream, executable)
            known = None if looked else self._look_for_large(source, size, executable)
            if known is not None and self._known(place, known, executable, size):
                return known, size
            fd = fs.create(place)
            try:
                fs.copy(stream.fileno(), fd, place)
                fs.finish(fd, 0o555 if executable else 0o444, place)
            finally:
                os.close(fd)
        # What is hashed is what was written (still in memory), so a source that changes meanwhile does no harm.
        digest = hash_large(place)
        size = os.stat(place).st_size
        self._keep_one(place, digest, executable, size)
        return digest, size

    def _keep_one(self, place: str, digest: FileDigest, executable: bool, size: int) -> None:
        """Replace a file just written by a copy that was there before, if there is one."""
        spare = f"{self._staging}/spare"
        if self._known(spare, digest, executable, size):
            fs.rename(spare, place)
        else:
            self._fresh[digest, executable] = place

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
            if executable != there:
                self._copy(source, place, mode)
            else:
                try:
                    fs.link(source, place)
                except OSError as error:
                    if error.errno != errno.EMLINK:
                        raise
                    self._copy(source, place, mode)
            self._entries[path] = file_entry(path, entry.digest, entry.size, executable, attributes)

    def remove(self, path: str) -> None:
        """Take back a file or symlink written before (a later member of an archive replaces an earlier one)."""
        entry = self._entries.get(path)
        if entry is None or entry.kind == "d":
            raise StoreError(f"{self.name}: {path} is no file or symlink written before")
        self._write_held()
        if entry.digest is not None:
            place = self._fresh.get((entry.digest, entry.executable))
            if place == f"{self._tree}/{path}":
                del self._fresh[entry.digest, entry.executable]
        fs.unlink(f"{self._tree}/{path}")
        del self._entries[path]

    def _small(self, place: str, data: bytes, executable: bool) -> FileDigest:
        digest = FileDigest(blake3(data).digest())
        self._put(place, digest, data, executable)
        return digest

    def _put(self, place: str, digest: FileDigest, data: bytes, executable: bool) -> None:
        if not self._known(place, digest, executable, len(data)):
            fs.write_file(place, data, 0o555 if executable else 0o444, exact=not self._fix_modes)
            if len(data) > TINY:
                self._fresh[digest, executable] = place

    def _from(self, place: str, stream: BinaryIO, executable: bool) -> tuple[FileDigest, int]:
        """Read a stream to its end and place its bytes."""
        head = stream.read(SMALL + 1) or b""
        while len(head) <= SMALL and (more := stream.read(SMALL + 1 - len(head))):
            head += more
        if len(head) <= SMALL:
            return self._small(place, head, executable), len(head)
        hasher = blake3(head, max_threads=blake3.AUTO)
        size = len(head)
        fd = fs.create(place)
        try:
            fs.write(fd, head, place)
            while chunk := stream.read(CHUNK):
                hasher.update(chunk)
                fs.write(fd, chunk, place)
                size += len(chunk)
            fs.finish(fd, 0o555 if executable else 0o444, place)
        finally:
            os.close(fd)
        digest = FileDigest(hasher.digest())
        self._keep_one(place, digest, executable, size)
        return digest, size

    def _known(self, place: str, digest: FileDigest, executable: bool, size: int) -> bool:
        """Link ``place`` to a copy of the content that is there already, if there is one."""
        if size <= TINY:
            return False
        source = self._fresh.get((digest, executable))
        if source is None:
            source = self._layout.link(digest, executable)
            # Asking is cheaper than a link that fails.
            if not os.access(source, os.F_OK):
                return False
        try:
            fs.link(source, place)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            # The inode has as many names as the file system allows: a new copy takes over.
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(self._layout.link(digest, executable))
            return False
        if os.stat(place).st_size != size:
            # Cut by a power failure before it was ever part of an artifact: never serve it.
            fs.unlink(place)
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(source)
            return False
        return True

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
        if host.database.get(ARTIFACT + digest) is None:
            self._stage(manifest, wanted, added_ns)
        artifact = publish(host, manifest, self.name, wanted, self._staging, added_ns)
        fresh, self._fresh = self._fresh, {}
        self._share(fresh, artifact.path)
        return artifact

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
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.wait()
        self._host.durability.sync()

    def _share(self, fresh: dict[tuple[FileDigest, bool], str], tree: Path) -> None:
        """Offer new contents to later artifacts. Only now, when they are durable: see ``docs/store.md``."""
        skip = len(self._tree)
        prefix = os.fspath(tree)
        wanted = [
            (prefix + place[skip:], self._layout.link(digest, executable))
            for (digest, executable), place in fresh.items()
        ]
        helpers = workers.processes() if len(wanted) >= MANY else 1
        if helpers > 1:
            # Those that share a directory go to one helper.
            wanted.sort(key=itemgetter(1))
        size = -(-len(wanted) // helpers) or 1
        workers.in_processes(_link_all, [wanted[at : at + size] for at in range(0, len(wanted), size)])


def _link_all(wanted: Sequence[tuple[str, str]]) -> None:
    for source, pool in wanted:
        try:
            try:
                fs.link(source, pool)
            except FileNotFoundError:
                fs.make_directories(os.path.dirname(pool))
                fs.link(source, pool)
        except (FileExistsError, FileNotFoundError):
            # Somebody else was first, or the artifact was there already, or has just been collected.
            continue
