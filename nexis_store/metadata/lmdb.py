"""LMDB: the default backend. Readers never wait and start in microseconds; many processes may share it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import lmdb

from nexis_store.errors import StoreError

MAP_SIZE = 1 << 37
"""Address space, not disk: the file grows with what is in it."""

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
        return found


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
                try:
                    environment = _environment(self._path, readonly=readonly)
                except lmdb.Error as error:
                    if not readonly:
                        raise cannot_use(error) from error
                    # Somebody else's store: the lock file is not ours to write. Reads are short enough without.
                    environment = _unlocked(self._path)
            _open[self._key] = (environment, users + 1)
        self._environment = environment

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        with self._environment.begin() as transaction:
            value: bytes | None = transaction.get(key)
            return value

    @contextlib.contextmanager
    def reading(self) -> Iterator[LmdbReading]:
        """Many look-ups in one transaction."""
        with self._environment.begin() as transaction:
            yield LmdbReading(transaction)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs whose key starts with ``prefix``, read at once so that no snapshot stays open."""
        with self.reading() as reading:
            return iter(reading.scan(prefix))

    def apply(self, batch: Mapping[bytes, bytes | None]) -> None:
        """Write all of ``batch`` in one synced transaction."""
        try:
            with self._environment.begin(write=True) as transaction:
                for key in sorted(batch):
                    value = batch[key]
                    if value is None:
                        transaction.delete(key)
                    else:
                        transaction.put(key, value)
        except lmdb.Error as error:
            raise cannot_use(error) from error

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


def _unlocked(path: str) -> lmdb.Environment:
    try:
        return _environment(path, readonly=True, lock=False)
    except lmdb.Error as error:
        raise cannot_use(error) from error


def _environment(path: str, *, readonly: bool, lock: bool = True) -> lmdb.Environment:
    return lmdb.open(
        path,
        subdir=False,
        map_size=MAP_SIZE,
        readonly=readonly,
        lock=lock,
        readahead=False,
        max_readers=1024,
        max_spare_txns=8,
        mode=0o644,
    )
