"""RocksDB: the backend for large stores with many writers; its writes stay cheap when the tables outgrow memory.

Only one process may have a RocksDB open for writing, and that lock would shut out all others. But all writes come from
the journal, in batches, under the store's lock. So each process keeps it open for reading only and opens it for writing
just for ``apply``.

The library writes into the directory whenever it opens it. Where that is not allowed (read-only media, the store of
somebody else) the database is opened through a directory of links to its files.

Every block has a checksum, which is compared whenever it is read. A look-up reports damage by itself; an iterator only
ends, and its status says why.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nexis_store.errors import StoreError


def _options() -> Any:
    from rocksdict import Options

    options = Options(raw_mode=True)
    options.create_if_missing(True)
    # Readers must survive a writer that compacts: they hold all files open from the start.
    options.set_max_open_files(-1)
    options.set_paranoid_checks(True)
    options.set_keep_log_file_num(2)
    return options


def cannot_use(error: Exception) -> StoreError:
    """What the library reports, as an error of the store."""
    return StoreError(
        f"the store's database cannot be used: {error}",
        hint="check disk space and permissions; if files are damaged, 'nexis-store recover' rebuilds them",
    )


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what the library raises, always a plain ``Exception``, into a ``StoreError``."""
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise cannot_use(error) from error


class RocksReading:
    """An instance opened for reading only is a snapshot as it is."""

    def __init__(self, database: Any) -> None:
        self.get: Callable[[bytes], bytes | None] = database.get
        self._cursor = database.iter()

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All pairs whose key starts with ``prefix``."""
        found: list[tuple[bytes, bytes]] = []
        cursor = self._cursor
        cursor.seek(prefix)
        while cursor.valid():
            key = cursor.key()
            if not key.startswith(prefix):
                break
            found.append((key, cursor.value()))
            cursor.next()
        cursor.status()
        return found


class RocksBackend:
    """One database in ``directory``/rocks."""

    def __init__(self, directory: str, *, readonly: bool = False) -> None:
        from rocksdict import AccessType, Rdict

        self._path = f"{directory}/rocks"
        self._guard = threading.RLock()
        self._read_only = AccessType.read_only()
        try:
            if not readonly and not os.path.exists(f"{self._path}/CURRENT"):
                Rdict(self._path, _options()).close()
        except Exception as error:
            raise cannot_use(error) from error
        self._database, self._version = self._open()

    def _open(self) -> tuple[Any, tuple[int, ...]]:
        """An instance for reading, and the state of the files that it was opened in."""
        from rocksdict import Rdict

        while True:
            version = self._current()
            try:
                with self._view() as path:
                    return Rdict(path, _options(), access_type=self._read_only), version
            except Exception as error:
                # Another process may have written and removed what this one was about to open.
                if self._current() == version:
                    raise cannot_use(error) from error

    @contextlib.contextmanager
    def _view(self) -> Iterator[str]:
        """A directory through which the library can open the database: its own, if this process may write there."""
        config = "rocksdict-config.json"
        if os.access(self._path, os.W_OK) and os.access(f"{self._path}/{config}", os.W_OK):
            yield self._path
            return
        # All files are open by the time the links go.
        with tempfile.TemporaryDirectory(prefix="nexis-rocksdb-") as view:
            for name in os.listdir(self._path):
                if name == config:
                    shutil.copyfile(f"{self._path}/{name}", f"{view}/{name}")
                elif not name.startswith("LO"):
                    os.symlink(f"{self._path}/{name}", f"{view}/{name}")
            yield view

    def _current(self) -> tuple[int, ...]:
        """Changes whenever somebody has opened the database for writing."""
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(f"{self._path}/CURRENT")
            return (status.st_ino, status.st_mtime_ns)
        return ()

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        with self._guard, _translated():
            value: bytes | None = self._database.get(key)
            return value

    @contextlib.contextmanager
    def reading(self) -> Iterator[RocksReading]:
        """Many look-ups; other threads of this process wait."""
        with self._guard, _translated():
            yield RocksReading(self._database)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs whose key starts with ``prefix``, read at once."""
        with self.reading() as reading:
            return iter(reading.scan(prefix))

    def apply(self, batch: Mapping[bytes, bytes | None]) -> None:
        """Write all of ``batch`` in one synced write."""
        from rocksdict import Rdict, WriteBatch, WriteOptions

        changes = WriteBatch(raw_mode=True)
        for key, value in batch.items():
            if value is None:
                changes.delete(key)
            else:
                changes.put(key, value)
        options = WriteOptions()
        options.sync = True
        with self._guard:
            # The library reports every failure as a plain Exception.
            try:
                writable = Rdict(self._path, _options())
                try:
                    writable.write(changes, options)
                    writable.flush()
                finally:
                    writable.close()
            except Exception as error:
                raise cannot_use(error) from error
            self._reopen()

    def check(self) -> None:
        """Read and prove all of the database; raises ``StoreError``."""
        for _ in self.scan(b""):
            pass

    def _reopen(self) -> None:
        fresh, self._version = self._open()
        self._database.close()
        self._database = fresh

    def refresh(self) -> None:
        """Open anew if another process has written."""
        with self._guard:
            if self._current() != self._version:
                self._reopen()

    def close(self) -> None:
        """Release the files."""
        with self._guard:
            self._database.close()
