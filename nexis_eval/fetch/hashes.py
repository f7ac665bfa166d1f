"""The hash algorithms of downloads, and the two ways in which people write hashes. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Protocol

LENGTHS = {"sha256": 32, "sha512": 64, "blake3": 32}
"""Bytes of a digest by algorithm."""


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


def parse_hash(text: str) -> tuple[str, str]:
    """Algorithm and lower-case hexadecimal digest of ``sha256:HEX`` or of an SRI (``sha256-BASE64``).

    Raises ``ValueError``. SRI: W3C Subresource Integrity, section 3.5.
    """
    algorithm, colon, digest = text.partition(":")
    if not colon:
        algorithm, _, digest = text.partition("-")
        try:
            digest = base64.b64decode(digest, validate=True).hex()
        except binascii.Error as error:
            raise ValueError(f"'{text}' is no hash: {error}") from None
    if algorithm not in LENGTHS:
        raise ValueError(f"unknown hash algorithm '{algorithm}' (sha256, sha512 and blake3 are known)")
    digest = digest.lower()
    if len(digest) != 2 * LENGTHS[algorithm] or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"a {algorithm} digest has {2 * LENGTHS[algorithm]} hexadecimal digits: '{text}'")
    return algorithm, digest
