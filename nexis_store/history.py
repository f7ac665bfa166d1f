"""The realisations in a file of their own, so that losing the database loses no build (``nexis-store recover``).

The file has the form of journal segment 0 and never ends; when it is mostly outdated it is written anew.
"""

from __future__ import annotations

import contextlib
import os

from nexis_store import fs
from nexis_store.journal import Changes, decode_changes, decode_records, encode_changes, encode_record
from nexis_store.layout import Layout
from nexis_store.records import PENDING, REALISATION

_SLACK = 8 << 20


def settle(layout: Layout, changes: dict[bytes, bytes | None]) -> None:
    """Before changes leave the journal: what they rely on must be on the disk, and the realisations in the history."""
    fs.sync_file_system(layout.root)
    for key in [key for key in changes if key.startswith(PENDING)]:
        del changes[key]
    made = {key: value for key, value in changes.items() if key.startswith(REALISATION)}
    if made:
        _append(layout.history_file, made)


def _append(path: str, made: Changes) -> None:
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        size = 0
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        end = max((end for end, _ in decode_records(0, 0, os.pread(fd, size, 0))), default=0)
        if end != size:
            fs.truncate(fd, end, path)
        os.lseek(fd, end, os.SEEK_SET)
        fs.write(fd, encode_record(0, end, encode_changes(made)), path)
        fs.sync_data(fd, path)
    finally:
        os.close(fd)
    if size > _SLACK:
        compact(path)


def read(path: str) -> dict[bytes, bytes]:
    """The realisations that the history knows."""
    found: dict[bytes, bytes] = {}
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        for _, payload in decode_records(0, 0, file.read()):
            for key, value in decode_changes(payload).items():
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value
    return found


def compact(path: str) -> None:
    """Write the history anew if that halves it."""
    record = encode_record(0, 0, encode_changes(dict(read(path))))
    if len(record) * 2 < os.stat(path).st_size:
        fs.write_atomically(path, record)
