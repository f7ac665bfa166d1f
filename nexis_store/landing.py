"""From a directory that a build left behind to an artifact: the landing rules of ``docs/formats/landing.md``."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping

from nexis_store import fs
from nexis_store.digest import TreeDigest
from nexis_store.errors import StoreError
from nexis_store.ingest import Writer
from nexis_store.names import decode
from nexis_store.publish import Artifact
from nexis_store.tree import DEFAULT, Attributes

MERGED = frozenset(("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"))
"""Top-level directories that are symlinks into ``usr`` in a system."""

BUILD_PATHS = ("/build", "/out", "/in")
"""Directories that exist only while a build runs."""

SHARED_INDEXES = frozenset(("usr/share/info/dir",))
"""Files that every package would write and none may own."""


def merge_usr(path: str) -> str:
    """Where ``path`` lies when /bin, /sbin and /lib* are merged into /usr."""
    top = path.partition("/")[0]
    return f"usr/{path}" if top in MERGED else path


def normal_path(path: str) -> str | None:
    """Resolve ``.`` and ``..`` in a path relative to the tree's root; ``None`` if it climbs out."""
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def merged_target(path: str, target: str) -> str:
    """The target of the symlink ``path`` after both ends were moved by ``merge_usr``."""
    place = merge_usr(path)
    if target.startswith("/") or ".." not in target or place == path:
        return target
    goal = normal_path(f"{path.rpartition('/')[0]}/{target}")
    if goal is None:
        return target
    here = place.split("/")[:-1]
    there = merge_usr(goal).split("/")
    common = 0
    while common < min(len(here), len(there)) and here[common] == there[common]:
        common += 1
    return "/".join([".."] * (len(here) - common) + there[common:])


def is_merge_link(path: str, target: str) -> bool:
    """Whether this is one of the links (``/lib64`` to ``usr/lib64``) that make the merge."""
    return path in MERGED and target.strip("/") == f"usr/{path}"


def land(
    writer: Writer,
    directory: str,
    *,
    attributes: Mapping[str, Attributes],
    normalise: bool,
    references: Iterable[TreeDigest],
    move: bool,
) -> Artifact:
    """Bring the tree below ``directory`` into ``writer`` and commit it."""
    unused = dict(attributes)
    files: list[tuple[str, str, Attributes]] = []
    undeclared: list[str] = []
    for path, entry in _walk(directory):
        if entry.is_symlink():
            _land_symlink(writer, path, decode(os.fsencode(os.readlink(entry.path))), unused, normalise)
            continue
        place = merge_usr(path) if normalise else path
        if normalise and place in SHARED_INDEXES:
            continue
        given = unused.pop(place, None)
        if entry.is_dir(follow_symlinks=False):
            writer.directory(place, given or DEFAULT)
        elif entry.is_file(follow_symlinks=False):
            if not move:
                files.append((place, entry.path, given or DEFAULT))
                undeclared.append("" if given is not None else path)
                continue
            status = entry.stat(follow_symlinks=False)
            if normalise and given is None:
                _check_mode(writer.name, path, place, status.st_mode)
            if not status.st_mode & 0o400:
                # A program that only root may read, as the build made it: ours now, all the same.
                fs.finish_path(entry.path, 0o600)
            writer.take(place, entry.path, executable=bool(status.st_mode & 0o111), attributes=given or DEFAULT)
        else:
            raise StoreError(
                f"{writer.name}: {path} is a device, socket or fifo, which no artifact can hold",
                hint="remove it first; devices of a system are declared in its configuration",
            )
    for path, (place, _, _), mode in zip(undeclared, files, writer.files(files), strict=True):
        if normalise and path:
            _check_mode(writer.name, path, place, mode)
    if unused:
        raise StoreError(
            f"{writer.name}: attributes are declared for {', '.join(sorted(unused))}, which the tree does not have",
            hint="correct the path, or make the build install it",
        )
    return writer.commit(references)


def _check_mode(name: str, path: str, place: str, mode: int) -> None:
    if mode & 0o7000:
        raise StoreError(
            f"{name}: {path} has the special permission bits {stat.S_IMODE(mode):04o}",
            hint=f"declare what it should have: attributes = {{ '{place}' = {{ mode = 0o4755 }} }}",
        )


def _land_symlink(writer: Writer, path: str, target: str, unused: dict[str, Attributes], normalise: bool) -> None:
    place = path
    if normalise and not is_merge_link(path, target):
        for place_of_build in BUILD_PATHS:
            if target == place_of_build or target.startswith(place_of_build + "/"):
                raise StoreError(
                    f"{writer.name}: the symlink {path} points to {target}, which exists only during the build",
                    hint="make it relative, or point it to where the target is installed",
                )
        place, target = merge_usr(path), merged_target(path, target)
    writer.symlink(place, target, unused.pop(place, DEFAULT))


def _walk(directory: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every entry below a directory with its path in the tree, parents first, in order."""
    pending = [(directory, "")]
    while pending:
        place, prefix = pending.pop()
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        below: list[tuple[str, str]] = []
        for entry in entries:
            name = entry.name
            path = prefix + (name if name.isascii() else decode(os.fsencode(name)))
            yield path, entry
            if entry.is_dir(follow_symlinks=False):
                below.append((entry.path, path + "/"))
        pending.extend(reversed(below))
