"""Fills ``nexis.lock``: downloads what has no hash yet, and chooses Debian packages from a signed index.

Only what is missing is resolved; what is pinned stays as it is until it is asked to be updated.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval.config.model import Config, Package
from nexis_eval.fetch.client import new_client, shown
from nexis_eval.fetch.url import download
from nexis_eval.lock.debian import Index, load_index
from nexis_eval.lock.model import Lock, LockedSource
from nexis_eval.mirrors import Mirrors
from nexis_eval.platforms import Platform, platform_named
from nexis_eval.templates import expand, fields_of
from nexis_eval.toolchain import Toolchain

if TYPE_CHECKING:
    import httpx

    from nexis_eval.lock.model import LockedDeb

PER_ARCH_FIELDS = frozenset({"arch", "debarch", "goarch", "triplet"})

Tell = Callable[[str], None]


def cache_directory() -> Path:
    """Where package indexes are kept: they are verified by hash at each use."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "nexis" / "debian"


class Resolver:
    """One run: a connection pool, the indexes read so far, the lock as it grows."""

    def __init__(self, lock: Lock, mirrors: Mirrors, client: httpx.AsyncClient, tell: Tell) -> None:
        self.lock = lock
        self._mirrors = mirrors
        self._client = client
        self._tell = tell
        self._indexes: dict[tuple[str, str], Index] = {}

    async def index(self, suite: str, arch: str) -> Index:
        """The index of a suite for one of Debian's architectures."""
        if (suite, arch) not in self._indexes:
            self._tell(f"reading the package index of Debian {suite} for {arch}")
            self._indexes[suite, arch] = await load_index(
                suite, arch, cache_directory(), mirrors=self._mirrors, client=self._client
            )
        return self._indexes[suite, arch]

    async def package(self, package: Package, platform: Platform) -> None:
        """Pin whatever of ``package`` is not pinned for ``platform``."""
        if package.debian and self.lock.debs(package.name, platform.arch) is None:
            await self._debian(package, platform)
        if package.source and not _is_pinned(package, package.hash, self.lock, "source", platform):
            await self._url(package, "source", package.source, platform)
        if package.prebuilt and not _is_pinned(package, package.prebuilt_hash, self.lock, "prebuilt", platform):
            await self._url(package, "prebuilt", package.prebuilt, platform)

    async def _debian(self, package: Package, platform: Platform) -> None:
        index = await self.index(package.debian_suite, platform.debian)
        wanted = [
            expand(each, name=package.name, version=package.version, platform=platform) for each in package.debian
        ]
        found = index.closure(wanted) if package.debian_closure else [index.package(each) for each in wanted]
        self.lock = self.lock.with_debs(package.name, platform.arch, tuple(each.lock() for each in found))
        self._tell(f"pinned {package.name} for {platform.arch}: {len(found)} Debian packages")

    async def _url(self, package: Package, field: str, templates: tuple[str, ...], platform: Platform) -> None:
        per_arch = any(PER_ARCH_FIELDS & fields_of(each) for each in templates)
        urls = tuple(expand(each, name=package.name, version=package.version, platform=platform) for each in templates)
        self._tell(f"downloading {shown(urls[0])}")
        with tempfile.TemporaryDirectory(prefix="nexis-lock-") as directory:
            digest, size = await download(urls[0], Path(directory) / "file", mirrors=self._mirrors, client=self._client)
        self.lock = self.lock.with_source(
            LockedSource(
                package=package.name,
                field=field,
                arch=platform.arch if per_arch else "",
                urls=urls,
                algorithm="sha256",
                hash=digest,
                size=size,
                version=package.version,
            )
        )
        self._tell(f"pinned the {field} of {package.name} {package.version}: {size:,} bytes")


def _is_pinned(package: Package, declared: str | None, lock: Lock, field: str, platform: Platform) -> bool:
    if declared is not None and package.version != "latest":
        return True
    return lock.source(package.name, field, platform.arch) is not None


async def resolve(
    configs: Sequence[Config],
    old: Lock,
    *,
    update: Collection[str] = (),
    mirrors: Mirrors,
    tell: Tell = lambda _: None,
) -> Lock:
    """The lock for ``configs`` (one an architecture): ``old``, and what it lacks.

    Entries of the packages in ``update`` are made anew; entries of packages that no longer exist are dropped. Raises
    ``FetchError`` and ``DebianIndexError``.
    """
    names = {name for config in configs for name in config.packages}
    lock = old
    for name in {key[0] for key in (*old.sources, *old.debian)}:
        if name in update or name not in names:
            lock = lock.without(name)
    async with new_client() as client:
        resolver = Resolver(lock, mirrors, client, tell)
        for config in configs:
            for package in config.packages.values():
                await resolver.package(package, platform_named(config.arch))
        return resolver.lock


async def resolve_toolchain(
    toolchain: Toolchain, *, mirrors: Mirrors, tell: Tell = lambda _: None
) -> dict[str, tuple[LockedDeb, ...]]:
    """The pins of every tool set: its closure, less what the sets it extends hold."""
    closures: dict[str, set[str]] = {}
    pins: dict[str, tuple[LockedDeb, ...]] = {}
    async with new_client() as client:
        resolver = Resolver(Lock(), mirrors, client, tell)
        for name in reversed(toolchain.with_extended(sorted(toolchain.sets))):
            toolset = toolchain.set(name)
            inherited = {each for base in toolchain.with_extended(toolset.extends) for each in closures[base]}
            index = await resolver.index(toolset.suite, toolset.arch)
            if toolset.closure:
                found = index.closure(toolset.packages, without=inherited)
            else:
                found = [index.package(each) for each in toolset.packages]
            closures[name] = {package.name for package in found}
            pins[name] = tuple(package.lock() for package in found)
            tell(f"pinned {name}: {len(found)} packages, {sum(package.size for package in found) / 1e6:.1f} MB")
    return pins
