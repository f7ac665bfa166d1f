"""What of a file differs from what it was, where only whole tables of packages do. Pure.

A file of hundreds of packages of which one was edited is not read again as a whole: what stands before and behind the
edit is the same text, and so says the same.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nexis_eval.config import plain

_HEADER = re.compile(r"^\[\[packages\]\]$", re.MULTILINE)


class Excerpt(NamedTuple):
    """The tables that were replaced, and those in their stead."""

    before: list[dict[str, object]]
    after: list[dict[str, object]]


def differing(before: str, after: str) -> Excerpt | None:
    """What differs between two texts of a file; ``None`` if it may be more than tables of packages.

    The text that both have could mean something else behind an edit only if that opens a string or a list of several
    lines, and no edit that is plain does.
    """
    if any(quotes in text for quotes in ('"""', "'''") for text in (before, after)):
        return None
    same = _common(before, after)
    start = before.rfind("\n[[packages]]\n", 0, same) + 1
    if not start:
        return None
    left, right = before[start:], after[start:]
    behind = _common(left[::-1], right[::-1])
    # Behind the edit, the first table that both have as a whole.
    following = _HEADER.search(left, len(left) - behind)
    if following is not None:
        cut = len(left) - following.start()
        left, right = left[:-cut], right[:-cut]
        if not right.endswith("\n"):
            return None
    old, new = _tables(left), _tables(right)
    if old is None or new is None:
        return None
    return Excerpt(old, new)


def _tables(text: str) -> list[dict[str, object]] | None:
    if not text:
        return []
    values = plain.read(text)
    if values is None or values.keys() != {"packages"}:
        return None
    tables = values["packages"]
    return tables if isinstance(tables, list) else None


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with that are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
