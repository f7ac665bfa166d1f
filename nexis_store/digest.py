"""BLAKE3 digests as distinct types, so that mixing two identities is a type error.

Pure. Each identity is a ``bytes`` subclass: hashing and comparing cost what they cost for ``bytes``, which matters in
graphs of tens of thousands of nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Self

from blake3 import blake3

DIGEST_SIZE = 32


class Digest(bytes):
    """32 bytes of BLAKE3; ``str()`` gives 64 lower-case hexadecimal digits."""

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Self:
        """Take 32 raw bytes; raises ``ValueError`` for any other length."""
        if len(raw) != DIGEST_SIZE:
            raise ValueError(f"a digest has {DIGEST_SIZE} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 64 hexadecimal digits; raises ``ValueError`` for anything else."""
        if len(text) != 2 * DIGEST_SIZE or text != text.lower():
            raise ValueError(f"not a digest (64 lower-case hexadecimal digits): {text!r}")
        return cls(bytes.fromhex(text))

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Hash ``data``."""
        return cls(blake3(data).digest())

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()[:12]}…)"


class FileDigest(Digest):
    """The hash of a file's bytes."""

    __slots__ = ()


class TreeDigest(Digest):
    """The Merkle hash of a tree (``docs/formats/tree.md``): the address of an artifact."""

    __slots__ = ()


class DerivationId(Digest):
    """The hash of a recipe, its inputs named by their own recipes."""

    __slots__ = ()


class BuildKey(Digest):
    """The hash of a recipe with each input replaced by what it came out as: the key of a realisation."""

    __slots__ = ()


def encode_fields(domain: bytes, parts: Sequence[bytes]) -> bytes:
    """Encode a list of byte strings so that no two lists give the same bytes.

    ``domain`` names the identity and its version (``b"drv\\x01"``): two identities never share an encoding. Layout:
    u32 length of the domain, the domain, u32 count, ``count`` u32 lengths, then the parts; all integers big-endian.
    """
    return b"".join(
        (
            struct.pack(">I", len(domain)),
            domain,
            struct.pack(f">I{len(parts)}I", len(parts), *map(len, parts)),
            *parts,
        )
    )
