"""A binary cache as files behind names (``docs/formats/cache.md``): what it holds, and how it is written and read.

A directory that any web server can serve. What a build key came out as is a claim of whoever published it; manifests
and contents are proved by the digests that they are asked for by.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self
from urllib.parse import urljoin

from nexis_eval.graph.derivation import Script
from nexis_eval.repro.record import BuildRecord
from nexis_store.binary_cache import INDEX
from nexis_store.digest import BuildKey, FileDigest, TreeDigest
from nexis_store.errors import DamagedStoreError, NexisError
from nexis_store.store import Store
from nexis_store.tree import Manifest

if TYPE_CHECKING:
    import httpx

FORMAT = "nexis cache 1"
MAX_METADATA_BYTES = 256 << 20
MAX_FILE_BYTES = 2 << 30


class CacheError(NexisError):
    """A binary cache cannot be read, is none, or gives something else than what it was asked for.

    ``nexis-eval repro record --cache DIR`` makes a cache, and any web server can serve it. All but its claims (what a
    build key gave) is verified by hash, so a file that was damaged or replaced is told here.
    """

    code = "R0007"
    exit_code = 2


def realisation_path(key: BuildKey) -> str:
    """Where a cache says what a build key came out as."""
    return f"realisations/{str(key)[:2]}/{key}.json"


def manifest_path(digest: TreeDigest) -> str:
    """Where a cache keeps the listing of a tree."""
    return f"manifests/{str(digest)[:2]}/{digest}.zst"


def file_path(digest: FileDigest) -> str:
    """Where a cache keeps the content of a file."""
    return f"files/{str(digest)[:2]}/{digest}.zst"


def publish(record: BuildRecord, store: Store, directory: Path) -> int:
    """Add what ``record`` tells to the cache in ``directory``, which is made if need be; returns the files written.

    Listings and contents come for what scripts built; everything else anybody makes from these and the sources. What
    names something is written after it, so that a cache is whole while somebody reads it.
    """
    written = 0
    for each, step in record.steps.items():
        derivation = record.graph.derivations[each]
        if isinstance(derivation.builder, Script):
            for digest in step.outputs.values():
                written += _publish_tree(store, digest, directory)
    for each, step in record.steps.items():
        value = {
            "key": str(step.key),
            "derivation": str(each),
            "name": record.graph.derivations[each].label,
            "platform": record.graph.derivations[each].platform,
            "outputs": {name: str(digest) for name, digest in sorted(step.outputs.items())},
        }
        text = json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n"
        written += _write(directory / realisation_path(step.key), text.encode(), replace=True)
    return written + _write(directory / INDEX, f"{json.dumps({'format': FORMAT})}\n".encode())


def _publish_tree(store: Store, digest: TreeDigest, directory: Path) -> int:
    import zstandard

    place = directory / manifest_path(digest)
    if place.exists():
        return 0
    written = 0
    manifest, root = store.manifest(digest), store.path(digest)
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    for entry in manifest.entries():
        if entry.digest is not None:
            path = directory / file_path(entry.digest)
            if not path.exists():
                with (root / entry.path).open("rb") as source, _new(path) as out:
                    compressor.copy_stream(source, out, size=entry.size)
                written += 1
    return written + _write(place, compressor.compress(manifest.encode()))


def _write(path: Path, data: bytes, *, replace: bool = False) -> int:
    if path.exists() and (not replace or path.read_bytes() == data):
        return 0
    with _new(path) as out:
        out.write(data)
    return 1


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """A file that has its name once it is complete, and is not there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as out:
            yield out
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Shelf(Protocol):
    """Bytes behind names, wherever they are."""

    def get(self, path: str, limit: int) -> bytes | None:
        """What is called ``path``, ``None`` if there is nothing; raises ``CacheError`` beyond ``limit`` bytes."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True)
class DirectoryShelf:
    """A cache on this machine's disk."""

    root: Path

    def get(self, path: str, limit: int) -> bytes | None:
        """The file's bytes."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CacheError(f"{self.root / path} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class HttpShelf:
    """A cache behind a web server."""

    url: str
    client: httpx.Client

    @classmethod
    def open(cls, url: str) -> Self:
        """Connect when first asked."""
        from nexis_eval.fetch.client import new_blocking_client, refuse_secrets

        return cls(refuse_secrets(url).rstrip("/") + "/", new_blocking_client())

    def get(self, path: str, limit: int) -> bytes | None:
        """The body of the answer; ``None`` if the server has no such file."""
        import httpx

        from nexis_eval.fetch.client import shown

        address = urljoin(self.url, path) if path else self.url.rstrip("/")
        try:
            with self.client.stream("GET", address) as answer:
                if answer.status_code in (404, 410):
                    return None
                if answer.status_code != 200:
                    raise CacheError(f"{shown(address)}: the server answers {answer.status_code}")
                body = bytearray()
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > limit:
                        raise CacheError(f"{shown(address)} is larger than {limit} bytes")
                return bytes(body)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise CacheError(f"{shown(address)} cannot be read: {why}", hint="is the address right?") from error

    def close(self) -> None:
        """End the connections."""
        self.client.close()


@dataclass
class Cache:
    """A binary cache to compare with. ``directory`` takes the files that are fetched from it."""

    name: str
    shelf: Shelf
    directory: Path
    _manifests: dict[TreeDigest, Manifest | None] = field(default_factory=dict)

    def is_cache(self) -> bool:
        """Whether there is a cache of this format; raises ``CacheError`` for one of another version."""
        data = self.shelf.get(INDEX, MAX_METADATA_BYTES)
        if data is None:
            return False
        try:
            found = json.loads(data)["format"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        if found != FORMAT:
            raise CacheError(f"{self.name} is a '{found}', this program knows '{FORMAT}'", hint="use a newer program")
        return True

    def outputs(self, key: BuildKey) -> Mapping[str, TreeDigest] | None:
        """What the cache's publisher got from ``key``; ``None`` if it was not built there."""
        path = realisation_path(key)
        data = self.shelf.get(path, MAX_METADATA_BYTES)
        if data is None:
            return None
        try:
            value = json.loads(data)
            if value["key"] != str(key):
                raise ValueError("it is about another key")
            return {name: TreeDigest.parse(digest) for name, digest in value["outputs"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CacheError(f"{self.name}: {path} is damaged: {error}", hint="publish it again") from None

    def manifest(self, digest: TreeDigest) -> Manifest | None:
        """The listing of a tree, proved by its digest."""
        if digest not in self._manifests:
            data = self._unpacked(manifest_path(digest), MAX_METADATA_BYTES)
            try:
                self._manifests[digest] = None if data is None else Manifest.decode(data, digest)
            except (DamagedStoreError, ValueError) as error:
                raise CacheError(f"{self.name}: {manifest_path(digest)} is damaged: {error}") from None
        return self._manifests[digest]

    def file(self, digest: FileDigest) -> Path | None:
        """A file's content on this machine's disk, proved by its digest."""
        place = self.directory / str(digest)
        if not place.exists():
            data = self._unpacked(file_path(digest), MAX_FILE_BYTES)
            if data is None:
                return None
            if FileDigest.of(data) != digest:
                raise CacheError(f"{self.name}: {file_path(digest)} holds something else than its name says")
            place.write_bytes(data)
        return place

    def _unpacked(self, path: str, limit: int) -> bytes | None:
        import zstandard

        data = self.shelf.get(path, limit)
        if data is None:
            return None
        try:
            if zstandard.frame_content_size(data) > limit:
                raise CacheError(f"{self.name}: {path} is larger than {limit} bytes")
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=limit)
        except zstandard.ZstdError as error:
            raise CacheError(f"{self.name}: {path} is damaged: {error}") from None
