"""Which backend a store gets, and opening it."""

from __future__ import annotations

import os

from nexis_store.errors import DamagedStoreError, StoreError
from nexis_store.layout import Layout
from nexis_store.metadata.base import Backend

PROFILES = ("auto", "desktop", "server")

_REFLINKING = ("xfs", "btrfs", "bcachefs")

_NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "orangefs", "coda"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.davfs2", "fuse.juicefs"),
    )
)
"""Names of file systems that other machines may write to at the same time."""


def file_system_type(path: str) -> str:
    """The name of the file system that holds ``path``, as in ``/proc/self/mounts``; empty if that cannot be told."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                if before.split()[2] == wanted:
                    return after.split()[0]
    except OSError:
        return ""
    return ""


def network_file_system(path: str) -> str | None:
    """The name of the network file system that ``path`` lies on, or would; ``None`` if that is none."""
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    # A disk of this machine has a device number of its own: nothing else need be read.
    if os.major(os.stat(path).st_dev):
        return None
    name = file_system_type(path)
    return name if name in _NETWORK else None


def backend_for(path: str, profile: str) -> str:
    """``desktop`` is LMDB, ``server`` RocksDB; ``auto`` takes RocksDB where the file system is one of servers."""
    if profile == "auto":
        profile = "server" if file_system_type(path) in _REFLINKING else "desktop"
    return "rocksdb" if profile == "server" else "lmdb"


def migration(root: str, backend: str, profile: str) -> str | None:
    """How to give an existing store the backend of ``profile``; ``None`` if it has it or anything will do."""
    wanted = {"desktop": "lmdb", "server": "rocksdb"}.get(profile, backend)
    if wanted == backend:
        return None
    return (
        f"the store at {root} keeps its metadata in {backend}; the profile {profile} asks for {wanted}: "
        f"'nexis-store migrate --to {wanted}' moves them"
    )


def open_backend(layout: Layout, name: str, *, readonly: bool, create: bool = True) -> Backend:
    """Open the database of a store. Its library is imported only now.

    Without ``create`` a database that is gone is damage, never an empty one; raises ``DamagedStoreError``.
    """
    place = {"lmdb": "data.mdb", "rocksdb": "rocks/CURRENT"}.get(name)
    if place is not None and not (create or os.path.exists(f"{layout.database}/{place}")):
        raise DamagedStoreError(f"{layout.database}/{place} is gone", hint="run 'nexis-store recover'")
    if name == "lmdb":
        from nexis_store.metadata.lmdb import LmdbBackend

        return LmdbBackend(layout.database, readonly=readonly)
    if name == "rocksdb":
        from nexis_store.metadata.rocksdb import RocksBackend

        return RocksBackend(layout.database, readonly=readonly)
    raise StoreError(
        f"the store at {layout.root} has the unknown backend {name!r}", hint="use the program that made the store"
    )
