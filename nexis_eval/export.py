"""Copies a finished tree out of the store, to where a person wants it."""

from __future__ import annotations

import shutil
from pathlib import Path

from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.store import Store

CHUNK_BYTES = 1 << 20


def _is_same(path: Path, size: int, digest: FileDigest) -> bool:
    from blake3 import blake3

    if not path.is_file() or path.is_symlink() or path.stat().st_size != size:
        return False
    return bytes(blake3(max_threads=blake3.AUTO).update_mmap(path).digest()) == digest if size else True


def export_tree(store: Store, tree: TreeDigest, directory: Path) -> list[Path]:
    """Copy ``tree`` into ``directory``; returns the files that were written. What is there already is left alone.

    Each file appears by one rename, so that a reader (a running QEMU) never sees half of it. Files that are not part
    of the tree are not touched.
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
            assert entry.digest is not None
            if _is_same(path, entry.size, entry.digest):
                continue
            with (source / entry.path).open("rb") as data, temporary.open("wb") as out:
                shutil.copyfileobj(data, out, CHUNK_BYTES)
            temporary.chmod(0o755 if entry.executable else 0o644)
        temporary.replace(path)
        written.append(path)
    return written
