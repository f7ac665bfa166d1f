"""What the store needs of a database: ordered keys, atomic durable batches. Nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class Reading(Protocol):
    """The database as of one moment."""

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        ...

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All pairs whose key starts with ``prefix``, in the order of their bytes."""
        ...


class Backend(Protocol):
    """An ordered map of bytes on disk. Safe to use from several threads; ``apply`` by one process at a time."""

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        ...

    def reading(self) -> AbstractContextManager[Reading]:
        """Cheap looking up of many keys, as of one moment."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs whose key starts with ``prefix``, in the order of their bytes, as of one moment."""
        ...

    def apply(self, batch: Mapping[bytes, bytes | None]) -> None:
        """Put (or, for ``None``, delete) all keys of ``batch``: all or nothing, durable on return."""
        ...

    def check(self) -> None:
        """Read and prove all of the database; raises ``StoreError`` for what was never applied."""
        ...

    def refresh(self) -> None:
        """See what other processes have applied, if that does not happen by itself."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...
