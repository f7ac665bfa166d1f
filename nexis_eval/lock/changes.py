"""What differs between two locks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexis_eval.lock.model import Lock


def changed_packages(before: Lock, after: Lock) -> set[str]:
    """The packages whose entries are not the same."""
    tables: tuple[tuple[Mapping[Any, object], Mapping[Any, object]], ...] = (
        (before.sources, after.sources),
        (before.debian, after.debian),
        (before.requests, after.requests),
    )
    return {str(key[0]) for old, new in tables for key in {*old, *new} if old.get(key) != new.get(key)}
