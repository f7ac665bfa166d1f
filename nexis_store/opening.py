"""What kind of store lies in a directory, and making an empty one where there is none."""

from __future__ import annotations

import contextlib
import errno
import json
import os

from nexis_store import fs
from nexis_store.errors import DamagedStoreError, NotInStoreError, StoreError, cannot_read, writing
from nexis_store.journal import create_segment
from nexis_store.layout import FORMAT_VERSION, Layout
from nexis_store.locks import locked
from nexis_store.metadata import choose
from nexis_store.metadata.choose import PROFILES, backend_for, open_backend

_ANOTHER_PLACE = "give its place with --store or $NEXIS_STORE"


def backend_named(layout: Layout, profile: str | None) -> str:
    """The name of the store's backend; makes a store for ``profile`` where there is none, unless that is ``None``.

    Raises ``NotInStoreError``, ``DamagedStoreError``, and ``StoreError`` for a store of another version.
    """
    try:
        found = json.loads(fs.read_whole(layout.format_file))
        if not isinstance(found, dict):
            raise ValueError
    except (FileNotFoundError, NotADirectoryError):
        if os.path.lexists(layout.root) and not os.path.isdir(layout.root):
            raise StoreError(f"{layout.root} is no directory", hint=_ANOTHER_PLACE) from None
        _refuse_headless(layout)
        if profile is None:
            raise NotInStoreError(f"there is no store at {layout.root}", hint=_ANOTHER_PLACE) from None
        found = _create(layout, profile)
    except OSError as error:
        raise cannot_read(error, f"the store at {layout.root}") from error
    except (ValueError, RecursionError):
        raise StoreError(f"{layout.format_file} is damaged", hint="run 'nexis-store recover'") from None
    if found.get("version") != FORMAT_VERSION:
        raise StoreError(
            f"the store at {layout.root} has version {found.get('version')}, this program knows {FORMAT_VERSION}",
            hint="use the program that made it, or another store",
        )
    return str(found.get("backend"))


def check_writable(layout: Layout) -> None:
    """Raise the ``OSError`` that writing to the store would meet, and ``StoreError`` where it would not be safe."""
    _check_local(layout)
    if not os.access(layout.database, os.W_OK):
        code = errno.EROFS if os.statvfs(layout.database).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(code, os.strerror(code), layout.database)


def _check_local(layout: Layout) -> None:
    """Raise ``StoreError`` for a store that other machines may reach: none of its locks would keep them out."""
    name = choose.network_file_system(layout.root)
    if name is not None:
        raise StoreError(
            f"the store at {layout.root} lies on {name}, a network file system, where it can only be read",
            hint="use a directory of a disk of this machine: --store or $NEXIS_STORE; 'nexis-store export' carries a "
            "closure elsewhere",
        )


def _refuse_headless(layout: Layout) -> None:
    """Raise ``DamagedStoreError`` where artifacts lie, but nothing says what kind of store they make."""
    with contextlib.suppress(OSError):
        if any(len(name) == 2 for name in os.listdir(layout.root)):
            raise DamagedStoreError(f"{layout.format_file} is gone", hint="run 'nexis-store recover'")


def _create(layout: Layout, profile: str) -> dict[str, object]:
    """Make an empty store; two processes that do it at once make one."""
    if profile not in PROFILES:
        raise StoreError(f"there is no store profile {profile!r}", hint="use desktop, server or auto")
    with writing(f"the new store at {layout.root}"):
        _check_local(layout)
        fs.make_directories(layout.database)
        return _fill(layout, profile)


def _fill(layout: Layout, profile: str) -> dict[str, object]:
    with locked(layout.commit_lock):
        with contextlib.suppress(FileNotFoundError):
            there: dict[str, object] = json.loads(fs.read_whole(layout.format_file))
            return there
        _refuse_headless(layout)
        # A creation that was cut short may have left half a database. There is no artifact, so it says nothing.
        for leftover in ("data.mdb", "data.mdb-lock", "data.mdb.seen", "rocks", "journal"):
            fs.remove_tree(f"{layout.database}/{leftover}")
        backend = backend_for(layout.root, profile)
        found: dict[str, object] = {"version": FORMAT_VERSION, "backend": backend}
        fs.make_directory(f"{layout.database}/journal")
        create_segment(f"{layout.database}/journal", 1)
        open_backend(layout, backend, readonly=False).close()
        # The databases do not sync what they begin with: after a power cut the format would name an empty file.
        fs.sync_file_system(layout.root)
        fs.write_atomically(layout.format_file, json.dumps(found).encode() + b"\n")
    return found
