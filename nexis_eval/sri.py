"""Hashes as web pages write them (W3C Subresource Integrity, section 3.5): ``sha256-`` and base64. Pure."""

from __future__ import annotations

import base64
import binascii

LENGTHS = {"sha256": 32, "sha512": 64, "blake3": 32}
"""Bytes of a digest by algorithm."""


def is_sri(text: str) -> bool:
    """Whether a hash is written in that form, if perhaps wrongly."""
    return ":" not in text and text.partition("-")[0] in LENGTHS and "-" in text


def from_sri(text: str) -> str:
    """``sha256-BASE64`` as ``sha256:HEX``; raises ``ValueError`` that says what is wrong with it."""
    algorithm, _, encoded = text.partition("-")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("what follows the '-' is not base64") from None
    if len(digest) != LENGTHS[algorithm]:
        raise ValueError(f"a {algorithm} digest has {LENGTHS[algorithm]} bytes, this one {len(digest)}")
    return f"{algorithm}:{digest.hex()}"
