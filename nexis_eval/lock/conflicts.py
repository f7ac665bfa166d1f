"""A lock with the conflict markers of a merge: what either side has is kept, what they disagree about is not. Pure.

Entries are independent of each other, so nothing is lost that way but pins that would have to be made anew in any case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from nexis_eval.lock.model import Lock, parse_lock

_CONFLICT = re.compile(
    r"^<{7} [^\n]*\n(?P<ours>.*?)(?:^\|{7}[^\n]*\n.*?)?^={7}\n(?P<theirs>.*?)^>{7} [^\n]*(?:\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
Key = TypeVar("Key")
Entry = TypeVar("Entry")


def has_conflict(text: str) -> bool:
    """Whether a merge left its markers in the text of a lock."""
    return _CONFLICT.search(text) is not None


def merged(text: str, file: str = "nexis.lock") -> tuple[Lock, set[str]]:
    """The lock that both sides of a conflict make up, and the packages about which they disagree, which it lacks.

    Raises ``LockFormatError`` if a side is no lock by itself.
    """
    ours, theirs = (parse_lock(_CONFLICT.sub(rf"\g<{side}>", text), file) for side in ("ours", "theirs"))
    disputed = {key[0] for key in _differing(ours.sources, theirs.sources)}
    disputed |= {key[0] for key in _differing(ours.debian, theirs.debian)}
    disputed |= {key[0] for key in _differing(ours.requests, theirs.requests)}
    suites = ours.releases.keys() | theirs.releases.keys()
    both = Lock(
        {**ours.sources, **theirs.sources},
        {**ours.debian, **theirs.debian},
        {**ours.requests, **theirs.requests},
        # Of two package indexes the newer one counts: no older one may be taken after it.
        {suite: max(ours.releases.get(suite, ""), theirs.releases.get(suite, "")) for suite in suites},
    )
    for package in disputed:
        both = both.without(package)
    return both, disputed


def _differing(ours: Mapping[Key, Entry], theirs: Mapping[Key, Entry]) -> set[Key]:
    return {key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]}
