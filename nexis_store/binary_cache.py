"""A binary cache on disk (``docs/formats/cache.md``) as a source of good copies; all is proved."""

from __future__ import annotations

from pathlib import Path

from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.errors import NotInStoreError
from nexis_store.tree import Manifest

INDEX = "nexis-cache.json"


class BinaryCache:
    """The files and listings in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _read(self, table: str, name: str) -> bytes | None:
        import zstandard

        try:
            data = (self._directory / table / name[:2] / f"{name}.zst").read_bytes()
            return zstandard.ZstdDecompressor().decompress(data)
        except (OSError, zstandard.ZstdError):
            return None

    def content(self, digest: FileDigest) -> bytes | None:
        """The bytes of a file, if the cache has them undamaged."""
        data = self._read("files", str(digest))
        return data if data is not None and FileDigest.of(data) == digest else None

    def manifest(self, digest: TreeDigest) -> Manifest:
        """The listing of a tree; raises ``NotInStoreError``, ``DamagedStoreError``."""
        data = self._read("manifests", str(digest))
        if data is None:
            raise NotInStoreError(f"the cache {self._directory} has no {digest}")
        return Manifest.decode(data, digest)
