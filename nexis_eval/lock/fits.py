"""Whether what is pinned is still what the configuration asks for. Pure.

A lock entry made for another version, another URL or another list of Debian packages counts as absent: nothing stale is
ever built.
"""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.config.model import Package
from nexis_eval.config.values import is_placeholder
from nexis_eval.lock.model import Lock, LockedDeb, LockedSource
from nexis_eval.platforms import Platform
from nexis_eval.templates import ARCH_NAMES, expand, fields_of

LATEST = "latest"
_FOR = "for "


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


def scopes(platform: Platform, system: str, *, per_arch: bool) -> tuple[str, str]:
    """The ``arch`` of the lock entries for a package on ``platform`` in the system for the architecture ``system``.

    The second is the usual one. The first is for what only that system asks for, where others ask for something else:
    another version (``[[arch.NAME.packages]]``), or a package that runs during builds of it.
    """
    usual = platform.arch if per_arch else ""
    return f"{usual} {_FOR}{system}".lstrip(), usual


def platform_in(scope: str) -> str:
    """The architecture that an entry of the lock is for; empty where it serves all."""
    return scope.partition(_FOR)[0].rstrip()


def system_in(scope: str) -> str:
    """The architecture of the only system that an entry serves; empty where it serves all."""
    return scope.partition(_FOR)[2]


def entries(lock: Lock, package: Package, field: str, platform: Platform, system: str) -> Iterator[LockedSource]:
    """What the lock has about ``source`` or ``prebuilt``, the most particular first, whether it fits or not."""
    for per_arch in (True, False):
        for scope in scopes(platform, system, per_arch=per_arch):
            found = lock.sources.get((package.name, field, scope))
            if found is not None:
                yield found


def locked_source(lock: Lock, package: Package, field: str, platform: Platform, system: str) -> LockedSource | None:
    """The entry that pins ``source`` or ``prebuilt``, or says that there is none, as configured now."""
    found = entries(lock, package, field, platform, system)
    return next((each for each in found if source_fits(package, field, platform, each)), None)


def debian_scope(lock: Lock, package: Package, platform: Platform, system: str) -> str | None:
    """The scope of the entry for what a package asks of Debian now."""
    request = debian_request(package, platform)
    keys = ((package.name, scope) for scope in scopes(platform, system, per_arch=True))
    return next((key[1] for key in keys if key in lock.debian and lock.requests.get(key) == request), None)


def locked_debs(lock: Lock, package: Package, platform: Platform, system: str) -> tuple[LockedDeb, ...] | None:
    """The Debian packages that the lock has for what a package asks of Debian now."""
    scope = debian_scope(lock, package, platform, system)
    return None if scope is None else lock.debian[package.name, scope]
