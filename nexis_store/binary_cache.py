"""A binary cache on disk (``docs/formats/cache.md``) as a source of good copies; all is proved."""

from __future__ import annotations

from pathlib import Path

from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.errors import NotInStoreError
from nexis_store.tree import Manifest

INDEX = "nexis-cache.json"

LARGEST_MANIFEST = 1 << 29

_CHUNK = 1 << 20


def expand(data: bytes, limit: int) -> bytes | None:
    """Decompress ``data`` (zstd); ``None`` if it is damaged or makes more than ``limit`` bytes.

    What the data say about their size is not believed: the library would allocate as much at once.
    """
    import zstandard

    parts: list[bytes] = []
    left = limit
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as reader:
            while part := reader.read(min(left + 1, _CHUNK)):
                left -= len(part)
                if left < 0:
                    return None
                parts.append(part)
    except zstandard.ZstdError:
        return None
    return b"".join(parts)


class BinaryCache:
    """The files and listings in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _read(self, table: str, name: str, limit: int) -> bytes | None:
        path = self._directory / table / name[:2] / f"{name}.zst"
        try:
            # A file of so many bytes never takes more than this: zstd stores what does not become smaller.
            if not path.is_file() or path.stat().st_size > limit + limit // 64 + 4096:
                return None
            return expand(path.read_bytes(), limit)
        except OSError:
            return None

    def content(self, digest: FileDigest, size: int) -> bytes | None:
        """The bytes of a file, of which there must be ``size``, if the cache has them undamaged."""
        data = self._read("files", str(digest), size)
        return data if data is not None and FileDigest.of(data) == digest else None

    def manifest(self, digest: TreeDigest) -> Manifest:
        """The listing of a tree; raises ``NotInStoreError``, ``DamagedStoreError``."""
        data = self._read("manifests", str(digest), LARGEST_MANIFEST)
        if data is None:
            raise NotInStoreError(f"the cache {self._directory} has no {digest}")
        return Manifest.decode(data, digest)
