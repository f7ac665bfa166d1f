"""Paths that a configuration names and that must be in the system: shells, commands of services."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nexis_store.errors import NexisError, Place
from nexis_store.tree import Manifest

_MAX_LINKS = 40


class MissingPathError(NexisError):
    """The configuration names a program that no package of the system has.

    The shell of a user, or the command of a service: correct the path, or declare the package that has it. What is made
    when the system runs (below ``/run``, ``/var``, ``/home`` …) is not looked at.
    """

    code = "B0006"
    exit_code = 2


def check_required(
    manifest: Manifest, required: Sequence[tuple[str, str]], place: Callable[[str], Place | None]
) -> None:
    """Raise ``MissingPathError`` with all of ``required`` (paths with their keys) that a tree does not have."""
    missing = [(path, key) for path, key in required if not has(manifest, path)]
    if not missing:
        return
    first = place(missing[0][1])
    lines = [f"'{key}' is {path}, which no package of the system has" for path, key in missing]
    for number, (_, key) in enumerate(missing[1:], 1):
        lines[number] = f"{place(key)}: {lines[number]}"
    raise MissingPathError(
        "\n".join(lines), hint="correct the path, or add the package that has it ([[packages]])", place=first
    )


def has(manifest: Manifest, path: str) -> bool:
    """Whether a tree has a path, through its symbolic links."""
    pending = [part for part in reversed(path.split("/")) if part]
    at: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part in (".", ""):
            continue
        if part == "..":
            at = at[:-1]
            continue
        entry = manifest.get("/".join((*at, part)))
        if entry is None:
            return False
        if entry.target is not None:
            links += 1
            if links > _MAX_LINKS:
                return False
            at = [] if entry.target.startswith("/") else at
            pending += [each for each in reversed(entry.target.split("/")) if each]
        else:
            at.append(part)
    return True
