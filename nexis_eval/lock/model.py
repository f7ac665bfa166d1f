"""``nexis.lock``: what 'latest' and unpinned URLs were resolved to. Pure: text in, values out, and back.

The file is TOML, one table a pinned thing, sorted, so that a diff shows what changed and branches merge line by line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from nexis_eval.config.origin import shown_path
from nexis_eval.config.values import VERSION_PATTERN
from nexis_eval.lock.reading import PinTable, read_pins
from nexis_eval.sri import LENGTHS, from_sri, is_sri
from nexis_eval.templates import file_name
from nexis_store.digest import TreeDigest
from nexis_store.errors import NexisError, Place
from nexis_store.names import shown, why_bad_file_name

FORMAT = 1
HEADER = """\
# Made by 'nexis-eval lock'; commit it. It pins what the configuration leaves open.
"""


class LockFormatError(NexisError):
    """``nexis.lock`` is not what this program writes.

    The file was edited by hand, cut short, or comes from another version of this program. Take it from version control
    again, or delete it and run ``nexis-eval lock``: what is not pinned by the configuration is then pinned anew.
    """

    code = "E0404"
    exit_code = 2


class LockError(NexisError):
    """What the configuration asks for cannot be pinned.

    Either upstream does not have it, or what it has is not what the configuration says.
    """

    code = "F0006"
    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None, place: Place | None = None, key: str = "") -> None:
        super().__init__(message, hint=hint, place=place)
        self.key = key
        """The key of a package that is wrong, where it is not the one that is pinned."""


@dataclass(frozen=True, slots=True)
class LockedSource:
    """A download or a git check-out. ``arch`` is empty where it serves every architecture, ``X for Y`` where it serves
    only the system for Y (``lock/fits.py``); ``size`` is in bytes.

    ``tree`` is the digest of what is in it. ``absent`` says why there is nothing, for a prebuilt package that upstream
    does not offer for an architecture and that is built from source there.
    """

    package: str
    field: str
    arch: str
    urls: tuple[str, ...]
    algorithm: str = ""
    hash: str = ""
    others: tuple[str, ...] = ()
    """The hashes of the same file by the other algorithms, as ``algorithm:hexadecimal``."""
    size: int | None = None
    version: str = ""
    tag: str = ""
    commit: str = ""
    submodules: bool = False
    tree: TreeDigest | None = None
    absent: str = ""

    def digest(self, algorithm: str) -> str | None:
        """Its hash by ``algorithm``, hexadecimal; ``None`` where that was not written down."""
        if algorithm == self.algorithm:
            return self.hash
        return next((each.partition(":")[2] for each in self.others if each.startswith(f"{algorithm}:")), None)


@dataclass(frozen=True, slots=True)
class LockedDeb:
    """One Debian package; ``arch`` is Debian's name of the architecture (or ``all``), ``size`` is in bytes."""

    name: str
    version: str
    arch: str
    urls: tuple[str, ...]
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Lock:
    """Everything that is pinned."""

    sources: Mapping[tuple[str, str, str], LockedSource] = field(default_factory=dict)
    debian: Mapping[tuple[str, str], tuple[LockedDeb, ...]] = field(default_factory=dict)
    requests: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What was asked of Debian for each entry of ``debian``; a change makes the entry stale."""
    releases: Mapping[str, str] = field(default_factory=dict)
    """When the newest package index of each suite was signed that the entries are from: never again an older one."""

    def with_source(self, source: LockedSource) -> Lock:
        """The same with one source added or replaced."""
        return replace(self, sources={**self.sources, (source.package, source.field, source.arch): source})

    def with_debs(self, package: str, arch: str, debs: tuple[LockedDeb, ...], request: str) -> Lock:
        """The same with one set of Debian packages added or replaced."""
        return replace(
            self,
            debian={**self.debian, (package, arch): debs},
            requests={**self.requests, (package, arch): request},
        )

    def without(self, package: str) -> Lock:
        """The same without anything of one package."""
        return Lock(
            {key: value for key, value in self.sources.items() if key[0] != package},
            {key: value for key, value in self.debian.items() if key[0] != package},
            {key: value for key, value in self.requests.items() if key[0] != package},
            self.releases,
        )


def _quote(text: str) -> str:
    escaped = "".join(
        f"\\{each}" if each in '"\\' else each if each >= " " and each != "\x7f" else f"\\u{ord(each):04x}"
        for each in text
    )
    return f'"{escaped}"'


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, int):
        return str(value).lower()
    return _quote(str(value))


def _table(name: str, pairs: list[tuple[str, object]]) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in pairs if value not in (None, "", ())]
    return "\n".join((f"[[{name}]]", *lines)) + "\n"


def format_debs(table: str, owner: list[tuple[str, object]], debs: tuple[LockedDeb, ...]) -> str:
    """A set of Debian packages as one table: a line a package, as ``"NAME VERSION ARCH SIZE SHA256 URL"``."""
    lines = [
        f"  {_quote(' '.join((deb.name, deb.version, deb.arch, str(deb.size), deb.sha256, *deb.urls)))},"
        for deb in sorted(debs, key=lambda deb: deb.name)
    ]
    head = [f"{key} = {_value(value)}" for key, value in owner]
    return "\n".join((f"[[{table}]]", *head, "debs = [", *lines, "]")) + "\n"


_VERSION = re.compile(VERSION_PATTERN).fullmatch
_DEB_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*").fullmatch
_DEB_VERSION = re.compile(r"[A-Za-z0-9.+~:-]+").fullmatch
_SIZE = re.compile(r"[0-9]{1,18}").fullmatch
_URL = re.compile(r"[a-z][a-z0-9+.-]*://.+", re.DOTALL).fullmatch
_HEXADECIMAL = re.compile(r"[0-9a-f]+").fullmatch
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}").fullmatch
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z").fullmatch
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch


def _check_file_name(url: str) -> None:
    why = why_bad_file_name(file_name(url))
    if why is not None:
        raise ValueError(f"the name of the file at '{shown(url[:200])}' is none: {why}")


def parse_deb(line: str) -> LockedDeb:
    """One line of such a table; raises ``ValueError``."""
    name, version, arch, size, sha256, *urls = [*line.split(" "), "", "", "", "", ""][: max(5, line.count(" ") + 1)]
    if not (urls and _SHA256(sha256) and _DEB_NAME(name) and _DEB_VERSION(version) and _DEB_NAME(arch) and _SIZE(size)):
        raise ValueError(f"'{shown(line[:80])}' is not NAME VERSION ARCHITECTURE SIZE SHA256 URL…")
    for url in urls:
        _check_url(url)
    _check_file_name(urls[0])
    return LockedDeb(name, version, arch, tuple(urls), sha256, int(size))


def _check_url(url: str) -> None:
    if not _URL(url):
        raise ValueError(f"'{shown(url[:80])}' is not a URL")


def format_lock(lock: Lock) -> str:
    """The text of a lock file, the same for the same lock."""
    parts = [HEADER + f"format = {FORMAT}\n"]
    for key in sorted(lock.sources):
        source = lock.sources[key]
        parts.append(
            _table(
                "source",
                [
                    ("package", source.package),
                    ("field", source.field),
                    ("arch", source.arch),
                    ("version", source.version),
                    ("tag", source.tag),
                    ("urls", source.urls),
                    ("commit", source.commit),
                    ("submodules", source.submodules or None),
                    ("hash", f"{source.algorithm}:{source.hash}" if source.hash else ""),
                    ("hashes", source.others),
                    ("size", source.size),
                    ("tree", str(source.tree) if source.tree else ""),
                    ("absent", source.absent),
                ],
            )
        )
    for package, arch in sorted(lock.debian):
        owner: list[tuple[str, object]] = [("package", package), ("arch", arch)]
        if request := lock.requests.get((package, arch)):
            owner.append(("request", request))
        parts.append(format_debs("debian", owner, lock.debian[package, arch]))
    parts += format_releases(lock.releases)
    return "\n".join(parts)


def format_releases(releases: Mapping[str, str]) -> list[str]:
    """A table for each suite."""
    return [_table("release", [("suite", suite), ("date", releases[suite])]) for suite in sorted(releases)]


SOURCE_KEYS = frozenset(
    {"package", "field", "arch", "version", "tag", "urls", "commit", "submodules"}
    | {"hash", "hashes", "size", "tree", "absent"}
)
DEBIAN_KEYS = frozenset({"package", "arch", "request", "debs"})
LOCK_KEYS = frozenset({"format", "source", "debian", "release"})
FIELDS = ("source", "prebuilt")


def _hash(written: str) -> tuple[str, str]:
    """Algorithm and digest; raises ``ValueError``."""
    algorithm, _, digest = (from_sri(written) if is_sri(written) else written).partition(":")
    if algorithm not in LENGTHS or not _HEXADECIMAL(digest) or len(digest) != 2 * LENGTHS[algorithm]:
        raise ValueError(f"'{shown(written[:80])}' is not a hash: ALGORITHM:HEXADECIMAL, of {', '.join(LENGTHS)}")
    return algorithm, digest


def _source(table: PinTable) -> LockedSource:
    table.only(SOURCE_KEYS)
    pinned_field = table.text("field")
    if pinned_field not in FIELDS:
        table.fail("field", f"'field' must be {' or '.join(FIELDS)}")
    urls = table.texts("urls")
    for index, url in enumerate(urls):
        table.checked("urls", partial(_check_url, url), index)
    version, commit, absent = table.text("version", ""), table.text("commit", ""), table.text("absent", "")
    if version and not _VERSION(version):
        table.fail("version", f"'{shown(version[:80])}' is not a version")
    if commit and not _COMMIT(commit):
        table.fail("commit", f"'{shown(commit[:80])}' is not the name of a commit")
    if not commit:
        table.checked("urls", lambda: _check_file_name(urls[0]), 0)
    algorithm = digest = ""
    if "hash" in table.values:
        algorithm, digest = table.checked("hash", lambda: _hash(table.text("hash")))
    others = table.texts("hashes", needed=False)
    for index, each in enumerate(others):
        table.checked("hashes", partial(_hash, each), index)
    tree = table.checked("tree", lambda: TreeDigest.parse(table.text("tree"))) if "tree" in table.values else None
    if commit and tree is None:
        table.fail("commit", "a commit needs its 'tree'")
    if not (commit or digest or absent):
        table.fail("package", "nothing is pinned: one of 'hash', 'commit' and 'absent' is needed")
    return LockedSource(
        package=table.text("package"),
        field=pinned_field,
        arch=table.text("arch", ""),
        urls=urls,
        algorithm=algorithm,
        hash=digest,
        others=others,
        size=table.size("size"),
        version=version,
        tag=table.text("tag", ""),
        commit=commit,
        submodules=table.flag("submodules"),
        absent=absent,
        tree=tree,
    )


def read_debs(table: PinTable, *, may_be_empty: bool = False) -> tuple[LockedDeb, ...]:
    """The Debian packages of a table; raises ``MalformedPinsError``."""
    lines = () if may_be_empty and table.values.get("debs") == [] else table.texts("debs")
    return tuple([table.checked("debs", partial(parse_deb, line), index) for index, line in enumerate(lines)])


def read_releases(file: PinTable) -> dict[str, str]:
    """The dates of the package indexes by suite; raises ``MalformedPinsError``."""
    releases: dict[str, str] = {}
    for table in file.tables("release"):
        table.only({"suite", "date"})
        date, suite = table.text("date"), table.text("suite")
        if not _DATE(date):
            table.fail("date", "'date' must be a time in UTC: 2024-11-09T10:06:43Z")
        if suite in releases:
            table.fail("suite", f"'{shown(suite[:80])}' is there twice")
        releases[suite] = date
    return releases


def _lock(file: PinTable) -> Lock:
    file.only(LOCK_KEYS)
    found = file.values.get("format")
    if type(found) is not int or found != FORMAT:
        file.fail("format", f"'format' must be {FORMAT}; another version of this program may have made it")
    sources: dict[tuple[str, str, str], LockedSource] = {}
    for table in file.tables("source"):
        source = _source(table)
        key = (source.package, source.field, source.arch)
        if key in sources:
            table.fail("package", f"the {source.field} of '{shown(source.package[:80])}' is pinned twice")
        sources[key] = source
    debian: dict[tuple[str, str], tuple[LockedDeb, ...]] = {}
    requests: dict[tuple[str, str], str] = {}
    for table in file.tables("debian"):
        table.only(DEBIAN_KEYS)
        scope = (table.text("package"), table.text("arch"))
        if scope in debian:
            table.fail("package", f"the Debian packages of '{shown(scope[0][:80])}' are pinned twice")
        debian[scope], requests[scope] = read_debs(table), table.text("request", "")
    return Lock(sources, debian, requests, read_releases(file))


def parse_lock(text: str, file: str = "nexis.lock") -> Lock:
    """Read the text of a lock file; raises ``LockFormatError`` with the line and column of what is wrong."""
    hint = "take it from version control again, or remove it and run 'nexis-eval lock' to make it again"
    if "\n<<<<<<< " in f"\n{text}":
        hint = "it holds a merge conflict: 'nexis-eval lock' keeps what both sides have"
    return read_pins(text, file, LockFormatError, "a lock file", hint, _lock)


def lock_file(system: Path) -> Path:
    """Where the pins of the configuration in the file ``system`` are: ``nexis.lock`` beside it."""
    return system.with_name("nexis.lock")


def load_lock(path: Path) -> Lock:
    """Read a lock file; an absent one is an empty lock. Raises ``LockFormatError``."""
    text = read_lock(path)
    return parse_lock(text, shown_path(path)) if text is not None else Lock()


def read_lock(path: Path) -> str | None:
    """The text of a lock file; ``None`` if there is none. Raises ``LockFormatError``."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockFormatError(
            f"cannot be read: {error.strerror}", hint="is it a file, and yours?", place=Place(shown_path(path))
        ) from None
    except UnicodeDecodeError:
        raise LockFormatError(
            "not a lock file: it is not UTF-8", hint="take it from version control again", place=Place(shown_path(path))
        ) from None
