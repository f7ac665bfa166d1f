"""The hash algorithms of downloads. Pure."""

from __future__ import annotations

import hashlib
from typing import Protocol

from nexis_eval.sri import LENGTHS


class Hasher(Protocol):
    """What ``hashlib`` and ``blake3`` have in common."""

    def update(self, data: bytes, /) -> object:
        """Take in more data."""
        ...

    def hexdigest(self) -> str:
        """The digest so far, hexadecimal."""
        ...


def new_hasher(algorithm: str) -> Hasher:
    """A hasher for sha256, sha512 or blake3; raises ``ValueError`` for any other name."""
    if algorithm == "blake3":
        from blake3 import blake3

        return blake3()
    if algorithm in LENGTHS:
        return hashlib.new(algorithm)
    raise ValueError(f"unknown hash algorithm '{algorithm}' (sha256, sha512 and blake3 are known)")
