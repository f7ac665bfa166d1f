"""Replacing a store's database: by one rebuilt from disk, or by one of the other backend.

The new database is complete before the old one goes, and the format file says which one counts. Programs that have the
store open meanwhile notice at their next change and stop.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

from nexis_store import fs, repair
from nexis_store.database import APPLIED, Database
from nexis_store.errors import StoreError
from nexis_store.history import remembered, rewrite, settle
from nexis_store.journal import create_segment, segment_path, segments
from nexis_store.layout import FORMAT_VERSION, Layout
from nexis_store.locks import locked
from nexis_store.metadata.choose import backend_for, open_backend
from nexis_store.repair import Recovery

BACKENDS = ("lmdb", "rocksdb")


def backend_of(layout: Layout) -> str:
    """The backend that the format file names, or what ``auto`` would take if it is damaged or gone."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        name = json.loads(fs.read_whole(layout.format_file))["backend"]
        if name in BACKENDS:
            return str(name)
    return backend_for(layout.root, "auto")


def recover(layout: Layout) -> Recovery:
    """Rebuild the database from descriptions, roots, history and journal, without looking at the old one."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        version = json.loads(fs.read_whole(layout.format_file)).get("version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise StoreError(
                f"the store at {layout.root} has version {version}, this program knows {FORMAT_VERSION}",
                hint="recover it with the program that made it, or a newer one",
            )
    fs.make_directories(f"{layout.database}/journal")
    with locked(layout.commit_lock):
        backend = backend_of(layout)
        known = remembered(layout)
        with _replacing(layout, backend) as scratch:
            fresh = open_backend(scratch, backend, readonly=False)
            try:
                result = repair.rebuild(layout, fresh, known)
                last = _begin_segment(layout)
                fresh.apply({APPLIED: b"%d" % last})
            finally:
                fresh.close()
            # The journal that told of some of them goes.
            rewrite(layout.history_file, known)
        _drop_segments(layout, last)
    return result


def migrate(layout: Layout, database: Database, to: str) -> int:
    """Move all metadata to the other backend; returns how many keys, 0 if it is that already.

    The caller closes and opens the store again.
    """
    if to not in BACKENDS:
        raise StoreError(f"there is no backend {to!r}", hint=f"use one of {', '.join(BACKENDS)}")
    if backend_of(layout) == to:
        return 0
    with database.alone():
        with _replacing(layout, to) as scratch:
            fresh = open_backend(scratch, to, readonly=False)
            try:
                content: dict[bytes, bytes | None] = dict(database.scan(b""))
                settle(layout, content)
                last = _begin_segment(layout)
                fresh.apply({**content, APPLIED: b"%d" % last})
            finally:
                fresh.close()
        _drop_segments(layout, last)
    return len(content) - 1


def _begin_segment(layout: Layout) -> int:
    """Start a segment behind all others; returns the number of the last that the new database covers."""
    directory = f"{layout.database}/journal"
    last = max(segments(directory), default=0)
    create_segment(directory, last + 1)
    return last


def _drop_segments(layout: Layout, last: int) -> None:
    directory = f"{layout.database}/journal"
    for number in segments(directory):
        if number <= last:
            fs.remove_tree(segment_path(directory, number))


@contextlib.contextmanager
def _replacing(layout: Layout, backend: str) -> Iterator[Layout]:
    """Give a place to make a new database in; on leaving, put it where the store's database belongs."""
    scratch = Layout(f"{layout.database}/new")
    fs.remove_tree(scratch.root)
    fs.make_directories(scratch.database)
    yield scratch
    fs.sync_file_system(layout.root)
    name = "data.mdb" if backend == "lmdb" else "rocks"
    place = f"{layout.database}/{name}"
    if os.path.isdir(place):
        fs.remove_tree(place)
    # It tells readers which state of the database is the newest: that of the old one.
    fs.remove_tree(f"{layout.database}/data.mdb-lock")
    fs.remove_tree(f"{layout.database}/data.mdb.seen")
    fs.rename(f"{scratch.database}/{name}", place)
    fs.sync_path(layout.database)
    # From here on the new database counts; only now the old one may go.
    found = {"version": FORMAT_VERSION, "backend": backend}
    fs.write_atomically(layout.format_file, json.dumps(found).encode() + b"\n")
    fs.remove_tree(f"{layout.database}/{'rocks' if backend == 'lmdb' else 'data.mdb'}")
    fs.remove_tree(scratch.root)
