"""``nexis.lock``: what 'latest' and unpinned URLs were resolved to. Pure: text in, values out, and back.

The file is TOML, one table a pinned thing, sorted, so that a diff shows what changed and branches merge line by line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nexis_eval.config.origin import shown_path
from nexis_eval.config.values import VERSION_PATTERN
from nexis_eval.sri import from_sri, is_sri
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
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch


def _check_file_name(url: str) -> None:
    why = why_bad_file_name(file_name(url))
    if why is not None:
        raise ValueError(f"the name of the file at '{shown(url[:200])}' is none: {why}")


def parse_deb(line: str) -> LockedDeb:
    """One line of such a table; raises ``ValueError``."""
    name, version, arch, size, sha256, *urls = line.split(" ")
    if not (urls and _SHA256(sha256) and _DEB_NAME(name) and _DEB_VERSION(version) and _DEB_NAME(arch)):
        raise ValueError(f"not a Debian package entry: {line!r}")
    _check_file_name(urls[0])
    return LockedDeb(name, version, arch, tuple(urls), sha256, int(size))


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
    return "\n".join(parts)


def _source(table: Mapping[str, Any]) -> LockedSource:
    written = table.get("hash", "")
    algorithm, _, digest = (from_sri(written) if is_sri(written) else written).partition(":")
    package, field_name, urls = table["package"], table["field"], tuple(table["urls"])
    if table.get("version") and not _VERSION(table["version"]):
        raise ValueError(f"'{shown(table['version'][:80])}' is not a version")
    if urls and not table.get("commit"):
        _check_file_name(urls[0])
    return LockedSource(
        package=package,
        field=field_name,
        arch=table.get("arch", ""),
        urls=urls,
        algorithm=algorithm,
        hash=digest,
        others=tuple(table.get("hashes", ())),
        size=table.get("size"),
        version=table.get("version", ""),
        tag=table.get("tag", ""),
        commit=table.get("commit", ""),
        submodules=table.get("submodules", False),
        absent=table.get("absent", ""),
        tree=TreeDigest.parse(table["tree"]) if "tree" in table else None,
    )


def parse_lock(text: str, file: str = "nexis.lock") -> Lock:
    """Read the text of a lock file; raises ``LockFormatError``."""
    import tomli

    hint = "remove the file and run 'nexis-eval lock' to make it again"
    if "\n<<<<<<< " in f"\n{text}":
        hint = "it holds a merge conflict: 'nexis-eval lock' keeps what both sides have"
    try:
        value = tomli.loads(text)
        if value["format"] != FORMAT:
            raise LockFormatError(
                f"format {value['format']} is not known to this version", hint=hint, place=Place(file)
            )
        sources = [_source(table) for table in value.get("source", [])]
        debian = {
            (table["package"], table["arch"]): tuple(parse_deb(line) for line in table["debs"])
            for table in value.get("debian", [])
        }
        requests = {(table["package"], table["arch"]): table.get("request", "") for table in value.get("debian", [])}
    except tomli.TOMLDecodeError as error:
        place = Place(file, error.lineno, error.colno)
        raise LockFormatError(f"not a lock file: {error.msg}", hint=hint, place=place) from None
    except RecursionError:
        raise LockFormatError("not a lock file: it is nested too deeply", hint=hint, place=Place(file)) from None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise LockFormatError(f"not a lock file: {reason}", hint=hint, place=Place(file)) from None
    return Lock({(each.package, each.field, each.arch): each for each in sources}, debian, requests)


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
