"""What a build came out as: the record that maps a build key to tree digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nexis_store.digest import BuildKey, DerivationId, TreeDigest


@dataclass(frozen=True, slots=True)
class Realisation:
    """One build key and the tree of each output.

    ``origin`` tells how the outputs came to be: ``built``, ``fetched``, ``substituted``, ``prebuilt`` or ``fallback``;
    ``note`` says why where that needs a word (why a prebuilt package was not used). Times are nanoseconds.
    """

    key: BuildKey
    derivation: DerivationId
    name: str
    outputs: Mapping[str, TreeDigest]
    origin: str = "built"
    builder: str = ""
    started_ns: int = 0
    duration_ns: int = 0
    max_rss_bytes: int = 0
    note: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
