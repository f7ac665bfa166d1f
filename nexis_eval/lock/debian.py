"""Debian's package indexes: reading one whose signature was checked, and choosing a closure from it.

Formats: Debian Policy 5 (control files), 7 (relations), 5.6.12 (versions); the repository format of the Debian wiki.
The machine's own package state plays no part: the same index gives the same closure everywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import lzma
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cmp_to_key
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval.fetch.client import FetchError
from nexis_eval.fetch.headers import said
from nexis_eval.fetch.url import download
from nexis_eval.lock.model import LockedDeb
from nexis_eval.mirrors import Mirrors
from nexis_store.errors import NexisError
from nexis_store.suggest import near

if TYPE_CHECKING:
    import httpx

KEYRINGS = (Path("/usr/share/keyrings/debian-archive-keyring.gpg"),)
ARCHIVE = "mirror://debian"
DATE_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
CLOCK_TOLERANCE = timedelta(days=1)
MAX_RELEASE_BYTES = 64 << 20


class DebianIndexError(NexisError):
    """A package index cannot be trusted or does not have what is asked for.

    Indexes of Debian have to be signed by a key of ``debian-archive-keyring``, and ``gpgv`` checks that: install both.
    A signed index must be of the suite that is asked for, must not have expired, and must not be older than the one
    that the lock was made with: an old index is signed as well, and has packages with known holes. ``nexis-eval lock
    --older-index`` takes one of the past all the same. A package that is not there is misspelt, of another suite, or
    gone: ``nexis-eval lock --update PACKAGE`` pins what there is now.
    """

    code = "F0003"
    exit_code = 3


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """One stanza of an index."""

    name: str
    version: str
    arch: str
    filename: str
    sha256: str
    size: int
    depends: tuple[tuple[str, ...], ...]
    """Each element lists alternatives, by name."""
    provides: tuple[str, ...]

    def lock(self) -> LockedDeb:
        """As a lock entry."""
        return LockedDeb(self.name, self.version, self.arch, (f"{ARCHIVE}/{self.filename}",), self.sha256, self.size)


def _order(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _compare_part(left: str, right: str) -> int:
    while left or right:
        a, b = re.match(r"[^0-9]*", left), re.match(r"[^0-9]*", right)
        assert a is not None and b is not None
        for index in range(max(len(a[0]), len(b[0]))):
            x = _order(a[0][index]) if index < len(a[0]) else 0
            y = _order(b[0][index]) if index < len(b[0]) else 0
            if x != y:
                return x - y
        left, right = left[len(a[0]) :], right[len(b[0]) :]
        a, b = re.match(r"[0-9]*", left), re.match(r"[0-9]*", right)
        assert a is not None and b is not None
        difference = int(a[0] or 0) - int(b[0] or 0)
        if difference:
            return difference
        left, right = left[len(a[0]) :], right[len(b[0]) :]
    return 0


def compare_versions(left: str, right: str) -> int:
    """Negative, zero or positive as ``left`` is older than, equal to or newer than ``right`` (Policy 5.6.12)."""

    def split(version: str) -> tuple[int, str, str]:
        epoch, colon, rest = version.partition(":")
        if not colon:
            epoch, rest = "0", version
        upstream, dash, revision = rest.rpartition("-")
        return int(epoch), upstream if dash else rest, revision if dash else "0"

    a, b = split(left), split(right)
    return a[0] - b[0] or _compare_part(a[1], b[1]) or _compare_part(a[2], b[2])


def _relation(text: str) -> tuple[tuple[str, ...], ...]:
    groups = []
    for group in text.split(","):
        names = [re.split(r"[\s(:\[<]", each.strip(), maxsplit=1)[0] for each in group.split("|")]
        if names[0]:
            groups.append(tuple(names))
    return tuple(groups)


def parse_index(text: str) -> Iterator[DebianPackage]:
    """The packages of a ``Packages`` file."""
    wanted = ("Package", "Version", "Architecture", "Filename", "SHA256", "Size", "Depends", "Pre-Depends", "Provides")
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in stanza.split("\n"):
            key, colon, value = line.partition(": ")
            if colon and key in wanted:
                fields[key] = value
        if "Filename" in fields:
            yield DebianPackage(
                name=fields["Package"],
                version=fields["Version"],
                arch=fields["Architecture"],
                filename=fields["Filename"],
                sha256=fields["SHA256"],
                size=int(fields["Size"]),
                depends=_relation(fields.get("Pre-Depends", "")) + _relation(fields.get("Depends", "")),
                provides=tuple(each[0] for each in _relation(fields.get("Provides", ""))),
            )


class Index:
    """The packages of one suite for one architecture."""

    def __init__(self, suite: str, arch: str, packages: Iterable[DebianPackage], date: str = "") -> None:
        self.suite = suite
        self.arch = arch
        self.date = date
        """When it was signed, as a lock has it."""
        self._packages: dict[str, list[DebianPackage]] = {}
        self._providers: dict[str, list[str]] = {}
        for package in packages:
            self._packages.setdefault(package.name, []).append(package)
            for name in package.provides:
                self._providers.setdefault(name, []).append(package.name)
        for versions in self._packages.values():
            versions.sort(key=cmp_to_key(lambda a, b: compare_versions(b.version, a.version)))

    def package(self, wanted: str) -> DebianPackage:
        """The package called ``name`` or ``name=version``; raises ``DebianIndexError``."""
        name, _, version = wanted.partition("=")
        for package in self._packages.get(name, ()):
            if not version or package.version == version:
                return package
        have = ", ".join(package.version for package in self._packages.get(name, ()))
        raise DebianIndexError(
            f"Debian {self.suite} has no package '{wanted}' for {self.arch}",
            hint=f"it has {name} in: {have}" if have else f"look for its name: {self._similar(name)}",
        )

    def _similar(self, name: str) -> str:
        return ", ".join(near(name, self._packages, 4)) or "nothing similar is there"

    def closure(self, wanted: Sequence[str], without: Iterable[str] = ()) -> list[DebianPackage]:
        """``wanted`` and all they depend on, by name, leaving out those named by ``without``.

        Of alternatives the first that is there already wins, else the first that exists; recommendations do not count.
        """
        excluded = set(without)
        found: dict[str, DebianPackage] = {}
        pending = [self.package(each) for each in reversed(wanted)]
        while pending:
            package = pending.pop()
            if package.name in found or package.name in excluded:
                continue
            found[package.name] = package
            provided = {name for each in found.values() for name in each.provides}
            for alternatives in reversed(package.depends):
                if any(name in found or name in excluded or name in provided for name in alternatives):
                    continue
                pending.append(self._first(package, alternatives))
        return sorted(found.values(), key=lambda package: package.name)

    def _first(self, package: DebianPackage, alternatives: tuple[str, ...]) -> DebianPackage:
        for name in alternatives:
            if name in self._packages:
                return self._packages[name][0]
            if name in self._providers:
                return self._packages[sorted(self._providers[name])[0]][0]
        raise DebianIndexError(
            f"{package.name} needs {' or '.join(alternatives)}, which Debian {self.suite} does not have"
        )


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """What a ``Release`` file says of itself, and path → (SHA-256, size) of the indexes."""

    names: tuple[str, ...]
    """``Suite`` and ``Codename``."""
    date: datetime
    valid_until: datetime | None
    hashes: Mapping[str, tuple[str, int]]

    @property
    def written_date(self) -> str:
        """The date as a lock has it: in UTC, so that dates sort as texts do."""
        return self.date.strftime(DATE_FORMAT)


def _date(text: str) -> datetime:
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is not a date") from error


def parse_release(text: str) -> SignedRelease:
    """Read the signed text of a ``Release`` file; raises ``ValueError`` or ``KeyError``."""
    fields: dict[str, str] = {}
    hashes: dict[str, tuple[str, int]] = {}
    section = ""
    for line in text.splitlines():
        if not line.startswith(" "):
            section, _, value = line.partition(":")
            fields[section] = value.strip()
        elif section == "SHA256":
            digest, size, path = line.split()
            hashes[path] = (digest, int(size))
    names = tuple(fields[each] for each in ("Suite", "Codename") if each in fields)
    until = fields.get("Valid-Until")
    return SignedRelease(names, _date(fields["Date"]), None if until is None else _date(until), hashes)


def check_release(release: SignedRelease, suite: str, *, locked_date: str = "", now: datetime | None = None) -> None:
    """Raise ``DebianIndexError`` for a release of another suite, of the past or of the future.

    ``locked_date`` is that of the newest release that the lock was made with. A signature never expires: whoever
    answers for a mirror can serve another suite's release, or an old one with packages that have known holes.
    """
    check_suite(release, suite)
    now = now or datetime.now(UTC)
    clock = f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC"
    older = "if a package index of the past is wanted: nexis-eval lock --older-index"
    if release.date > now + CLOCK_TOLERANCE:
        raise DebianIndexError(
            f"the package index of Debian {suite} is of the future: {release.written_date}",
            hint=f"{clock}: correct it if it is wrong",
        )
    if release.valid_until is not None and release.valid_until < now:
        raise DebianIndexError(
            f"the package index of Debian {suite} was valid until {release.valid_until.strftime(DATE_FORMAT)}",
            hint=f"the mirror may no longer be updated: use another; {clock}; {older}",
        )
    if release.written_date < locked_date:
        raise DebianIndexError(
            f"the package index of Debian {suite} is of {release.written_date}, which is older than the one that "
            f"nexis.lock was made with ({locked_date})",
            hint=f"the mirror may be behind: try another, or later; {older}",
        )


def check_suite(release: SignedRelease, suite: str) -> None:
    """Raise ``DebianIndexError`` for a release of another suite."""
    if suite not in release.names:
        raise DebianIndexError(
            f"what the mirror has as Debian {suite} is signed as '{' or '.join(map(said, release.names))}'",
            hint="another mirror may help; if it persists, somebody may be tampering with the connection",
        )


def gpgv_says(text: str) -> str:
    """The lines of gpgv, which repeats what strangers wrote into their keys."""
    return "\n".join(said(line) for line in text.strip().splitlines()[:20])


def verify_release(file: Path, keyrings: Sequence[Path] = KEYRINGS) -> str:
    """Check the signature of an ``InRelease`` file; returns the signed text. Raises ``DebianIndexError``."""
    gpgv = shutil.which("gpgv")
    present = [each for each in keyrings if each.exists()]
    if gpgv is None or not present:
        lacking = "gpgv" if gpgv is None else "the keyring of Debian's archive (package debian-archive-keyring)"
        raise DebianIndexError(
            f"cannot check the signature of Debian's package index: {lacking} is not installed",
            hint="run 'make setup', or: apt-get install gpgv debian-archive-keyring",
        )
    plain = file.with_suffix(".plain")
    command = [
        gpgv,
        *(part for each in present for part in ("--keyring", str(each))),
        "--output",
        str(plain),
        str(file),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise DebianIndexError(
            f"the signature of Debian's package index is not good:\n{gpgv_says(result.stderr)}",
            hint="another mirror may help; if it persists, somebody may be tampering with the connection",
        )
    return plain.read_text(encoding="utf-8", errors="replace")


async def load_index(
    suite: str,
    arch: str,
    cache: Path,
    *,
    mirrors: Mirrors,
    client: httpx.AsyncClient,
    component: str = "main",
    locked_date: str = "",
    any_date: bool = False,
) -> Index:
    """Download (or take from ``cache``, by hash) the index of a suite.

    Its signature, its suite and its dates are checked first; ``any_date`` leaves out the dates. Raises ``FetchError``
    and ``DebianIndexError``.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="release-", dir=cache) as directory:
        file = Path(directory) / "InRelease"
        url = f"{ARCHIVE}/dists/{suite}/InRelease"
        await download((url,), file, mirrors=mirrors, client=client, limit=MAX_RELEASE_BYTES)
        text = await asyncio.to_thread(verify_release, file)
    try:
        release = parse_release(text)
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(suite, error) from None
    if any_date:
        check_suite(release, suite)
    else:
        check_release(release, suite, locked_date=locked_date)
    path = f"{component}/binary-{arch}/Packages.xz"
    if path not in release.hashes:
        raise DebianIndexError(f"Debian {suite} has no packages for {arch}", hint="another suite may: debian_suite = …")
    digest, size = release.hashes[path]
    kept = cache / f"{digest}.xz"
    if not kept.exists() or await asyncio.to_thread(_sha256, kept) != digest:
        by_hash = f"{ARCHIVE}/dists/{suite}/{path.rpartition('/')[0]}/by-hash/SHA256/{digest}"
        # Others may want the same at this moment: each writes a file of its own.
        with tempfile.TemporaryDirectory(prefix="index-", dir=cache) as directory:
            file = Path(directory) / "Packages.xz"
            received = await download((by_hash,), file, mirrors=mirrors, client=client, limit=size)
            if received.hash != digest:
                raise FetchError(
                    f"the package index of Debian {suite} has another hash than its signed release says",
                    hint="the mirror may be in the middle of an update: try again in a few minutes",
                )
            file.replace(kept)
    # Seconds of work: other downloads go on meanwhile.
    try:
        return await asyncio.to_thread(_read_index, suite, arch, kept, release.written_date)
    except (KeyError, ValueError, lzma.LZMAError, EOFError) as error:
        raise _damaged(suite, error) from None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_index(suite: str, arch: str, path: Path, date: str) -> Index:
    return Index(suite, arch, parse_index(lzma.decompress(path.read_bytes()).decode()), date)


def _damaged(suite: str, error: Exception) -> DebianIndexError:
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return DebianIndexError(
        f"the package index of Debian {suite} is signed, but cannot be read: {said(reason)}",
        hint="it may be of another kind of archive: name another suite or mirror",
    )
