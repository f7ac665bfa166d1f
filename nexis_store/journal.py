"""The write-ahead journal: appending a record and one ``fdatasync`` is a commit (``docs/store.md``).

A segment is a header, then records. A record is a u32 length, 16 bytes of BLAKE3 over segment number, offset and
payload, then the payload: a u32 count, and for each key u16 and u32 lengths (``NO_VALUE`` deletes), key, value. An
empty payload is the seal: the next segment goes on. Integers are big-endian. The position is part of the checksum so
that bytes of an earlier file in the same blocks can never pass for a record, and so that whole records are recognised
behind damaged bytes. The key ``SYNCED`` tells how much of the segment its writer knew to be on the disk.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping

from blake3 import blake3

from nexis_store import fs
from nexis_store.errors import RECOVER, DamagedStoreError

MAGIC = b"nexis journal\x01"
NO_VALUE = 0xFFFFFFFF
SEAL = b""

SYNCED = b"ssynced"
"""Key in a record, never in the database: all of this segment before that offset was synced when it was written."""


_HEADER = struct.Struct(f">{len(MAGIC)}sQ")
EMPTY_SIZE = _HEADER.size
"""Bytes of a segment without records."""

_RECORD = struct.Struct(">I16s")
_COUNT = struct.Struct(">I")
_LENGTHS = struct.Struct(">HI")

Changes = Mapping[bytes, bytes | None]


def encode_changes(changes: Changes) -> bytes:
    """The payload of a record."""
    parts = [_COUNT.pack(len(changes))]
    for key, value in changes.items():
        if value is None:
            parts.append(_LENGTHS.pack(len(key), NO_VALUE) + key)
        else:
            parts.append(_LENGTHS.pack(len(key), len(value)) + key + value)
    return b"".join(parts)


def decode_changes(payload: bytes) -> dict[bytes, bytes | None]:
    """The inverse; raises ``DamagedStoreError`` for anything else."""
    try:
        return _decode_changes(payload)
    except struct.error:
        raise DamagedStoreError("a record of the journal is damaged", hint=RECOVER) from None


def _decode_changes(payload: bytes) -> dict[bytes, bytes | None]:
    (count,) = _COUNT.unpack_from(payload)
    position = _COUNT.size
    changes: dict[bytes, bytes | None] = {}
    for _ in range(count):
        key_length, value_length = _LENGTHS.unpack_from(payload, position)
        position += _LENGTHS.size
        key = payload[position : position + key_length]
        position += key_length
        if value_length == NO_VALUE:
            changes[key] = None
        else:
            changes[key] = payload[position : position + value_length]
            position += value_length
    return changes


def encode_record(segment: int, offset: int, payload: bytes) -> bytes:
    """A record as it stands at ``offset`` of ``segment``."""
    return _RECORD.pack(len(payload), _check(segment, offset, payload)) + payload


def _check(segment: int, offset: int, payload: bytes) -> bytes:
    return blake3(struct.pack(">QQ", segment, offset) + payload).digest()[:16]


def decode_records(segment: int, offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Read the complete, undamaged records at the start of ``data``; yields (offset behind it, payload)."""
    position = 0
    while position + _RECORD.size <= len(data):
        length, check = _RECORD.unpack_from(data, position)
        payload = data[position + _RECORD.size : position + _RECORD.size + length]
        if len(payload) != length or _check(segment, offset + position, payload) != check:
            return
        position += _RECORD.size + length
        yield offset + position, payload


def survivors(segment: int, offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Read all undamaged records in ``data``, also those behind damaged bytes; yields (offset behind it, payload)."""
    position, last = 0, len(data) - _RECORD.size
    while position <= last:
        length, check = _RECORD.unpack_from(data, position)
        start = position + _RECORD.size
        if length <= len(data) - start and _could_be_payload(data, start, length):
            payload = data[start : start + length]
            if _check(segment, offset + position, payload) == check:
                position = start + length
                yield offset + position, payload
                continue
        position += 1


def _could_be_payload(data: bytes, start: int, length: int) -> bool:
    """Whether it is worth working out the checksum of these bytes."""
    if length < _COUNT.size:
        return length == 0
    (count,) = _COUNT.unpack_from(data, start)
    return bool(count * _LENGTHS.size <= length - _COUNT.size)


def _is_prefix(segment: int, offset: int, data: bytes) -> bool:
    """Whether ``data`` can be the beginning of a record whose writer was killed."""
    if len(data) < _RECORD.size:
        return True
    length, check = _RECORD.unpack_from(data)
    rest = data[_RECORD.size :]
    # A record that is all there but for its length was not cut: the length is damaged.
    return bool(length > len(rest)) and _check(segment, offset, rest) != check


def damage(segment: int, offset: int, data: bytes, *, after_restart: bool) -> str | None:
    """Say what is damaged if ``data``, from ``offset`` on, does not begin with a record and is more than a torn tail.

    A killed writer leaves the beginning of one record. Only a power cut (``after_restart``) can leave other bytes, and
    whole records behind them: of what nobody had synced.
    """
    if not data:
        return None
    whole = 0
    for _, payload in survivors(segment, offset, data):
        synced = decode_changes(payload).get(SYNCED) if payload else None
        whole += not after_restart or int(synced or 0) > offset
    if whole:
        return f"{whole} record{'s' if whole > 1 else ''} behind it {'are' if whole > 1 else 'is'} whole"
    if not after_restart and not _is_prefix(segment, offset, data):
        return "the last record is not what its checksum says"
    return None


class Segment:
    """One open segment. ``offset`` is how far its records have been read or written by this process."""

    def __init__(self, directory: str, number: int, *, readonly: bool = False) -> None:
        self.number = number
        self.path = segment_path(directory, number)
        self.fd = fs.open_regular(self.path, os.O_RDONLY if readonly else os.O_RDWR)
        header = os.pread(self.fd, _HEADER.size, 0)
        if header != _HEADER.pack(MAGIC, number):
            os.close(self.fd)
            raise DamagedStoreError(f"{self.path} is not a journal segment", hint=RECOVER)
        self.offset = _HEADER.size
        self.sealed = False

    def has_more(self) -> bool:
        """Whether there are bytes that have not been read. Costs one system call."""
        return os.fstat(self.fd).st_size > self.offset

    def read(self) -> list[bytes]:
        """The payloads of new complete records; notes the seal."""
        if self.sealed:
            return []
        data = os.pread(self.fd, os.fstat(self.fd).st_size - self.offset, self.offset)
        found: list[bytes] = []
        for end, payload in decode_records(self.number, self.offset, data):
            self.offset = end
            if payload == SEAL:
                self.sealed = True
                break
            found.append(payload)
        return found

    def check_tail(self, *, after_restart: bool) -> bool:
        """Whether what is behind the last record read is a torn tail; ``False`` if records have come since.

        Raises ``DamagedStoreError`` if it is neither.
        """
        data = os.pread(self.fd, max(0, os.fstat(self.fd).st_size - self.offset), self.offset)
        if next(decode_records(self.number, self.offset, data), None) is not None:
            return False
        found = damage(self.number, self.offset, data, after_restart=after_restart)
        if found is not None:
            raise DamagedStoreError(f"{self.path} is damaged at byte {self.offset}: {found}", hint=RECOVER)
        return True

    def cut_torn_tail(self) -> None:
        """Remove what a killed writer left behind the last complete record. Only under the lock, after ``read``."""
        if self.has_more():
            fs.truncate(self.fd, self.offset, self.path)

    def append(self, payload: bytes) -> None:
        """Write a record behind the last one; on failure nothing of it stays. Not yet durable."""
        record = encode_record(self.number, self.offset, payload)
        try:
            os.lseek(self.fd, self.offset, os.SEEK_SET)
            fs.write(self.fd, record, self.path)
        except OSError:
            os.ftruncate(self.fd, self.offset)
            raise
        self.offset += len(record)

    def sync(self) -> None:
        """Make everything appended so far durable."""
        fs.sync_data(self.fd, self.path)

    def close(self) -> None:
        """Release the file."""
        os.close(self.fd)


def segment_path(directory: str, number: int) -> str:
    """Where a segment is."""
    return f"{directory}/{number:010}.log"


def create_segment(directory: str, number: int) -> None:
    """Make an empty segment, durably. One that is there was made by a checkpoint that was cut short: nobody used it."""
    fs.write_atomically(segment_path(directory, number), _HEADER.pack(MAGIC, number), mode=0o644)


def segments(directory: str) -> list[int]:
    """The numbers of all files that are called like a segment, in order."""
    numbers = (int(name[:-4]) for name in os.listdir(directory) if name.endswith(".log") and name[:-4].isdecimal())
    return sorted(number for number in set(numbers) if os.path.lexists(segment_path(directory, number)))


def has_records(directory: str, number: int) -> bool:
    """Whether there is a segment of that number with a whole record in it."""
    try:
        segment = Segment(directory, number, readonly=True)
    except (FileNotFoundError, DamagedStoreError):
        return False
    try:
        return bool(segment.read()) or segment.sealed
    finally:
        segment.close()
