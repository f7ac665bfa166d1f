"""Fills ``nexis.lock``: finds versions, downloads what has no hash yet, chooses Debian packages from a signed index.

Only what is missing is resolved; what is pinned stays as it is until it is asked to be updated.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval.config.hashes import HASH_KEYS
from nexis_eval.config.model import Config, Package
from nexis_eval.config.values import HASH_LENGTHS
from nexis_eval.fetch.client import FetchError, new_client, refuse_secrets, shown
from nexis_eval.fetch.git import check_out, is_git_url, plain_url, references
from nexis_eval.fetch.git_protocol import is_object_name
from nexis_eval.fetch.hashes import new_hasher
from nexis_eval.fetch.transfer import Received
from nexis_eval.fetch.unpacked import read_content
from nexis_eval.fetch.url import download
from nexis_eval.lock.agreement import check_agreement, comparable
from nexis_eval.lock.debian import Index, load_index
from nexis_eval.lock.fits import (
    LATEST,
    arch_names,
    debian_request,
    debian_scope,
    declared_hash_of,
    locked_source,
    scopes,
    system_in,
    templates_of,
    urls_of,
)
from nexis_eval.lock.model import Lock, LockedDeb, LockedSource, LockError
from nexis_eval.lock.plausible import see_that_it_is_whole
from nexis_eval.lock.upstream import TAGS, Release, latest
from nexis_eval.lock.versions import tag_of
from nexis_eval.mirrors import Mirrors
from nexis_eval.platforms import Platform, platform_named
from nexis_eval.templates import expand, fields_of
from nexis_eval.toolchain import Toolchain
from nexis_store.errors import NexisError
from nexis_store.hashing import tree_of_path
from nexis_store.homes import cache_directory
from nexis_store.suggest import near

if TYPE_CHECKING:
    import httpx

PER_ARCH_FIELDS = frozenset({"arch", "debarch", "goarch", "triplet"})
PARALLEL = 6
_SHORTENED = re.compile(r"[0-9a-f]{4,63}", re.IGNORECASE).fullmatch

Tell = Callable[[str], None]
Keep = Callable[[LockedSource, Path], None]
"""Takes what was downloaded to pin something, a file or a directory, out of the place that it is in."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What could be pinned, and what could not."""

    lock: Lock
    errors: tuple[NexisError, ...] = ()


class Resolver:
    """One run: a connection pool, what was read so far, the lock as it grows."""

    def __init__(
        self,
        lock: Lock,
        mirrors: Mirrors,
        client: httpx.AsyncClient,
        tell: Tell,
        keep: Keep | None = None,
        verified: Collection[str] = (),
        older_index: bool = False,
    ) -> None:
        """``verified`` are packages whose files are compared with the hashes of the configuration, too.

        With ``older_index`` a package index may have expired, or be older than the one the lock was made with.
        """
        self._sources = dict(lock.sources)
        self._debian = dict(lock.debian)
        self._requests = dict(lock.requests)
        self._mirrors = mirrors
        self._client = client
        self._tell = tell
        self._keep_download = keep
        self._verified = verified
        self._older_index = older_index
        self._indexes: dict[tuple[str, str], asyncio.Task[Index]] = {}
        self._dates = dict(lock.releases)
        self._releases: dict[str, Release] = {}
        self._live = Lock(self._sources, self._debian, self._requests)
        self._used: set[tuple[str, str, str]] = set()
        """Package, field and scope of the entries that something asked for in this run."""

    @property
    def lock(self) -> Lock:
        """The lock so far."""
        suites = {request.partition(" ")[0] for request in self._requests.values()}
        dates = {suite: date for suite, date in self._dates.items() if suite in suites}
        return Lock(dict(self._sources), dict(self._debian), dict(self._requests), dates)

    @property
    def dates(self) -> dict[str, str]:
        """When the package index of each suite was signed."""
        return dict(self._dates)

    async def index(self, suite: str, arch: str) -> Index:
        """The index of a suite for one of Debian's architectures; read once."""
        if (suite, arch) not in self._indexes:
            self._tell(f"reading the package index of Debian {suite} for {arch}")
            self._indexes[suite, arch] = asyncio.create_task(
                load_index(
                    suite,
                    arch,
                    cache_directory("debian"),
                    mirrors=self._mirrors,
                    client=self._client,
                    locked_date=self._dates.get(suite, ""),
                    any_date=self._older_index,
                )
            )
        index = await self._indexes[suite, arch]
        self._dates[suite] = index.date
        return index

    async def package(self, config: Config, package: Package, platform: Platform) -> None:
        """Pin what is not pinned of ``package`` for ``platform`` in the system ``config``; raises ``NexisError``."""
        system = config.arch
        for field in ("source", "prebuilt"):
            locked = self._fitting(package, field, platform, system)
            if locked is not None:
                check_agreement(config, package, locked)
        steps: list[tuple[str, Callable[[Package, Platform, str], Awaitable[None]]]] = []
        if package.debian and not self._debian_is_pinned(package, platform, system):
            steps.append(("debian", self._pin_debian))
        if package.source and not self._is_pinned(package, "source", platform, system):
            steps.append(("source", self._pin_source))
        if package.prebuilt and not self._is_pinned(package, "prebuilt", platform, system):
            steps.append(("prebuilt", self._pin_prebuilt))
        for key, step in steps:
            try:
                await step(package, platform, system)
            except NexisError as error:
                path = ("packages", package.name)
                key = error.key or key if isinstance(error, LockError) else key
                error.place = error.place or config.place((*path, key)) or config.place((*path, "name"))
                raise

    def _is_pinned(self, package: Package, field: str, platform: Platform, system: str) -> bool:
        locked = self._fitting(package, field, platform, system)
        if locked is not None:
            self._used.add((package.name, field, locked.arch))
            return comparable(package, locked)
        if platform.arch == system:
            for scope in (platform.arch, ""):
                if (package.name, field, scope) not in self._used:
                    self._sources.pop((package.name, field, scope), None)
        return (
            declared_hash_of(package, field) is not None
            and package.name not in self._verified
            and package.version != LATEST
            and not is_git_url(templates_of(package, field)[0])
        )

    def _fitting(self, package: Package, field: str, platform: Platform, system: str) -> LockedSource | None:
        """What pins a field, if it is for what the configuration names now."""
        return locked_source(self._live, package, field, platform, system)

    def _debian_is_pinned(self, package: Package, platform: Platform, system: str) -> bool:
        scope = debian_scope(self._live, package, platform, system)
        if scope is not None:
            self._used.add((package.name, "debian", scope))
        return scope is not None

    def _scope(self, package: Package, field: str, platform: Platform, system: str, *, per_arch: bool) -> str:
        """The ``arch`` of a new entry: the usual one, unless that serves another system."""
        own, usual = scopes(platform, system, per_arch=per_arch)
        if field == "debian":
            taken = (package.name, usual) in self._debian
        else:
            taken = (package.name, field, usual) in self._sources
        scope = usual
        if taken and ((package.name, field, usual) in self._used or platform.arch != system):
            scope = own
        self._used.add((package.name, field, scope))
        return scope

    def drop_unused(self, configs: Sequence[Config], failed: Collection[str]) -> None:
        """Drop the entries for one system alone, if it is one of ``configs`` and does not ask for them any more."""
        systems = {config.arch for config in configs}
        for name, field, scope in [*self._sources]:
            if system_in(scope) in systems and (name, field, scope) not in self._used and name not in failed:
                del self._sources[name, field, scope]
        for name, scope in [*self._debian]:
            if system_in(scope) in systems and (name, "debian", scope) not in self._used and name not in failed:
                del self._debian[name, scope]
                self._requests.pop((name, scope), None)

    async def _pin_debian(self, package: Package, platform: Platform, system: str) -> None:
        index = await self.index(package.debian_suite, platform.debian)
        names = [expand(each, name=package.name, version=package.version, platform=platform) for each in package.debian]
        found = index.closure(names) if package.debian_closure else [index.package(each) for each in names]
        key = package.name, self._scope(package, "debian", platform, system, per_arch=True)
        self._debian[key] = tuple(each.lock() for each in found)
        self._requests[key] = debian_request(package, platform)
        self._tell(f"pinned {package.name} for {platform.arch}: {len(found)} Debian packages")

    async def _release(self, package: Package, platform: Platform) -> Release:
        """Version and tag of a package: as configured, as pinned before for another field, or the latest."""
        if package.version != LATEST:
            return Release(package.version)
        if package.name not in self._releases:
            for (name, _, _), source in sorted(self._sources.items()):
                if name == package.name and source.version:
                    self._releases[name] = Release(source.version, source.tag)
                    return self._releases[name]
            self._tell(f"looking for the latest version of {package.name}")
            self._releases[package.name] = await latest(
                (*package.prebuilt, *package.source),
                name=package.name,
                platform=platform,
                mirrors=self._mirrors,
                client=self._client,
            )
        return self._releases[package.name]

    async def _pin_source(self, package: Package, platform: Platform, system: str) -> None:
        if is_git_url(package.source[0]):
            await self._pin_git(package, platform, system)
        else:
            await self._pin_url(package, "source", platform, system)

    async def _pin_prebuilt(self, package: Package, platform: Platform, system: str) -> None:
        try:
            await self._pin_url(package, "prebuilt", platform, system)
        except FetchError as error:
            if not (error.missing and package.fallback_to_source):
                raise
            release = await self._release(package, platform)
            urls = _urls(package, "prebuilt", platform, release)
            absence = LockedSource(
                package=package.name,
                field="prebuilt",
                arch=self._scope(package, "prebuilt", platform, system, per_arch=True),
                urls=urls,
                version=release.version,
                tag=release.tag,
                absent="upstream has no such file (404)",
            )
            await self._keep(absence)
            self._tell(
                f"{package.name} {release.version} has no prebuilt archive for {platform.arch} ({shown(urls[0])}): "
                "it will be built from source there"
            )

    async def _pin_url(self, package: Package, field: str, platform: Platform, system: str) -> None:
        release = await self._release(package, platform)
        per_arch = any(PER_ARCH_FIELDS & fields_of(each) for each in templates_of(package, field))
        before = self._fitting(package, field, platform, system)
        declared = declared_hash_of(package, field)
        algorithm = before.algorithm if before else (declared or "sha256").partition(":")[0]
        with tempfile.TemporaryDirectory(prefix="nexis-lock-") as directory:
            path = Path(directory) / "file"
            urls, received = await self._first_named(package, field, platform, release, algorithm, path)
            content = await asyncio.to_thread(read_content, path)
            others = await asyncio.to_thread(_other_hashes, path, algorithm)
            found = LockedSource(
                package=package.name,
                field=field,
                arch=before.arch if before else self._scope(package, field, platform, system, per_arch=per_arch),
                urls=urls,
                algorithm=algorithm,
                hash=received.hash,
                others=others,
                size=received.size,
                version=release.version,
                tag=release.tag,
                tree=content.tree,
            )
            see_that_it_is_whole(found, path, content)
            _see_that_it_is_meant(found, declared, before)
            if content.limitation:
                self._tell(
                    f"notice: {shown(urls[0])} is pinned by its hash alone, without the tree digest of what is in it: "
                    f"{content.limitation}"
                )
            if not received.announced and content.format is None:
                self._tell(
                    f"warning: the server of {shown(urls[0])} did not say where the file ends: {received.size:,} bytes "
                    "came. Compare its hash with what upstream publishes before you commit nexis.lock"
                )
            await self._keep(found, path)
        self._tell(f"pinned the {field} of {package.name} {release.version}: {received.size:,} bytes")

    async def _first_named(
        self,
        package: Package,
        field: str,
        platform: Platform,
        release: Release,
        algorithm: str,
        path: Path,
    ) -> tuple[tuple[str, ...], Received]:
        """Download with the first name of the architecture that upstream knows: its URLs, and how it came."""
        first: FetchError | None = None
        for arch_name in arch_names(package, field, platform):
            urls = _urls(package, field, platform, release, arch_name)
            self._tell(f"downloading {shown(urls[0])}")
            try:
                received = await download(urls, path, mirrors=self._mirrors, client=self._client, algorithm=algorithm)
            except FetchError as error:
                first = first or error
                if not error.missing:
                    raise
                continue
            return urls, received
        assert first is not None
        raise first

    async def _pin_git(self, package: Package, platform: Platform, system: str) -> None:
        release = await self._release(package, platform)
        written = _urls(package, "source", platform, release)
        _see_that_they_are_alike(written)
        urls = [each.partition("#")[0] for each in written]
        commit, tag = await self._commit(package, written, release)
        with tempfile.TemporaryDirectory(prefix="nexis-lock-") as directory:
            self._tell(f"fetching {commit[:12]} of {shown(plain_url(urls[0]))}")
            target = Path(directory) / "tree"
            submodules = await check_out(
                urls, commit, target, mirrors=self._mirrors, client=self._client, submodules=True
            )
            found = LockedSource(
                package=package.name,
                field="source",
                arch=self._scope(package, "source", platform, system, per_arch=False),
                urls=written,
                version=release.version,
                tag=tag,
                commit=commit,
                submodules=submodules,
                tree=(await asyncio.to_thread(tree_of_path, target)).digest,
            )
            await self._keep(found, target)
        self._tell(f"pinned the source of {package.name} {release.version}: commit {commit[:12]} {tag}".rstrip())

    async def _commit(self, package: Package, written: Sequence[str], release: Release) -> tuple[str, str]:
        """Commit and tag: what the URLs' fragment names, else the tag of the version, else the default branch."""
        url, _, fragment = written[0].partition("#")
        if is_object_name(fragment.lower()):
            return fragment.lower(), ""
        prefixes = ("HEAD", "refs/heads/", TAGS) if fragment else ("HEAD", TAGS)
        found = {
            each.name: each.commit
            for each in await references(written, prefixes, mirrors=self._mirrors, client=self._client)
        }
        if fragment:
            for name in (f"{TAGS}{fragment}", f"refs/heads/{fragment}"):
                if name in found:
                    return found[name], fragment if name.startswith(TAGS) else ""
            _see_that_it_is_not_shortened(url, fragment, set(found.values()))
            raise _no_reference(url, "tag or branch", fragment, found)
        tags = [name.removeprefix(TAGS) for name in found if name.startswith(TAGS)]
        tag = release.tag if release.tag in tags else tag_of(release.version, tags, package.name)
        if tag:
            return found[TAGS + tag], tag
        if release.version:
            raise _no_reference(url, "tag for version", release.version, found)
        if "HEAD" not in found:
            raise LockError(f"{shown(plain_url(url))} is an empty repository", hint="correct 'source'")
        return found["HEAD"], ""

    async def _keep(self, source: LockedSource, download: Path | None = None) -> None:
        self._sources[source.package, source.field, source.arch] = source
        if download is not None and self._keep_download is not None:
            await asyncio.to_thread(self._keep_download, source, download)


def _see_that_it_is_meant(found: LockedSource, declared: str | None, before: LockedSource | None) -> None:
    """Raise ``LockError`` if what was downloaded is not what is declared, or not what was pinned for the same URL."""
    url = shown(found.urls[0])
    if declared:
        algorithm, _, digest = declared.partition(":")
        now = f"{algorithm}:{found.digest(algorithm)}"
        if now != f"{algorithm}:{digest}":
            key = HASH_KEYS[found.field]
            raise LockError(
                f"'{key}' of '{found.package}' is of another file: the one at {url} has {now} now, "
                f"the configuration says {declared}",
                hint=f'where that is the file you mean, write {key} = "{now}"; if not, beware of it',
                key=key,
            )
    if before is not None and before.tree != found.tree:
        other = found.digest(before.algorithm)
        if other != before.hash:
            raise LockError(
                f"the file at {url} has the hash {before.algorithm}:{other}, nexis.lock has "
                f"{before.algorithm}:{before.hash}",
                hint=f"if upstream has released a new version, run 'nexis-eval lock --update {found.package}'; "
                "otherwise somebody may have tampered with the file: do not use it",
            )


def _other_hashes(path: Path, algorithm: str) -> tuple[str, ...]:
    """The hashes of a file by all other algorithms: whichever the configuration will declare can be compared."""
    hashers = {name: new_hasher(name) for name in sorted(HASH_LENGTHS) if name != algorithm}
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for each in hashers.values():
                each.update(block)
    return tuple(f"{name}:{each.hexdigest()}" for name, each in hashers.items())


def _urls(package: Package, field: str, platform: Platform, release: Release, arch_name: str = "") -> tuple[str, ...]:
    found = urls_of(package, field, platform, version=release.version, tag=release.tag, arch_name=arch_name)
    return tuple(map(refuse_secrets, found))


def _see_that_they_are_alike(urls: Sequence[str]) -> None:
    """Raise ``LockError`` unless all of ``urls`` are of repositories, and ask for the same of them."""
    for each in urls[1:]:
        if not is_git_url(each):
            raise LockError(
                f"{shown(plain_url(urls[0]))} is a repository, {shown(each)} is a file: neither can stand in",
                hint="give a package either repositories or files (git+https://… is a repository)",
            )
        if each.partition("#")[2] != urls[0].partition("#")[2]:
            raise LockError(
                f"{shown(urls[0])} and {shown(each)} ask for different commits of one source",
                hint="write the same after '#' in each URL",
            )


def _see_that_it_is_not_shortened(url: str, fragment: str, commits: Collection[str]) -> None:
    """Raise ``LockError`` for the beginning of a commit's name: servers find commits by their whole names alone."""
    if not _SHORTENED(fragment):
        return
    whole = [each for each in commits if each.startswith(fragment.lower())]
    raise LockError(
        f"'{fragment}' is not a tag or a branch of {shown(plain_url(url))}, and as a commit it is shortened",
        hint=f"write the whole name of the commit: #{whole[0]}"
        if len(whole) == 1
        else f"write the whole name of the commit after '#': 'git rev-parse {fragment}' prints it",
    )


def _no_reference(url: str, what: str, wanted: str, found: Collection[str]) -> LockError:
    names = [each.removeprefix(TAGS).removeprefix("refs/heads/") for each in found if each != "HEAD"]
    similar = near(wanted, names, 4, cutoff=0.4)
    return LockError(
        f"{shown(plain_url(url))} has no {what} '{wanted}'",
        hint=f"it has {', '.join(similar)}"
        if similar
        else 'name a branch, tag or commit after the URL: source = "…#main"',
    )


def uses_of(configs: Sequence[Config]) -> dict[str, list[tuple[Config, Platform]]]:
    """For which architectures each system needs each package: its own first, then that of the machine that builds."""
    uses: dict[str, list[tuple[Config, Platform]]] = {}
    for config in configs:
        for name in config.packages:
            uses.setdefault(name, []).append((config, platform_named(config.arch)))
    for config in configs:
        if config.arch != config.build.platform:
            for name in sorted(run_in_builds(config.packages)):
                uses[name].append((config, platform_named(config.build.platform)))
    return uses


def run_in_builds(packages: Mapping[str, Package]) -> set[str]:
    """The packages that are needed on the machine that builds: ``native_dependencies``, and what these need."""
    found: set[str] = set()
    pending = [name for package in packages.values() for name in package.native_dependencies]
    while pending:
        name = pending.pop()
        if name not in found and name in packages:
            found.add(name)
            package = packages[name]
            pending += package.dependencies + package.build_dependencies + package.runtime_dependencies
            pending += package.native_dependencies
    return found


async def resolve(
    configs: Sequence[Config],
    old: Lock,
    *,
    update: Collection[str] = (),
    verified: Collection[str] = (),
    mirrors: Mirrors,
    tell: Tell = lambda _: None,
    keep: Keep | None = None,
    older_index: bool = False,
) -> Resolution:
    """Pin for ``configs`` (one an architecture) what ``old`` lacks; what cannot be pinned does not keep the rest.

    Entries of the packages in ``update`` are made anew; what a hash of the configuration pins is compared for those in
    ``verified``; entries of packages that no longer exist are dropped. ``keep`` gets each download, so that it need not
    be made again for the build. With ``older_index`` package indexes of the past are taken.
    """
    lock = old
    names = {name for config in configs for name in config.packages}
    for name in {key[0] for key in (*old.sources, *old.debian)}:
        if name in update or name not in names:
            lock = lock.without(name)
    slots = asyncio.Semaphore(PARALLEL)
    uses = uses_of(configs)
    async with new_client() as client:
        resolver = Resolver(lock, mirrors, client, tell, keep, verified, older_index)

        async def pin(name: str) -> None:
            async with slots:
                for config, platform in uses.get(name, ()):
                    await resolver.package(config, config.packages[name], platform)

        order = sorted(names)
        outcomes = await asyncio.gather(*map(pin, order), return_exceptions=True)
    resolver.drop_unused(configs, {name for name, outcome in zip(order, outcomes, strict=True) if outcome is not None})
    errors = [each for each in outcomes if each is not None]
    for each in errors:
        if not isinstance(each, NexisError):
            raise each
    return Resolution(resolver.lock, tuple(each for each in errors if isinstance(each, NexisError)))


async def resolve_toolchain(
    toolchain: Toolchain,
    names: Collection[str],
    *,
    mirrors: Mirrors,
    tell: Tell = lambda _: None,
    older_index: bool = False,
) -> tuple[dict[str, tuple[LockedDeb, ...]], dict[str, str]]:
    """The pins of the tool sets ``names``: closures, less what the sets they extend hold; and the indexes' dates.

    Sets that these extend and that are not among them stay as they are pinned.
    """
    closures: dict[str, set[str]] = {}
    pins: dict[str, tuple[LockedDeb, ...]] = {}
    async with new_client() as client:
        resolver = Resolver(Lock(releases=toolchain.releases), mirrors, client, tell, older_index=older_index)
        for name in reversed(toolchain.with_extended(sorted(names))):
            toolset = toolchain.set(name)
            if name not in names:
                closures[name] = {deb.name for deb in toolchain.pinned(name)}
                continue
            inherited = {each for base in toolchain.with_extended(toolset.extends) for each in closures[base]}
            index = await resolver.index(toolset.suite, toolset.arch)
            if toolset.closure:
                found = index.closure(toolset.packages, without=inherited)
            else:
                found = [index.package(each) for each in toolset.packages]
            closures[name] = {package.name for package in found}
            pins[name] = tuple(package.lock() for package in found)
            tell(f"pinned {name}: {len(found)} packages, {sum(package.size for package in found) / 1e6:.1f} MB")
        dates = resolver.dates
    return pins, dates
