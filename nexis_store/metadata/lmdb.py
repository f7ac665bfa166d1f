"""LMDB: the default backend. Readers never wait and start in microseconds; many processes may share it.

The library maps its file and trusts it: one that is cut or damaged would kill the process. So each ``apply`` notes
what the file looks like then (``data.mdb.seen``: inode, size, times, boot of the machine), and whoever finds it looking
otherwise reads and proves it first (``pages``), 1.5 microseconds a pair. The sum over all pairs that this compares is
in the database itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import lmdb

from nexis_store import fs
from nexis_store.errors import DamagedStoreError, StoreError
from nexis_store.metadata import pages

MAP_SIZE = 1 << 37
"""Address space, not disk: the file grows with what is in it."""

READERS = 1024

LOCK_BYTES = 64 * READERS + 4096
"""The library makes its lock file of so many bytes or fewer."""

_SUM = b"\0sum"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"

# LMDB forbids a process to open one environment twice, so stores of one process that share a root share it.
_open: dict[tuple[int, int, int], tuple[lmdb.Environment, int]] = {}
_guard = threading.Lock()


class LmdbReading:
    """One read transaction; looking things up in it costs a microsecond."""

    def __init__(self, transaction: lmdb.Transaction) -> None:
        self.get: Callable[[bytes], bytes | None] = cast(Any, transaction.get)
        self._cursor: Any = transaction.cursor()

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All pairs whose key starts with ``prefix``."""
        found: list[tuple[bytes, bytes]] = []
        if self._cursor.set_range(prefix):
            for key, value in self._cursor:
                if not key.startswith(prefix):
                    break
                found.append((key, value))
        return found if not _SUM.startswith(prefix) else [pair for pair in found if pair[0] != _SUM]


class LmdbBackend:
    """One environment in ``directory``."""

    def __init__(self, directory: str, *, readonly: bool = False) -> None:
        self._path = f"{directory}/data.mdb"
        if not readonly and not os.path.exists(self._path):
            try:
                _environment(self._path, readonly=False).close()
            except lmdb.Error as error:
                raise cannot_use(error) from error
        status = os.stat(self._path)
        self._key = (os.getpid(), status.st_dev, status.st_ino)
        with _guard:
            environment, users = _open.get(self._key, (None, 0))
            if environment is None:
                _prove(self._path, status, readonly=readonly)
                try:
                    environment = _environment(self._path, readonly=readonly)
                except (lmdb.Error, OSError) as error:
                    if not readonly:
                        raise cannot_use(error) if isinstance(error, lmdb.Error) else error from error
                    # Somebody else's store: the lock file is not ours to write. Reads are short enough without.
                    environment = _unlocked(self._path)
            _open[self._key] = (environment, users + 1)
        self._environment = environment

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        try:
            with self._environment.begin() as transaction:
                value: bytes | None = transaction.get(key)
                return value
        except lmdb.Error as error:
            raise cannot_use(error) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[LmdbReading]:
        """Many look-ups in one transaction."""
        try:
            with self._environment.begin() as transaction:
                yield LmdbReading(transaction)
        except lmdb.Error as error:
            raise cannot_use(error) from error

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs whose key starts with ``prefix``, read at once so that no snapshot stays open."""
        with self.reading() as reading:
            return iter(reading.scan(prefix))

    def apply(self, batch: Mapping[bytes, bytes | None]) -> None:
        """Write all of ``batch`` in one synced transaction."""
        try:
            with self._environment.begin(write=True) as transaction:
                total = _total(transaction)
                for key in sorted(batch):
                    value = batch[key]
                    total += pages.pair_sum(key, value) - pages.pair_sum(key, transaction.get(key))
                    if value is None:
                        transaction.delete(key)
                    else:
                        transaction.put(key, value)
                transaction.put(_SUM, b"%d" % (total % (1 << 64)))
        except lmdb.Error as error:
            raise cannot_use(error) from error
        with contextlib.suppress(OSError):
            _note(self._path, os.stat(self._path))

    def check(self) -> None:
        """Read and prove all of the database; raises ``StoreError``."""
        _check(self._path)

    def refresh(self) -> None:
        """Nothing to do: every transaction sees the newest state of all processes."""

    def close(self) -> None:
        """Close the environment when nobody else in this process uses it."""
        with _guard:
            environment, users = _open.get(self._key, (None, 0))
            if users > 1 and environment is not None:
                _open[self._key] = (environment, users - 1)
            elif environment is not None:
                del _open[self._key]
                environment.close()


def cannot_use(error: lmdb.Error) -> StoreError:
    """What the library reports, as an error of the store."""
    return StoreError(
        f"the store's database cannot be used: {error}",
        hint="check disk space and permissions; if the file is damaged, 'nexis-store recover' rebuilds it",
    )


def _total(transaction: lmdb.Transaction) -> int:
    """The sum over all pairs; a database that has none yet is read."""
    stored = transaction.get(_SUM)
    if stored is not None:
        return int(stored)
    cursor: Any = transaction.cursor()
    return sum(pages.pair_sum(key, value) for key, value in cursor)


def _look(status: os.stat_result) -> bytes:
    """What a file looks like that nobody has written to since, in this boot of the machine."""
    try:
        boot = fs.read_whole(_BOOT_ID)
    except OSError:
        boot = b"unknown"
    return b"%d %d %d %d %s\n" % (
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        boot.strip(),
    )


def _note(path: str, status: os.stat_result) -> None:
    """Note how the file looked when it was whole."""
    fs.write_atomically(f"{path}.seen", _look(status), durable=False)


def _prove(path: str, status: os.stat_result, *, readonly: bool) -> None:
    """Prove a file that does not look as it did when it was written last."""
    with contextlib.suppress(OSError):
        if fs.read_whole(f"{path}.seen") == _look(status):
            return
    _check(path)
    if not readonly:
        with contextlib.suppress(OSError):
            _note(path, status)


def _check(path: str) -> None:
    try:
        pages.check(path, _SUM)
    except (pages.PageError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DamagedStoreError(
            f"the store's database cannot be used: {path} is damaged: {why}", hint="run 'nexis-store recover'"
        ) from error


def _unlocked(path: str) -> lmdb.Environment:
    try:
        return _environment(path, readonly=True, lock=False)
    except lmdb.Error as error:
        raise cannot_use(error) from error


def _allocate(path: str) -> None:
    """Give the lock file its disk space: the library maps it, and a disk that is full then would kill the process."""
    fd = fs.open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        status = os.fstat(fd)
        if status.st_size < LOCK_BYTES or status.st_blocks * 512 < LOCK_BYTES:
            os.posix_fallocate(fd, 0, LOCK_BYTES)
    finally:
        os.close(fd)


def _environment(path: str, *, readonly: bool, lock: bool = True) -> lmdb.Environment:
    if lock:
        _allocate(f"{path}-lock")
    return lmdb.open(
        path,
        subdir=False,
        map_size=MAP_SIZE,
        readonly=readonly,
        lock=lock,
        readahead=False,
        max_readers=READERS,
        max_spare_txns=8,
        mode=0o644,
    )
