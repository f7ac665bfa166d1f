"""Compares two trees by their Merkle hashes: every path that differs, each opened as far as its format is known."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nexis_eval.repro.causes import judge
from nexis_eval.repro.content.base import Data
from nexis_eval.repro.evidence import of_field
from nexis_eval.repro.findings import Cause, Difference, Evidence, Strength, View
from nexis_eval.repro.opening import open_pair
from nexis_eval.repro.surroundings import UNKNOWN_SIDES, Sides
from nexis_store.tree import Manifest, ManifestEntry

KINDS = {"f": "file", "d": "directory", "l": "symlink"}
MAX_OPENED = 500
"""Differing files beyond this number are listed, not opened."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One side: what is in the tree, and where its files are, if they are here (records know digests only)."""

    manifest: Manifest
    root: Path | None = None


def compare_trees(before: Tree, after: Tree, sides: Sides = UNKNOWN_SIDES) -> tuple[Difference, ...]:
    """Every difference, in the order of paths; nothing if the digests are equal."""
    if before.manifest.digest == after.manifest.digest:
        return ()
    found: list[Difference] = []
    for path in _changed_paths(before.manifest, after.manifest):
        found += _differences(path, before, after, sides, opened=len(found) < MAX_OPENED)
    return tuple(found)


def _changed_paths(before: Manifest, after: Manifest) -> Iterator[str]:
    # Two sorted lists, merged; equal entries drop out at the price of a tuple comparison.
    first = {entry.path: entry for entry in before.entries()}
    second = {entry.path: entry for entry in after.entries()}
    for path in sorted({*first, *second}):
        if first.get(path) != second.get(path):
            yield path


def _differences(path: str, before: Tree, after: Tree, sides: Sides, *, opened: bool) -> Iterator[Difference]:
    old, new = before.manifest.get(path), after.manifest.get(path)
    if old is None or new is None:
        entry = old or new
        assert entry is not None
        kind = KINDS[entry.kind]
        evidence = [Evidence(Cause.UNKNOWN, Strength.HINT, f"only one of the two has this {kind}")]
        evidence += of_field("name", path if old else "", path if new else "", sides)
        change = "removed" if new is None else "added"
        yield Difference(path, change, kind if old else "", kind if new else "", verdict=judge(evidence))
        return
    if old.kind != new.kind:
        yield Difference(path, "kind", KINDS[old.kind], KINDS[new.kind], verdict=judge(()))
        return
    if old.target != new.target:
        yield _value(path, "target", old.target or "", new.target or "", sides)
    if old.mode != new.mode:
        yield _value(path, "mode", f"{old.mode:04o}", f"{new.mode:04o}", sides)
    owners = [f"{each.attributes.owner}:{each.attributes.group}" for each in (old, new)]
    if owners[0] != owners[1]:
        yield _value(path, "owner", owners[0], owners[1], sides)
    if old.attributes.xattrs != new.attributes.xattrs:
        shown = [" ".join(f"{name}={value.hex()}" for name, value in each.attributes.xattrs) for each in (old, new)]
        yield _value(path, "attributes", shown[0], shown[1], sides)
    if old.digest != new.digest:
        yield _content(path, old, new, before, after, sides, opened=opened)


def _value(path: str, change: str, before: str, after: str, sides: Sides) -> Difference:
    evidence = of_field(change, before, after, sides)
    view = View(change, "field", before, after, evidence=tuple(evidence))
    return Difference(path, change, before, after, view, judge(evidence))


def _content(
    path: str, old: ManifestEntry, new: ManifestEntry, before: Tree, after: Tree, sides: Sides, *, opened: bool
) -> Difference:
    view = None
    if opened and before.root is not None and after.root is not None:
        view = open_files(path, before.root / path, after.root / path, sides)
    evidence = tuple(view.all_evidence()) if view else ()
    return Difference(
        path, "content", f"{old.size} bytes {old.digest}", f"{new.size} bytes {new.digest}", view, judge(evidence)
    )


def open_files(title: str, before: Path, after: Path, sides: Sides = UNKNOWN_SIDES) -> View | None:
    """What differs between two files on disk; ``None`` if nothing does."""
    return open_pair(title, read_file(before), read_file(after), sides)


def read_file(path: Path) -> Data:
    """A file's bytes, mapped rather than read."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
