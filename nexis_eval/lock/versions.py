"""Versions as upstreams write them: in tags, in file names, in order. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

PRERELEASE = re.compile(
    r"(?:^|[^a-z])(?:alpha|beta|rc|pre|preview|dev|snapshot|nightly|test|testing|canary|next)(?![a-z])|\d[ab]\d", re.I
)
_TAG = re.compile(r"([^0-9]*)(\d.*)")
_PARTS = re.compile(r"\d+|[a-zA-Z]+")


def is_prerelease(version: str) -> bool:
    """Whether a version says of itself that it is not finished."""
    return PRERELEASE.search(version) is not None


def split_tag(tag: str) -> tuple[str, str] | None:
    """Prefix and version of a tag: ``v1.2`` → ``("v", "1.2")``, ``curl-8_9_1`` → ``("curl-", "8.9.1")``.

    ``None`` for a tag without digits.
    """
    match = _TAG.fullmatch(tag)
    if match is None:
        return None
    prefix, version = match.groups()
    if "." not in version:
        version = re.sub(r"(?<=\d)_(?=\d)", ".", version)
    return prefix, version


def sort_key(version: str) -> list[tuple[int, int, str]]:
    """Puts versions in the order of their release: numbers count as numbers, letters after a number come later."""
    return [(1, int(part[:1000]), "") if part.isdigit() else (0, 0, part) for part in _PARTS.findall(version)]


def newest(versions: Collection[str]) -> str | None:
    """The newest finished version; the newest of all where none is finished."""
    finished = [each for each in versions if not is_prerelease(each)]
    return max(finished or versions, key=sort_key, default=None)


def newest_tag(tags: Iterable[str], name: str) -> tuple[str, str] | None:
    """Version and tag of the newest release among ``tags`` of the project ``name``.

    Repositories may tag several things. The project itself is tagged with its name, with ``v`` or with nothing before
    the version; failing that, the prefix that most tags have counts.
    """
    groups: dict[str, dict[str, str]] = {}
    for tag in tags:
        parts = split_tag(tag)
        if parts is not None:
            groups.setdefault(parts[0], {})[parts[1]] = tag
    if not groups:
        return None
    own = (f"{name}-", f"{name}-v", f"{name}_", f"{name}/", f"{name}/v", "v", "")
    prefix = next((each for each in own if each in groups), None)
    if prefix is None:
        prefix = max(groups, key=lambda each: (len(groups[each]), each))
    version = newest(groups[prefix])
    assert version is not None
    return version, groups[prefix][version]


def tag_of(version: str, tags: Collection[str], name: str) -> str | None:
    """The tag that stands for ``version``."""
    for candidate in (version, f"v{version}", f"{name}-{version}", f"{name}-v{version}"):
        if candidate in tags:
            return candidate
    found = sorted(tag for tag in tags if (parts := split_tag(tag)) is not None and parts[1] == version)
    return found[0] if found else None
