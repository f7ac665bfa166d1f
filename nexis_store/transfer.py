"""A closure as one stream, to carry it to another store: written and read in one pass, verified while it is read.

Format: the magic, then one zstd frame. In it, for each artifact, those it refers to first: u64 length of the
description, the tree digest, the description, then the bytes of each file whose content did not come earlier in the
stream, in the manifest's order. A length of zero ends it. The descriptions say all sizes and digests, so nothing else
is needed. Integers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO, cast

from blake3 import blake3

from nexis_store.digest import DIGEST_SIZE, FileDigest, TreeDigest
from nexis_store.errors import DamagedStoreError, StoreError
from nexis_store.fs import open_regular
from nexis_store.ingest import Writer
from nexis_store.publish import Artifact, Host, read_sidecar
from nexis_store.sidecar import Sidecar, decode_sidecar

if TYPE_CHECKING:
    from nexis_store.store import Store

MAGIC = b"nexis closure\x01"
_LENGTH = struct.Struct(">Q")
_CHUNK = 1 << 20
_LARGEST_DESCRIPTION = 1 << 29


def export(store: Store, digests: Iterable[TreeDigest], out: BinaryIO, *, level: int = 3) -> int:
    """Write the closure of ``digests``; returns the number of artifacts.

    Raises ``DamagedStoreError`` for a file that is not what its digest says; what was written by then has no end, so
    nobody can import it.
    """
    import zstandard

    order = sorted_for_import(store, digests)
    out.write(MAGIC)
    sent: set[FileDigest] = set()
    with zstandard.ZstdCompressor(level=level, write_checksum=True).stream_writer(out, closefd=False) as stream:
        for digest in order:
            if not store.database.readonly:
                store.temporary_root(digest)
            description = read_sidecar(store.layout, digest)
            stream.write(_LENGTH.pack(len(description)) + digest + description)
            place = store.path(digest)
            for entry in store.manifest(digest).entries():
                if entry.digest is None or entry.digest in sent:
                    continue
                sent.add(entry.digest)
                hasher = blake3()
                try:
                    fd = open_regular(f"{place}/{entry.path}")
                except OSError as error:
                    raise _damaged(f"{place}/{entry.path}", error.strerror) from error
                with open(fd, "rb", buffering=0) as file:
                    left = entry.size
                    while left and (chunk := file.read(min(left, _CHUNK))):
                        hasher.update(chunk)
                        stream.write(chunk)
                        left -= len(chunk)
                if hasher.digest() != entry.digest:
                    raise _damaged(f"{place}/{entry.path}")
        stream.write(_LENGTH.pack(0))
    return len(order)


def _damaged(path: str, reason: str | None = None) -> DamagedStoreError:
    why = f": {reason}" if reason else ""
    return DamagedStoreError(f"{path} is damaged{why}", hint="run 'nexis-store verify --contents --repair'")


def sorted_for_import(store: Store, digests: Iterable[TreeDigest]) -> list[TreeDigest]:
    """The closure, each artifact behind those it refers to."""
    done: dict[TreeDigest, None] = {}
    for start in digests:
        pending: list[tuple[TreeDigest, bool]] = [(start, False)]
        opened: set[TreeDigest] = set()
        while pending:
            digest, ready = pending.pop()
            if digest in done or (digest in opened and not ready):
                continue
            if ready:
                done[digest] = None
                continue
            opened.add(digest)
            pending.append((digest, True))
            pending.extend((each, False) for each in store.references(digest))
    return list(done)


class _Exactly:
    """The next bytes of a stream, of which there must be as many as asked for."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def take(self, size: int) -> bytes:
        parts = []
        while size and (part := self._stream.read(min(size, _CHUNK))):
            parts.append(part)
            size -= len(part)
        if size:
            raise DamagedStoreError("the archive is cut short", hint="export it again")
        return b"".join(parts)


class _File:
    """One file's bytes inside the stream."""

    def __init__(self, source: _Exactly, size: int) -> None:
        self._source = source
        self._left = size

    def read(self, size: int = -1) -> bytes:
        size = self._left if size < 0 else min(size, self._left, _CHUNK)
        self._left -= size
        return self._source.take(size)


def load(host: Host, stream: BinaryIO) -> list[Artifact]:
    """Read an exported closure into the store; returns its artifacts. Every byte is verified before it can be seen.

    Raises ``DamagedStoreError`` if anything is not what its digest says; what came before stays, as garbage.
    """
    import zstandard

    magic = stream.read(len(MAGIC))
    if magic[:-1] == MAGIC[:-1] and magic[-1] > MAGIC[-1]:
        raise StoreError(
            f"the archive has version {magic[-1]}, this program knows {MAGIC[-1]}",
            hint="import it with the program that wrote it, or a newer one",
        )
    if magic != MAGIC:
        raise StoreError("this is no archive of 'nexis-store export'", hint="check which file you gave")
    with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(stream, closefd=False) as plain:
        source = _Exactly(cast(BinaryIO, plain))
        arrived: dict[FileDigest, tuple[TreeDigest, str]] = {}
        found: list[Artifact] = []
        try:
            while length := _LENGTH.unpack(source.take(_LENGTH.size))[0]:
                if length > _LARGEST_DESCRIPTION:
                    raise DamagedStoreError("the archive is damaged", hint="export it again")
                digest = TreeDigest(source.take(DIGEST_SIZE))
                found.append(_load_one(host, source, decode_sidecar(source.take(length), digest), arrived))
        except zstandard.ZstdError as error:
            raise DamagedStoreError(f"the archive is damaged: {error}", hint="export it again") from None
    return found


def _load_one(
    host: Host, source: _Exactly, sidecar: Sidecar, arrived: dict[FileDigest, tuple[TreeDigest, str]]
) -> Artifact:
    manifest = sidecar.manifest
    with Writer(host, sidecar.name) as writer:
        here: dict[FileDigest, str] = {}
        for entry in manifest.entries():
            if entry.kind == "d":
                writer.directory(entry.path, entry.attributes)
            elif entry.kind == "l":
                writer.symlink(entry.path, entry.target or "", entry.attributes)
            else:
                assert entry.digest is not None
                if entry.digest in here:
                    path = here[entry.digest]
                    earlier = writer.entry(path)
                    assert earlier is not None
                    writer.adopt(entry.path, entry, writer.place(path), source_executable=earlier.executable)
                elif entry.digest in arrived:
                    tree, path = arrived[entry.digest]
                    earlier = host.manifest(tree).get(path)
                    assert earlier is not None
                    place = f"{host.path(tree)}/{path}"
                    writer.adopt(entry.path, entry, place, source_executable=earlier.executable)
                else:
                    writer.expect(entry.path, entry.size)
                    data = cast(BinaryIO, _File(source, entry.size))
                    got = writer.file(entry.path, data, executable=entry.executable, attributes=entry.attributes)
                    if got != entry.digest:
                        raise DamagedStoreError(
                            f"{entry.path} of {sidecar.name} is not what the archive says", hint="export it again"
                        )
                if entry.digest not in here:
                    here[entry.digest] = entry.path
        artifact = writer.commit(sidecar.references)
    if artifact.digest != manifest.digest:
        raise DamagedStoreError(f"{sidecar.name} came out as another tree than the archive says")
    for content, path in here.items():
        arrived.setdefault(content, (artifact.digest, path))
    return artifact


__all__ = ["MAGIC", "export", "load", "sorted_for_import"]
