"""A Bloom filter over digests: whether something is surely not in a set, in ten bits each. Pure.

A full recount marks what the roots reach. For that it only has to be sure about what is *not* reached: a false positive
keeps a piece of garbage until the next time, never the other way round.
"""

from __future__ import annotations

import struct

_INDEXES = struct.Struct(">4Q")


class BloomFilter:
    """Made for ``expected`` digests, with about one false positive in a hundred."""

    def __init__(self, expected: int) -> None:
        self._size = max(1024, expected * 10)
        self._bits = bytearray(self._size // 8 + 1)

    def _places(self, digest: bytes) -> list[int]:
        # A BLAKE3 digest is as good as four independent hashes; three more come from mixing them.
        a, b, c, d = _INDEXES.unpack(digest)
        size = self._size
        return [a % size, b % size, c % size, d % size, (a ^ (b >> 1)) % size, (c ^ (d >> 1)) % size, (a ^ d) % size]

    def add(self, digest: bytes) -> None:
        """Put a 32-byte digest into the set."""
        for place in self._places(digest):
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, digest: bytes) -> bool:
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in self._places(digest))
