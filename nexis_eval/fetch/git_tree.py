"""The files of a commit, written out within bounds.

A few kilobytes of a hostile repository can name a tree with more entries than there are atoms, a path that no system
call takes, or the same large file a million times over. What a repository may have is limited here, in words.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from nexis_eval.fetch.git_pack import MappedFile, PackError, write_once
from nexis_eval.fetch.headers import said

FILE, EXECUTABLE, SYMLINK, DIRECTORY, SUBMODULE = 0o100000, 0o100755, 0o120000, 0o40000, 0o160000
MAX_ENTRIES = 2_000_000
MAX_DEPTH = 256
MAX_PATH_BYTES = 3000
"""Of a path inside the repository: with what comes before, the system takes 4,095."""
MAX_NAME_BYTES = 255
MAX_LINK_BYTES = 4095
MAX_COPIED_BYTES = 4 << 30
"""Of files that are in several places of a tree: each has its own copy on disk."""
MAX_TREES_BYTES = 1 << 30
MAX_SUBMODULES = 1000
_MODE = re.compile(rb"[0-7]{5,6}").fullmatch


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a tree is when it is written out: what is in it several times counts as often."""

    entries: int = 0
    size: int = 0
    """Of its files, in bytes."""
    depth: int = 0
    path_bytes: int = 0
    """Of the longest path."""
    submodules: int = 0


@dataclass(slots=True)
class Allowance:
    """What a repository may still have, its submodules included."""

    entries: int = field(default_factory=lambda: MAX_ENTRIES)
    copied_bytes: int = field(default_factory=lambda: MAX_COPIED_BYTES)
    submodules: int = field(default_factory=lambda: MAX_SUBMODULES)

    def take(self, extent: Extent, unique_bytes: int) -> None:
        """Count a tree before it is written; raises ``PackError`` if it is too much."""
        self.entries -= extent.entries
        self.copied_bytes -= extent.size - unique_bytes
        self.submodules -= extent.submodules
        if extent.depth > MAX_DEPTH:
            raise PackError(f"its directories are more than {MAX_DEPTH} deep")
        if extent.path_bytes > MAX_PATH_BYTES:
            raise PackError(f"it has a path of {extent.path_bytes:,} bytes, {MAX_PATH_BYTES:,} are possible")
        if self.entries < 0:
            raise PackError(f"it has more than {MAX_ENTRIES:,} files and directories")
        if self.copied_bytes < 0:
            raise PackError(f"it repeats its files to more than {MAX_COPIED_BYTES:,} bytes")
        if self.submodules < 0:
            raise PackError(f"it has more than {MAX_SUBMODULES:,} submodules")


@dataclass(slots=True)
class Objects:
    """What a pack held of a commit: trees in memory, the contents of files in a directory under their names."""

    directory: Path
    commit: str
    trees: dict[str, bytes] = field(default_factory=dict)
    commits: dict[str, bytes] = field(default_factory=dict)
    placed: dict[str, Path] = field(default_factory=dict)
    trees_bytes: int = 0

    def take(self, name: str, kind: bytes, content: bytes | MappedFile) -> None:
        """Keep one object; raises ``PackError``."""
        if kind == b"blob":
            if isinstance(content, MappedFile):
                content.link(self.directory / name)
            else:
                write_once(self.directory, name, content)
            return
        if isinstance(content, MappedFile):
            raise PackError(f"a {kind.decode()} of {content.size:,} bytes is too large")
        if kind == b"tree":
            self.trees[name] = content
            self.trees_bytes += len(content)
            if self.trees_bytes > MAX_TREES_BYTES:
                raise PackError(f"its directories take more than {MAX_TREES_BYTES:,} bytes")
        elif kind == b"commit" and name == self.commit:
            self.commits[name] = content

    def file(self, name: str) -> Path:
        """Where the content of a file is; raises ``PackError`` if it is missing."""
        path = self.placed.get(name, self.directory / name)
        if not path.exists():
            raise PackError(f"the server left out object {name}")
        return path

    def place(self, name: str, target: Path) -> None:
        """Put the content of a file where it belongs."""
        source = self.file(name)
        if name in self.placed:
            shutil.copyfile(source, target)
        else:
            source.rename(target)
            self.placed[name] = target


def tree_entries(content: bytes, raw: int) -> list[tuple[int, bytes, str]]:
    """Mode, name and object of each entry of a tree (gitformat: ``MODE NAME\\0OBJECT``); raises ``PackError``."""
    found, position, seen = [], 0, set()
    while position < len(content):
        end = content.find(b"\0", position)
        mode, space, name = content[position:end].partition(b" ")
        position = end + 1 + raw
        if end < 0 or not space or position > len(content) or not _MODE(mode):
            raise PackError("a tree is damaged")
        shown = repr(said(name.decode(errors="replace")))
        if name in (b"", b".", b"..") or b"/" in name or name.lower() == b".git":
            raise PackError(f"a tree has an entry called {shown}, which no repository may have")
        if len(name) > MAX_NAME_BYTES:
            raise PackError(f"a tree has a name of {len(name):,} bytes, {MAX_NAME_BYTES} are possible: {shown}")
        if name in seen:
            raise PackError(f"a tree has two entries called {shown}")
        seen.add(name)
        found.append((int(mode, 8), name, content[end + 1 : position].hex()))
    return found


def extent_of(objects: Objects, root: str, raw: int) -> tuple[Extent, int]:
    """How much the tree ``root`` is, and the bytes of its different files; raises ``PackError``.

    Each tree is counted once, wherever it is used: a bomb is found out before anything is written.
    """
    extents: dict[str, Extent] = {}
    sizes: dict[str, int] = {}
    pending = [root]
    while pending:
        tree = pending[-1]
        if tree in extents:
            pending.pop()
            continue
        if tree not in objects.trees:
            raise PackError(f"the server left out tree {said(tree)}")
        entries = tree_entries(objects.trees[tree], raw)
        below = [name for mode, _, name in entries if mode == DIRECTORY and name not in extents]
        if below:
            pending += below
            continue
        total = Extent(entries=len(entries))
        for mode, raw_name, name in entries:
            part = Extent()
            if mode == DIRECTORY:
                part = extents[name]
            elif mode & 0o170000 in (FILE, SYMLINK):
                if name not in sizes:
                    sizes[name] = objects.file(name).stat().st_size
                part = Extent(size=sizes[name])
            elif mode == SUBMODULE:
                part = Extent(submodules=1)
            total = Extent(
                total.entries + part.entries,
                total.size + part.size,
                max(total.depth, part.depth + 1),
                max(total.path_bytes, part.path_bytes + len(raw_name) + 1),
                total.submodules + part.submodules,
            )
        extents[tree] = total
    return extents[root], sum(sizes.values())


def write_tree(objects: Objects, target: Path, allowance: Allowance) -> dict[str, str]:
    """Write out the files of a commit; returns path → commit of its submodules. Raises ``PackError``."""
    commit = objects.commit
    if commit not in objects.commits:
        raise PackError(f"the server did not send commit {commit}")
    head, _, _ = objects.commits[commit].partition(b"\n")
    root, raw = head.removeprefix(b"tree ").decode(errors="replace"), len(commit) // 2
    allowance.take(*extent_of(objects, root, raw))
    pending = [(root, "")]
    submodules: dict[str, str] = {}
    while pending:
        tree, within = pending.pop()
        (target / within).mkdir()
        for mode, raw_name, name in tree_entries(objects.trees[tree], raw):
            inside = f"{within}/{os.fsdecode(raw_name)}".removeprefix("/")
            path = target / inside
            if mode == DIRECTORY:
                pending.append((name, inside))
            elif mode == SUBMODULE:
                path.mkdir()
                submodules[inside] = name
            elif mode == SYMLINK:
                path.symlink_to(_link_target(objects.file(name), _shown(inside)))
            elif mode & 0o170000 == FILE:
                objects.place(name, path)
                path.chmod(0o755 if mode & 0o111 else 0o644)
            else:
                raise PackError(f"{_shown(inside)} has the unknown mode {mode:o}")
    return submodules


def _shown(path: str) -> str:
    return said(os.fsencode(path).decode(errors="replace"))


def _link_target(file: Path, shown: str) -> str:
    size = file.stat().st_size
    if size > MAX_LINK_BYTES:
        raise PackError(f"{shown} is a link to a name of {size:,} bytes, {MAX_LINK_BYTES:,} are possible")
    target = file.read_bytes()
    if not target or b"\0" in target:
        raise PackError(f"{shown} is a link to nowhere")
    return os.fsdecode(target)
