"""What pins a package's version and downloads: the configuration and ``nexis.lock`` together. Pure."""

from __future__ import annotations

from dataclasses import replace

from nexis_eval.config.hashes import declared_hash
from nexis_eval.config.model import Config, Package
from nexis_eval.config.values import is_placeholder
from nexis_eval.graph.derivation import Fetch, FetchGit
from nexis_eval.lock.agreement import check_agreement
from nexis_eval.lock.fits import LATEST, debian_request, entries, locked_debs, locked_source
from nexis_eval.lock.model import Lock, LockedDeb, LockedSource
from nexis_eval.packages.errors import NotLockedError
from nexis_eval.platforms import Platform
from nexis_eval.templates import expand, file_name
from nexis_store.errors import NexisError, Place


class Pins:
    """Looks up what is pinned. An entry of the lock that was made for something else counts as absent."""

    def __init__(self, config: Config, lock: Lock) -> None:
        self._config = config
        self._lock = lock

    def resolved(self, package: Package, platform: Platform) -> Package:
        """The package with the version that ``latest`` was locked to."""
        for field in ("source", "prebuilt"):
            locked = self._locked(package, field, platform)
            if locked is not None and locked.version:
                return replace(package, version=locked.version)
        return package

    def download(self, package: Package, field: str, platform: Platform) -> tuple[Fetch | FetchGit, str]:
        """What gets ``source`` or ``prebuilt``, and its version. A hash in the configuration wins over the lock.

        Raises ``NotLockedError``, and ``ConfigErrors`` where configuration and lock contradict each other.
        """
        locked = self._locked(package, field, platform)
        version = (locked.version if locked else "") or package.version
        try:
            if locked is not None and locked.commit:
                return fetch_of(locked), version
            return self._fetch(package, field, platform, locked), version
        except NexisError as error:
            error.place = error.place or self._place(package, field)
            raise

    def absence(self, package: Package, platform: Platform) -> LockedSource | None:
        """What the lock says of a prebuilt archive that upstream does not have."""
        locked = locked_source(self._lock, package, "prebuilt", platform, self._config.arch)
        return locked if locked is not None and locked.absent else None

    def debs(self, package: Package, platform: Platform) -> tuple[LockedDeb, ...]:
        """The Debian packages that a package unpacks; raises ``NotLockedError``."""
        found = locked_debs(self._lock, package, platform, self._config.arch)
        if found is not None:
            return found
        message = f"the Debian packages of '{package.name}' are not in the lock for {platform.arch}"
        key = package.name, platform.arch
        if key in self._lock.debian:
            asked = self._lock.requests.get(key) or "something that it does not say"
            message += f": what it has was pinned for '{asked}', and now it is '{debian_request(package, platform)}'"
        raise NotLockedError(
            message,
            hint="run 'nexis-eval lock' to pin their versions and hashes",
            place=self._place(package, "debian"),
        )

    def _place(self, package: Package, key: str) -> Place | None:
        return self._config.place(("packages", package.name, key))

    def _locked(self, package: Package, field: str, platform: Platform) -> LockedSource | None:
        locked = locked_source(self._lock, package, field, platform, self._config.arch)
        return None if locked is None or locked.absent else locked

    def _fetch(self, package: Package, field: str, platform: Platform, locked: LockedSource | None) -> Fetch:
        templates = package.source if field == "source" else package.prebuilt
        declared = package.hash if field == "source" else package.prebuilt_hash
        if locked is not None:
            algorithm, digest = locked.algorithm, locked.hash
            if declared is not None and not is_placeholder(declared):
                check_agreement(self._config, package, locked)
                algorithm, digest = declared_hash(self._config, declared, _hash_path(package, field))
            return Fetch(locked.urls, algorithm, digest, file_name(locked.urls[0]), locked.size, locked.tree)
        if declared is not None and package.version != LATEST:
            algorithm, digest = declared_hash(self._config, declared, _hash_path(package, field))
            urls = tuple([_url(each, package, platform) for each in templates])
            return Fetch(urls, algorithm, digest, file_name(urls[0]))
        message = f"nothing pins the {field} of '{package.name}': no 'hash' in its table, no entry in the lock"
        stale = next(entries(self._lock, package, field, platform, self._config.arch), None)
        if stale is not None:
            message = (
                f"nothing pins the {field} of '{package.name}': no 'hash' in its table, and the lock has version "
                f"'{stale.version}' from {stale.urls[0]}"
            )
        raise NotLockedError(
            message,
            hint="run 'nexis-eval lock' to download and pin it",
            place=self._place(package, field),
        )


def _hash_path(package: Package, field: str) -> tuple[str, ...]:
    return ("packages", package.name, "hash" if field == "source" else "prebuilt_hash")


def _url(template: str, package: Package, platform: Platform) -> str:
    # Most templates use nothing else, and working out the other fields costs more than all the rest of a download.
    url = template.replace("{name}", package.name).replace("{version}", package.version)
    return expand(template, name=package.name, version=package.version, platform=platform) if "{" in url else url


def fetch_of(locked: LockedSource) -> Fetch | FetchGit:
    """What gets a source as the lock has it."""
    if locked.commit:
        assert locked.tree is not None
        return FetchGit(locked.urls, locked.commit, locked.tree, locked.submodules)
    return Fetch(locked.urls, locked.algorithm, locked.hash, file_name(locked.urls[0]), locked.size, locked.tree)
