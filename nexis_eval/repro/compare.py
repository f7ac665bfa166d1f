"""Compares two trees by their Merkle hashes: every path that differs, each opened as far as its format is known."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nexis_eval.repro.causes import judge, judge_view
from nexis_eval.repro.content.base import Data
from nexis_eval.repro.evidence import of_field, of_lines
from nexis_eval.repro.findings import Cause, Difference, Evidence, Strength, View
from nexis_eval.repro.opening import open_pair
from nexis_eval.repro.surroundings import UNKNOWN_SIDES, Sides
from nexis_store.digest import FileDigest
from nexis_store.tree import Manifest, ManifestEntry

KINDS = {"f": "file", "d": "directory", "l": "symlink"}
MAX_OPENED = 500
"""Differing files beyond this number are listed, not opened."""
MAX_FETCHED_BYTES = 1 << 30
"""Larger files are not brought here to be opened: that they differ is known from their digests."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One side: what is in the tree, and where its files are, if they are here (records know digests only)."""

    manifest: Manifest
    root: Path | None = None
    fetch: Callable[[FileDigest], Path | None] | None = None
    """Brings a single file here, where the tree as a whole is elsewhere; ``None`` if it cannot be had."""

    def file(self, path: str) -> Path | None:
        """A file of the tree on this machine's disk, if it can be had."""
        if self.root is not None:
            return self.root / path
        entry = self.manifest.get(path)
        if self.fetch is None or entry is None or entry.digest is None or entry.size > MAX_FETCHED_BYTES:
            return None
        return self.fetch(entry.digest)


def compare_trees(before: Tree, after: Tree, sides: Sides = UNKNOWN_SIDES) -> tuple[Difference, ...]:
    """Every difference, in the order of paths; nothing if the digests are equal."""
    if before.manifest.digest == after.manifest.digest:
        return ()
    found: list[Difference] = []
    renamed = _renamed(before.manifest, after.manifest)
    old_names, new_names = set(renamed), set(renamed.values())
    for path in _changed_paths(before.manifest, after.manifest):
        if _below(path, old_names) or _below(path, new_names) or path in new_names:
            continue
        if path in renamed:
            found.append(_rename(path, renamed[path], before, after, sides))
        else:
            found += _differences(path, before, after, sides, opened=len(found) < MAX_OPENED)
    return tuple(found)


def _below(path: str, directories: set[str]) -> bool:
    if not directories:
        return False
    cut = path.rfind("/")
    while cut > 0:
        if path[:cut] in directories:
            return True
        cut = path.rfind("/", 0, cut)
    return False


def _renamed(before: Manifest, after: Manifest) -> dict[str, str]:
    """Names that changed: each side has one entry more of a kind in a directory, as with a date in a file's name."""
    gone, come = _only_in(before, after), _only_in(after, before)
    return {old[0]: come[place][0] for place, old in gone.items() if len(old) == 1 and len(come.get(place, ())) == 1}


def _only_in(one: Manifest, other: Manifest) -> dict[tuple[str, str], list[str]]:
    """The topmost entries that ``other`` lacks, by directory and kind."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in one.entries():
        parent = entry.path.rpartition("/")[0]
        if other.get(entry.path) is None and (not parent or other.get(parent) is not None):
            found.setdefault((parent, entry.kind), []).append(entry.path)
    return found


def _rename(path: str, other: str, before: Tree, after: Tree, sides: Sides) -> Difference:
    old, new = (each.rpartition("/")[2] for each in (path, other))
    view = View("name", "field", old, new, evidence=tuple(of_lines(old, new, sides)))
    entry, moved = before.manifest.get(path), after.manifest.get(other)
    if entry and moved and entry.digest != moved.digest:
        first, second = before.file(path), after.file(other)
        content = open_files(path, first, second, sides) if first and second else None
        view = View("name and content", "member", parts=(view, content)) if content else view
    return Difference(path, "name", old, new, view, judge(tuple(view.all_evidence())))


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
    places = (before.file(path), after.file(path)) if opened else (None, None)
    view = open_files(path, places[0], places[1], sides) if places[0] and places[1] else None
    first, *more = judge_view(view)
    sizes = [f"{each.size} bytes {each.digest}" for each in (old, new)]
    return Difference(path, "content", sizes[0], sizes[1], view, first, tuple(more))


def open_files(title: str, before: Path, after: Path, sides: Sides = UNKNOWN_SIDES) -> View | None:
    """What differs between two files on disk; ``None`` if nothing does."""
    return open_pair(title, read_file(before), read_file(after), sides)


def read_file(path: Path) -> Data:
    """A file's bytes, mapped rather than read."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
