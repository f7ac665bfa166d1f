"""What differs between two locks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nexis_eval.lock.model import Lock, LockedSource
from nexis_store.names import shown


def changed_packages(before: Lock, after: Lock) -> set[str]:
    """The packages whose entries are not the same."""
    tables: tuple[tuple[Mapping[Any, object], Mapping[Any, object]], ...] = (
        (before.sources, after.sources),
        (before.debian, after.debian),
        (before.requests, after.requests),
    )
    return {str(key[0]) for old, new in tables for key in {*old, *new} if old.get(key) != new.get(key)}


def changes(before: Lock, after: Lock) -> Iterator[str]:
    """What is different, in a line a package and field: the short form of a difference between two lock files."""
    return map(shown, _changes(before, after))


def _changes(before: Lock, after: Lock) -> Iterator[str]:
    for key in sorted({*before.sources, *after.sources}):
        old, new = before.sources.get(key), after.sources.get(key)
        if old == new:
            continue
        label = " ".join(filter(None, key))
        yield f"{label}: {_shown(old)} → {_shown(new)}" if old else f"{label}: {_shown(new)}"
    for name, arch in sorted({*before.debian, *after.debian}):
        old_debs = {each.name: each.version for each in before.debian.get((name, arch), ())}
        new_debs = {each.name: each.version for each in after.debian.get((name, arch), ())}
        if not old_debs:
            yield f"{name} {arch}: {len(new_debs)} Debian packages"
            continue
        for each in sorted({*old_debs, *new_debs}):
            was, now = old_debs.get(each, "none"), new_debs.get(each, "none")
            if was != now:
                yield f"{name} {arch}: {each} {was} → {now}"


def _shown(source: LockedSource | None) -> str:
    if source is None:
        return "gone"
    if source.absent:
        return "absent"
    pin = source.commit[:12] if source.commit else f"{source.algorithm}:{source.hash[:12]}…"
    return f"{source.version} ({pin})".lstrip()
