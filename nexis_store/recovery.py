"""Putting a store in order after a power cut."""

from __future__ import annotations

import os

from nexis_store import fs
from nexis_store.database import Database
from nexis_store.digest import TreeDigest
from nexis_store.layout import Layout
from nexis_store.names import decode
from nexis_store.publish import show
from nexis_store.records import ARTIFACT, PENDING, ArtifactRecord

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def _boot_id() -> bytes:
    try:
        with open(_BOOT_ID, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b"unknown\n"


def restarted(layout: Layout) -> bool:
    """Whether the machine was restarted since the store was last opened for writing."""
    try:
        return fs.read_whole(layout.boot_file) != _boot_id()
    except OSError:
        return True


def after_power_cut(layout: Layout, database: Database) -> None:
    """Do again the renames that did not reach the disk, and note that it was done in this boot of the machine."""
    with database.transaction(durable=False) as transaction:
        for key, value in transaction.scan(PENDING):
            digest = TreeDigest(key[1:])
            stored = transaction.get(ARTIFACT + digest)
            staging = f"{layout.staging}/{decode(value)}"
            if stored is None or not os.path.isdir(f"{staging}/tree"):
                continue
            name = ArtifactRecord.decode(stored).name
            if os.path.exists(f"{staging}/description"):
                show(layout, digest, name, staging)
            elif not os.path.lexists(layout.artifact(digest, name)):
                fs.rename(f"{staging}/tree", layout.artifact(digest, name))
    fs.write_atomically(layout.boot_file, _boot_id(), durable=False)
