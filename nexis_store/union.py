"""Merging artifacts into one: manifests are merged in memory, then every file is a hard link. No byte is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from nexis_store.digest import TreeDigest
from nexis_store.errors import Contested, PathConflictError
from nexis_store.ingest import Writer
from nexis_store.publish import Artifact, Host
from nexis_store.tree import DEFAULT, ManifestEntry


class Owned(NamedTuple):
    """What a path becomes, and the number of the part that it comes from."""

    entry: ManifestEntry
    part: int


def excluded(patterns: Sequence[str]) -> Callable[[str], object]:
    """Whether a path is, or lies below, what a shell pattern stands for: ``*`` and ``?`` end at a ``/``."""
    if not patterns:
        return lambda _: False
    parts = ("/".join(_component(each) for each in pattern.strip("/").split("/")) for pattern in patterns)
    return re.compile(f"(?:{'|'.join(parts)})(?:/.*)?", re.DOTALL).fullmatch


_WILD = re.compile(r"\*+|\?|\[(!?)([^]/!][^]/]*)\]")


def _component(pattern: str) -> str:
    """A regular expression for one component of a path. As in a shell, no wildcard stands for a leading dot."""
    text, end = "", 0
    for wild in _WILD.finditer(pattern):
        text += re.escape(pattern[end : wild.start()])
        end = wild.end()
        text += "[^/]*" if wild[0][0] == "*" else "[^/]" if wild[0][0] == "?" else _choice(wild[1], wild[2])
    text += re.escape(pattern[end:])
    return rf"(?!\.){text}" if pattern[:1] in ("*", "?", "[") else text


def _choice(negated: str, characters: str) -> str:
    """A set of characters; a range whose end is before its start is empty, as in a shell."""
    ranges = re.findall(r"(.)-(.)|(.)", characters, re.DOTALL)
    parts = [
        re.escape(one) if one else f"{re.escape(first)}-{re.escape(last)}"
        for first, last, one in ranges
        if one or first <= last
    ]
    if not parts:
        return "[^/]" if negated else "(?!)"
    return f"[^/{''.join(parts)}]" if negated else f"(?!/)[{''.join(parts)}]"


class Winners:
    """Who wins a path: what the longest of the prefixes says that it lies at or below."""

    def __init__(self, winners: Sequence[tuple[str, str]]) -> None:
        self._labels = {path.strip("/"): label for path, label in winners}

    def of(self, path: str) -> str | None:
        """The label that wins ``path``."""
        while path:
            if path in self._labels:
                return self._labels[path]
            path = path.rpartition("/")[0]
        return self._labels.get("")


def merge(
    host: Host,
    parts: Sequence[tuple[str, TreeDigest]],
    *,
    winners: Sequence[tuple[str, str]],
    later_wins: bool,
    exclude: Sequence[str],
) -> tuple[dict[str, Owned], list[Contested]]:
    """Decide for every path whose entry it gets; the second value lists those for which nothing says that.

    Being later decides between two files, or two directories: a file never replaces a directory, and all below it,
    by its place in a list.
    """
    owned: dict[str, Owned] = {}
    several: set[str] = set()
    unlike: set[str] = set()
    hidden = excluded(exclude)
    wins = Winners(winners)
    for number, (_, digest) in enumerate(parts):
        for entry in host.manifest(digest).entries():
            path = entry.path
            if hidden(path):
                continue
            there = owned.get(path)
            if there is None:
                owned[path] = Owned(entry, number)
            elif there.entry.same_content(entry):
                continue
            elif there.entry.kind == entry.kind == "d" and DEFAULT in (there.entry.attributes, entry.attributes):
                if there.entry.attributes == DEFAULT:
                    owned[path] = Owned(entry, number)
            else:
                several.add(path)
                if (there.entry.kind == "d") != (entry.kind == "d"):
                    unlike.add(path)
                elif later_wins:
                    owned[path] = Owned(entry, number)
    chosen = {path: wins.of(path) for path in sorted(several)}
    undecided = [path for path, winner in chosen.items() if winner is not None or not later_wins or path in unlike]
    contested = []
    for path, claims in _claims(host, undecided, parts).items():
        won = next((each for each in claims if parts[each.part][0] == chosen[path]), None)
        if won is not None:
            owned[path] = won
        elif not later_wins or path in unlike:
            contested.append(Contested(path, tuple(dict.fromkeys(parts[each.part][0] for each in claims))))
    _drop_covered(owned)
    # What lies below a directory that lost is not asked for.
    return owned, [each for each in contested if each.path in owned]


def _claims(host: Host, paths: Sequence[str], parts: Sequence[tuple[str, TreeDigest]]) -> dict[str, list[Owned]]:
    """What the parts have at each path, in their order."""
    claims: dict[str, list[Owned]] = {path: [] for path in paths}
    for number, (_, digest) in enumerate(parts if paths else ()):
        manifest = host.manifest(digest)
        for path in paths:
            entry = manifest.get(path)
            if entry is not None:
                claims[path].append(Owned(entry, number))
    return claims


def _drop_covered(owned: dict[str, Owned]) -> None:
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
    """Write the merged tree; raises ``PathConflictError`` that names every path which several parts claim."""
    for _, digest in parts:
        host.session.protect(digest)
    host.database.pass_by()
    merged, contested = merge(host, parts, winners=winners, later_wins=later_wins, exclude=exclude)
    if contested:
        raise PathConflictError(name, contested)
    places = {digest: str(host.path(digest)) for _, digest in parts}
    with Writer(host, name) as writer:
        for path, (entry, part) in merged.items():
            digest = parts[part][1]
            writer.adopt(path, entry, f"{places[digest]}/{path}")
        return writer.commit(references)
