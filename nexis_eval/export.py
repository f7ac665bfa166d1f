"""Copies a finished tree out of the store, to where a person wants it, and puts into the copies what no store holds."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.store import Store
from nexis_store.tree import ManifestEntry

if TYPE_CHECKING:
    from nexis_eval.image.secrets import Filling

CHUNK_BYTES = 1 << 20


def export_tree(store: Store, tree: TreeDigest, directory: Path, secrets: Filling | None = None) -> list[Path]:
    """Copy ``tree`` into ``directory``; returns the files that were written. What is there already is left alone.

    Each file appears by one rename, so that a reader (a running QEMU) never sees half of it. Files that are not part
    of the tree are not touched. With ``secrets``, these come into the places that the files have for them, and only
    their owner may read the files: all of them, since a disk gets them from the system that runs on it.
    """
    source = store.path(tree)
    written: list[Path] = []
    directory.mkdir(parents=True, exist_ok=True)
    for entry in store.manifest(tree).entries():
        path = directory / entry.path
        if entry.kind == "d":
            path.mkdir(parents=True, exist_ok=True)
            continue
        temporary = path.with_name(f".{path.name}.new")
        if entry.kind == "l":
            assert entry.target is not None
            if path.is_symlink() and str(path.readlink()) == entry.target:
                continue
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(entry.target)
        else:
            mode = (0o755 if entry.executable else 0o644) & (0o777 if secrets is None else 0o700)
            places = [] if secrets is None else [*_places(source / entry.path, secrets)]
            if _is_same(path, source / entry.path, entry, secrets, places):
                if secrets is not None and path.stat().st_mode & 0o077:
                    path.chmod(mode)
                continue
            temporary.unlink(missing_ok=True)
            with (source / entry.path).open("rb") as data, open(temporary, "xb", opener=_private) as out:
                shutil.copyfileobj(data, out, CHUNK_BYTES)
                for place in places:
                    assert secrets is not None
                    out.seek(place)
                    out.write(secrets.content)
            temporary.chmod(mode)
        temporary.replace(path)
        written.append(path)
    return written


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _places(path: Path, secrets: Filling) -> Iterator[int]:
    """Where a file of the store has a place for secrets, as offsets in bytes."""
    place = secrets.place
    with path.open("rb") as file:
        start, data = 0, file.read(CHUNK_BYTES)
        while len(data) >= len(place):
            found = data.find(place)
            while found >= 0:
                yield start + found
                found = data.find(place, found + len(place))
            keep = len(place) - 1
            start += len(data) - keep
            more = file.read(CHUNK_BYTES)
            data = data[-keep:] + more if more else b""


def _is_same(path: Path, source: Path, entry: ManifestEntry, secrets: Filling | None, places: Sequence[int]) -> bool:
    """Whether ``path`` is ``source`` already, with ``secrets`` in its ``places``."""
    from blake3 import blake3

    if not path.is_file() or path.is_symlink() or path.stat().st_size != entry.size:
        return False
    if not entry.size:
        return True
    expected = entry.digest
    if places:
        assert secrets is not None
        filled, at = blake3(max_threads=blake3.AUTO), 0
        with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for place in places:
                filled.update(data[at:place])
                filled.update(secrets.content)
                at = place + len(secrets.content)
            filled.update(data[at:])
        expected = FileDigest(filled.digest())
    return bytes(blake3(max_threads=blake3.AUTO).update_mmap(path).digest()) == expected
