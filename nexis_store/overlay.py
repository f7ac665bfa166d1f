"""What the journal has changed since the last checkpoint, laid over what the database says."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping

from nexis_store.metadata.base import Reading


class Overlay:
    """The keys that the journal has changed since the last checkpoint; ``None`` is a deleted key."""

    def __init__(self) -> None:
        self._keys: dict[bytes, bytes | None] = {}
        self._sorted: list[bytes] = []
        self._unsorted: list[bytes] = []

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __getitem__(self, key: bytes) -> bytes | None:
        return self._keys[key]

    def update(self, changes: dict[bytes, bytes | None]) -> None:
        """Take over newer changes."""
        self._unsorted.extend(key for key in changes if key not in self._keys)
        self._keys.update(changes)

    def below(self, prefix: bytes) -> dict[bytes, bytes | None]:
        """All changes of keys that start with ``prefix``."""
        if self._unsorted:
            self._sorted.extend(self._unsorted)
            self._sorted.sort()
            self._unsorted = []
        found: dict[bytes, bytes | None] = {}
        for at in range(bisect.bisect_left(self._sorted, prefix), len(self._sorted)):
            key = self._sorted[at]
            if not key.startswith(prefix):
                break
            found[key] = self._keys[key]
        return found

    def all(self) -> dict[bytes, bytes | None]:
        """Every change."""
        return self._keys


class Snapshot:
    """The metadata of one moment."""

    def __init__(self, newest: Overlay, sealed: Overlay, reading: Reading) -> None:
        self._newest = newest
        self._sealed = sealed
        self._reading = reading

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        if key in self._newest:
            return self._newest[key]
        if key in self._sealed:
            return self._sealed[key]
        return self._reading.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs below ``prefix`` in order."""
        pairs = self._reading.scan(prefix)
        changes = self._sealed.below(prefix) | self._newest.below(prefix)
        return merged(pairs, changes) if changes else iter(pairs)


def merged(
    pairs: Iterable[tuple[bytes, bytes]], changes: Mapping[bytes, bytes | None]
) -> Iterator[tuple[bytes, bytes]]:
    """Sorted pairs after some keys were changed."""
    found: dict[bytes, bytes | None] = {**dict(pairs), **changes}
    return ((key, value) for key, value in sorted(found.items()) if value is not None)
