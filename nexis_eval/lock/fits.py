"""Whether what is pinned is still what the configuration asks for. Pure.

A lock entry made for another version, another URL or another list of Debian packages counts as absent: nothing stale is
ever built.
"""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.config.model import Package
from nexis_eval.config.values import is_placeholder
from nexis_eval.lock.model import LockedSource
from nexis_eval.platforms import Platform
from nexis_eval.templates import ARCH_NAMES, expand, fields_of

LATEST = "latest"


def templates_of(package: Package, field: str) -> tuple[str, ...]:
    """The URLs of a field (``source`` or ``prebuilt``) as configured."""
    return package.source if field == "source" else package.prebuilt


def declared_hash_of(package: Package, field: str) -> str | None:
    """The hash of a field as configured; a placeholder (``sha256:abc…``) pins nothing, so the lock has to."""
    text = package.hash if field == "source" else package.prebuilt_hash
    return None if text is None or is_placeholder(text) else text


def arch_names(package: Package, field: str, platform: Platform) -> tuple[str, ...]:
    """What ``{arch}`` may stand for; one empty name where no URL uses it."""
    if any("arch" in fields_of(each) for each in templates_of(package, field)):
        return ARCH_NAMES[platform.arch]
    return ("",)


def urls_of(
    package: Package, field: str, platform: Platform, *, version: str, tag: str = "", arch_name: str = ""
) -> tuple[str, ...]:
    """The URLs of a field, filled in."""
    return tuple(
        expand(each, name=package.name, version=version, tag=tag, platform=platform, arch_name=arch_name)
        for each in templates_of(package, field)
    )


def _possible_urls(package: Package, field: str, platform: Platform, locked: LockedSource) -> Iterator[tuple[str, ...]]:
    for name in arch_names(package, field, platform):
        yield urls_of(package, field, platform, version=locked.version, tag=locked.tag, arch_name=name)


def source_fits(package: Package, field: str, platform: Platform, locked: LockedSource) -> bool:
    """Whether a lock entry is for the version and the URLs that the configuration names now."""
    if package.version not in (LATEST, locked.version):
        return False
    return locked.urls in _possible_urls(package, field, platform, locked)


def debian_request(package: Package, platform: Platform) -> str:
    """What is asked of Debian, as one line: kept in the lock, to see whether it changed."""
    wanted = (expand(each, name=package.name, version=package.version, platform=platform) for each in package.debian)
    return " ".join((package.debian_suite, "closure" if package.debian_closure else "only", *wanted))
