"""The realisations in a file of their own, so that losing the database loses no build (``nexis-store recover``).

The file has the form of journal segment 0 and never ends; when it is mostly outdated it is written anew.
"""

from __future__ import annotations

import os

from nexis_store import fs
from nexis_store.journal import (
    EMPTY_SIZE,
    Changes,
    decode_changes,
    decode_records,
    encode_changes,
    encode_record,
    segment_path,
    segments,
    survivors,
)
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
    data = _read(path)
    if data is None:
        rewrite(path, _changed({}, made))
        return
    end = max((end for end, _ in decode_records(0, 0, data)), default=0)
    if any(survivors(0, end, data[end:])):
        # Damaged in the middle: what is readable behind it must not be cut off.
        rewrite(path, _changed(_decode(data), made))
        return
    fd = fs.open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        if end != len(data):
            fs.truncate(fd, end, path)
        os.lseek(fd, end, os.SEEK_SET)
        fs.write(fd, encode_record(0, end, encode_changes(made)), path)
        fs.sync_data(fd, path)
    finally:
        os.close(fd)
    if end > _SLACK:
        compact(path)


def _changed(realisations: dict[bytes, bytes], changes: Changes) -> dict[bytes, bytes]:
    for key, value in changes.items():
        if value is None:
            realisations.pop(key, None)
        elif key.startswith(REALISATION):
            realisations[key] = value
    return realisations


def _decode(data: bytes) -> dict[bytes, bytes]:
    realisations: dict[bytes, bytes] = {}
    for _, payload in survivors(0, 0, data):
        _changed(realisations, decode_changes(payload) if payload else {})
    return realisations


def read(path: str) -> dict[bytes, bytes]:
    """The realisations that the history knows; damaged records are passed over."""
    return _decode(_read(path) or b"")


def _read(path: str) -> bytes | None:
    """The bytes of the history; ``None`` if something else is in its place."""
    try:
        return fs.read_whole(path)
    except FileNotFoundError:
        return b""
    except OSError:
        if os.path.isfile(path):
            raise
        return None


def remembered(layout: Layout) -> dict[bytes, bytes]:
    """What the history and all readable records of the journal say about builds."""
    realisations = read(layout.history_file)
    directory = f"{layout.database}/journal"
    for number in segments(directory) if os.path.isdir(directory) else []:
        try:
            data = fs.read_whole(segment_path(directory, number))
        except OSError:
            continue
        for _, payload in survivors(number, EMPTY_SIZE, data[EMPTY_SIZE:]):
            _changed(realisations, decode_changes(payload) if payload else {})
    return realisations


def rewrite(path: str, realisations: dict[bytes, bytes]) -> None:
    """Let the history hold these realisations and nothing else."""
    if os.path.isdir(path):
        fs.remove_tree(path)
    fs.write_atomically(path, encode_record(0, 0, encode_changes(dict(realisations))))


def compact(path: str) -> None:
    """Write the history anew if that halves it."""
    record = encode_record(0, 0, encode_changes(dict(read(path))))
    if len(record) * 2 < os.stat(path).st_size:
        fs.write_atomically(path, record)
