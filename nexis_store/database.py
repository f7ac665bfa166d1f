"""The metadata as the rest of the store sees it: reads at any time, writes in transactions of one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator

from nexis_store.metadata.base import Backend


class Transaction:
    """A set of changes that become visible and durable together. It sees its own changes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key`` as this transaction would leave it."""
        if key in self.changes:
            return self.changes[key]
        return self._backend.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs below ``prefix`` as this transaction would leave them, in order."""
        pairs: dict[bytes, bytes | None] = dict(self._backend.scan(prefix))
        pairs.update((key, value) for key, value in self.changes.items() if key.startswith(prefix))
        return ((key, value) for key, value in sorted(pairs.items()) if value is not None)

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``."""
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove ``key`` if it is there."""
        self.changes[key] = None


class Database:
    """One store's metadata."""

    def __init__(self, backend: Backend, lock_path: str) -> None:
        self._backend = backend
        self._mutex = threading.RLock()
        self._lock_fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        return self._backend.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs below ``prefix`` in order."""
        return self._backend.scan(prefix)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Change the metadata; nothing of it happens if the block raises. Other writers wait meanwhile."""
        with self._mutex:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            try:
                transaction = Transaction(self._backend)
                yield transaction
                if transaction.changes:
                    self._backend.apply(transaction.changes)
            finally:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def pass_by(self) -> None:
        """Wait until every change that has begun is over."""
        with self._mutex:
            fcntl.flock(self._lock_fd, fcntl.LOCK_SH)
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release everything."""
        self._backend.close()
        os.close(self._lock_fd)
