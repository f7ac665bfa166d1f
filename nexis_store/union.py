"""Merging artifacts into one: manifests are merged in memory, then every file is a hard link. No byte is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nexis_store.digest import TreeDigest
from nexis_store.errors import ConflictError
from nexis_store.ingest import Writer
from nexis_store.publish import Artifact, Host
from nexis_store.tree import DEFAULT, ManifestEntry


class _Owned(NamedTuple):
    entry: ManifestEntry
    part: int


def _below(path: str, prefixes: Iterable[str]) -> bool:
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


def merge(
    host: Host,
    name: str,
    parts: Sequence[tuple[str, TreeDigest]],
    *,
    winners: Sequence[tuple[str, str]],
    later_wins: bool,
    exclude: Sequence[str],
) -> dict[str, tuple[ManifestEntry, TreeDigest]]:
    """Decide for every path whose entry it gets. Raises ``ConflictError`` naming the path and both parts."""
    owned: dict[str, _Owned] = {}
    hidden = tuple(prefix.strip("/") for prefix in exclude)
    wins = tuple((path.strip("/"), label) for path, label in winners)
    for number, (label, digest) in enumerate(parts):
        for entry in host.manifest(digest).entries():
            path = entry.path
            if hidden and _below(path, hidden):
                continue
            there = owned.get(path)
            if there is None or there.entry.same_content(entry):
                if there is None:
                    owned[path] = _Owned(entry, number)
                continue
            if there.entry.kind == entry.kind == "d" and DEFAULT in (there.entry.attributes, entry.attributes):
                if there.entry.attributes == DEFAULT:
                    owned[path] = _Owned(entry, number)
                continue
            winner = next((who for prefix, who in wins if _below(path, (prefix,))), None)
            if winner == label or (winner is None and later_wins):
                owned[path] = _Owned(entry, number)
            elif winner != parts[there.part][0]:
                other = parts[there.part][0]
                raise ConflictError(
                    f"{name}: both {other} and {label} have {path}",
                    hint=f"say which one wins, for example [conflicts] '/{path}' = '{label}', or remove one of them",
                )
    _drop_covered(owned)
    return {path: (each.entry, parts[each.part][1]) for path, each in owned.items()}


def _drop_covered(owned: dict[str, _Owned]) -> None:
    """Where a file won against a directory, nothing that lies below it can stay."""
    covered: set[str] = set()
    for path in sorted(owned, key=lambda path: path.split("/")):
        parent = path.rpartition("/")[0]
        if parent and (parent in covered or owned[parent].entry.kind != "d"):
            covered.add(path)
            del owned[path]


def union(
    host: Host,
    name: str,
    parts: Sequence[tuple[str, TreeDigest]],
    *,
    winners: Sequence[tuple[str, str]],
    later_wins: bool,
    exclude: Sequence[str],
    references: Iterable[TreeDigest],
) -> Artifact:
    """Write the merged tree."""
    for _, digest in parts:
        host.session.protect(digest)
    host.database.pass_by()
    merged = merge(host, name, parts, winners=winners, later_wins=later_wins, exclude=exclude)
    places = {digest: str(host.path(digest)) for _, digest in parts}
    with Writer(host, name) as writer:
        for path, (entry, digest) in merged.items():
            writer.adopt(path, entry, f"{places[digest]}/{path}")
        return writer.commit(references)
