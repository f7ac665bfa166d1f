"""What a build came out as: the record that maps a build key to tree digests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nexis_store.digest import BuildKey, DerivationId, TreeDigest

INPUTS = "inputs"
"""Key in ``extra``: the trees that a build was given, shortened (``inputs_of``): whom damage of one concerns."""

_PREFIX = 16


def inputs_of(digests: Iterable[TreeDigest]) -> str:
    """The value of ``INPUTS`` for these trees."""
    return " ".join(sorted({digest.hex()[:_PREFIX] for digest in digests}))


def was_given(realisation: Realisation, digests: Iterable[TreeDigest]) -> bool:
    """Whether a build was given one of these trees."""
    given = realisation.extra.get(INPUTS, "").split()
    return any(digest.hex()[:_PREFIX] in given for digest in digests)


@dataclass(frozen=True, slots=True)
class Realisation:
    """One build key and the tree of each output.

    ``origin`` tells how the outputs came to be: ``built``, ``fetched``, ``prebuilt`` or ``fallback``;
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
