"""The pinned toolchain: named sets of tools, each a union of unpacked Debian packages, as derivations.

``toolchain.toml`` says what is in a set, ``toolchain.lock`` pins it: the product's in ``rules/``, the user's in a
directory of ``[rules]``. Pure but for reading these files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nexis_eval.config.origin import shown_path
from nexis_eval.graph.dag import GraphBuilder, layers
from nexis_eval.graph.derivation import Derivation, Entry, Fetch, Files, Input, Union, Unpack, Use
from nexis_eval.lock.model import LockedDeb, format_debs, format_releases, read_debs, read_releases
from nexis_eval.lock.reading import PinTable, read_pins
from nexis_eval.places import RULES
from nexis_eval.platforms import DEFAULT_BUILD_ARCH
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError, Place
from nexis_store.suggest import did_you_mean

DEFINITION = "toolchain.toml"
PINS = "toolchain.lock"
HEADER = "# Made by 'nexis-eval lock --toolchain'. The packages of each tool set of toolchain.toml.\n"


class ToolchainError(NexisError):
    """A tool set is not defined, not pinned, or wrongly defined.

    Tool sets are defined in ``toolchain.toml`` and pinned in ``toolchain.lock`` beside it by ``nexis-eval lock
    --toolchain``: the product's in ``rules/``, yours in a directory of ``[rules] paths``. The names of a package's
    ``tools`` are those of sets.
    """

    code = "E0405"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Toolset:
    """One set: its own packages, and what to add that maintainer scripts would have made."""

    name: str
    doc: str
    suite: str
    packages: tuple[str, ...]
    arch: str = "amd64"
    extends: tuple[str, ...] = ()
    closure: bool = True
    links: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """What of its packages is left out."""
    path: Path = Path("rules")
    """The directory in which it is defined and pinned."""

    @property
    def directory(self) -> str:
        """How messages call that."""
        return "rules" if self.path == RULES else shown_path(self.path)


@dataclass(frozen=True, slots=True)
class Toolchain:
    """All sets and their pins."""

    sets: Mapping[str, Toolset]
    pins: Mapping[str, tuple[LockedDeb, ...]]
    releases: Mapping[str, str] = field(default_factory=dict)
    """When the package index of each suite was signed that the pins are from: those of the last directory."""
    platform: str = DEFAULT_BUILD_ARCH
    """The architecture that the programs of all sets run on."""

    def set(self, name: str) -> Toolset:
        """One set; raises ``ToolchainError``."""
        try:
            return self.sets[name]
        except KeyError:
            where = dict.fromkeys(f"{each.directory}/{DEFINITION}" for each in self.sets.values())
            has = f"{' and '.join(where)} has: {', '.join(sorted(self.sets))}"
            raise ToolchainError(f"no tool set is called '{name}'", hint=did_you_mean(name, self.sets, has)) from None

    def pinned(self, name: str) -> tuple[LockedDeb, ...]:
        """The packages of one set, less those of what it extends; raises ``ToolchainError``."""
        if name not in self.pins:
            raise ToolchainError(
                f"the tool set '{name}' is not pinned in {self.set(name).directory}/{PINS}",
                hint="run 'nexis-eval lock --toolchain'",
            )
        return self.pins[name]

    def with_extended(self, names: Iterable[str]) -> list[str]:
        """``names`` and the sets they extend, each once, users before what they extend."""
        result: dict[str, None] = {}
        pending = list(names)
        while pending:
            name = pending.pop(0)
            result.pop(name, None)
            result[name] = None
            pending.extend(self.set(name).extends)
        return list(result)


KEYS = frozenset(("doc", "suite", "packages", "arch", "extends", "closure", "like", "links", "files", "directories"))
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,99}(=[A-Za-z0-9.+~:-]{1,99})?")


class _Definition:
    """Reads one ``toolchain.toml``. ``before`` are the sets of earlier directories."""

    def __init__(self, directory: Path, before: Mapping[str, Toolset], exclude: tuple[str, ...]) -> None:
        self.directory = directory
        self.before = before
        self.exclude = exclude

    def read(self, table: PinTable) -> dict[str, Toolset]:
        table.only({"toolset", "exclude"})
        if "exclude" in table.values:
            self.exclude = tuple(self._path(table, "exclude", each) for each in _texts(table, "exclude"))
        tables = table.table("toolset").named()
        sets: dict[str, Toolset] = {}
        for name, each in tables.items():
            if not _NAME.fullmatch(name):
                each.fail_whole(f"'{name}' is not the name of a tool set: lower-case letters, digits, _ . -")
            sets[name] = self._set(name, each)
        known = {**self.before, **sets}
        for name, each in tables.items():
            like = each.text("like", "") if "like" in each.values else ""
            if like:
                self._known(each, "like", like, known)
                other = known[like]
                sets[name] = replace(
                    sets[name],
                    links=sets[name].links if "links" in each.values else other.links,
                    files=sets[name].files if "files" in each.values else other.files,
                    directories=sets[name].directories if "directories" in each.values else other.directories,
                )
        known |= sets
        for name, each in tables.items():
            for index, base in enumerate(sets[name].extends):
                self._known(each, "extends", base, known, index)
                if name in _reached(base, known):
                    each.fail("extends", f"'{base}' extends '{name}', and '{name}' extends '{base}'", index)
        return sets

    def _set(self, name: str, table: PinTable) -> Toolset:
        table.only(KEYS)
        packages = table.texts("packages")
        for index, package in enumerate(packages):
            if not _PACKAGE.fullmatch(package):
                table.fail("packages", f"'{package}' is not a Debian package: name, or name=version", index)
        arch = table.text("arch", "amd64")
        if arch not in _ARCHITECTURES:
            table.fail("arch", f"'{arch}' is none of Debian's architectures: {', '.join(_ARCHITECTURES)}")
        links, files = table.text_table("links"), table.text_table("files")
        return Toolset(
            name=name,
            doc=table.text("doc"),
            suite=table.text("suite"),
            packages=packages,
            arch=arch,
            extends=_texts(table, "extends"),
            closure=table.flag("closure", True),
            links={self._path(table, "links", path): target for path, target in links.items()},
            files={self._path(table, "files", path): text.lstrip("\n") for path, text in files.items()},
            directories=tuple(self._path(table, "directories", each) for each in _texts(table, "directories")),
            exclude=self.exclude,
            path=self.directory,
        )

    @staticmethod
    def _path(table: PinTable, key: str, path: str) -> str:
        if not path or path.startswith("/") or not path.isprintable() or {"", ".", ".."} & set(path.split("/")):
            table.fail(key, f"'{path}' is not a path below the root: usr/bin/x")
        return path

    @staticmethod
    def _known(table: PinTable, key: str, name: str, known: Collection[str], *further: int) -> None:
        if name not in known:
            hint = did_you_mean(name, known, f"tool sets are: {', '.join(sorted(known))}")
            table.fail(key, f"no tool set is called '{name}'", *further, hint=hint)


_ARCHITECTURES = ("amd64", "arm64", "riscv64", "all")


def _texts(table: PinTable, key: str) -> tuple[str, ...]:
    return () if table.values.get(key) == [] else table.texts(key, needed=False)


def _reached(name: str, sets: Mapping[str, Toolset]) -> set[str]:
    found: set[str] = set()
    pending = [name]
    while pending:
        each = pending.pop()
        if each not in found and each in sets:
            found.add(each)
            pending += sets[each].extends
    return found


def load_toolchain(product: Path, *own: Path) -> Toolchain:
    """Read both files of each directory; a set of a later directory replaces one of the same name, with its pins.

    The directories of the user's ``own`` need not have any. Raises ``ToolchainError``.
    """
    sets: dict[str, Toolset] = {}
    pins: dict[str, tuple[LockedDeb, ...]] = {}
    releases: Mapping[str, str] = {}
    for directory in (product, *own):
        path = directory / DEFINITION
        if directory is not product and not path.exists():
            continue
        exclude = next((each.exclude for each in sets.values()), ())
        definition = _Definition(directory, dict(sets), exclude)
        text = _text(path)
        hint = "docs/toolchain.md has the keys of tool sets"
        new = read_pins(text, shown_path(path), ToolchainError, "a definition of tool sets", hint, definition.read)
        sets.update(new)
        path = directory / PINS
        pinned, releases = parse_pins(_text(path), shown_path(path)) if path.exists() else ({}, {})
        for name in new:
            pins.pop(name, None)
        pins.update((name, pinned[name]) for name in new if name in pinned)
    return Toolchain(sets, pins, releases)


def _text(path: Path) -> str:
    shown = shown_path(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ToolchainError(
            f"not UTF-8: {error.reason} at byte {error.start}",
            hint="run 'nexis-eval lock --toolchain'" if path.name == PINS else "save it as UTF-8",
            place=Place(shown),
        ) from None
    except OSError as error:
        raise ToolchainError(f"cannot read the file: {error.strerror}", place=Place(shown)) from None


def parse_pins(text: str, file: str) -> tuple[dict[str, tuple[LockedDeb, ...]], dict[str, str]]:
    """The pins of each set in ``toolchain.lock``, and the dates of the indexes they are from.

    Raises ``ToolchainError`` with the line and column of what is wrong.
    """

    def read(table: PinTable) -> tuple[dict[str, tuple[LockedDeb, ...]], dict[str, str]]:
        table.only({"toolset", "release"})
        pins: dict[str, tuple[LockedDeb, ...]] = {}
        for each in table.tables("toolset"):
            each.only({"name", "debs"})
            name = each.text("name")
            if name in pins:
                each.fail("name", f"'{name}' is there twice")
            # A set may have all its packages from those that it extends.
            pins[name] = read_debs(each, may_be_empty=True)
        return pins, read_releases(table)

    return read_pins(text, file, ToolchainError, "a file of pins", "run 'nexis-eval lock --toolchain'", read)


def format_pins(pins: Mapping[str, tuple[LockedDeb, ...]], releases: Mapping[str, str]) -> str:
    """The text of ``toolchain.lock``."""
    sets = (format_debs("toolset", [("name", name)], pins[name]) for name in sorted(pins))
    return "\n".join((HEADER, *sets, *format_releases(releases)))


def _check_that_pins_fit(toolchain: Toolchain, name: str) -> None:
    """Raise ``ToolchainError`` if the pins lack a package that the set names, or have another version than it names."""
    versions = {
        deb.name: deb.version for each in toolchain.with_extended([name]) for deb in toolchain.pins.get(each, ())
    }
    directory = toolchain.set(name).directory
    for package in toolchain.set(name).packages:
        wanted, _, version = package.partition("=")
        if wanted not in versions or (version and versions[wanted] != version):
            raise ToolchainError(
                f"the pins of the tool set '{name}' are out of date: {directory}/{DEFINITION} names '{package}', and "
                f"{directory}/{PINS} has {versions.get(wanted, 'nothing of it')}",
                hint="run 'nexis-eval lock --toolchain'",
            )


def _add_set(builder: GraphBuilder, toolchain: Toolchain, name: str) -> DerivationId:
    toolset, build_platform = toolchain.set(name), builder.build_platform
    pinned = toolchain.pinned(name)
    _check_that_pins_fit(toolchain, name)
    parts = []
    for deb in pinned:
        archive = builder.add(
            Derivation(
                f"{deb.name}.deb",
                Fetch(deb.urls, "sha256", deb.sha256, deb.urls[0].rpartition("/")[2], deb.size),
                platform=build_platform,
                version=deb.version,
            )
        )
        parts.append(
            builder.add(
                Derivation(
                    deb.name,
                    Unpack("deb", exclude=toolset.exclude),
                    platform=build_platform,
                    version=deb.version,
                    inputs=(Input(archive, Use.BIND, "/in/archive"),),
                )
            )
        )
    extra = (
        *(Entry(path) for path in toolset.directories),
        *(Entry(path, text=text) for path, text in sorted(toolset.files.items())),
        *(Entry(path, target=target) for path, target in sorted(toolset.links.items())),
    )
    if extra:
        parts.append(builder.add(Derivation(f"toolset-{name}-extra", Files(extra), platform=build_platform)))
    return builder.add(
        Derivation(
            f"toolset-{name}",
            Union(),
            platform=build_platform,
            inputs=tuple(layers(parts)),
        )
    )


def toolsets(builder: GraphBuilder, toolchain: Toolchain, names: Iterable[str]) -> tuple[DerivationId, ...]:
    """The sets called ``names`` and all they extend, topmost layer first; each is the target ``toolchain:NAME``."""
    names = [*names]
    if names and builder.build_platform != toolchain.platform:
        raise ToolchainError(
            f"the tool set '{names[0]}' is pinned for builds on {toolchain.platform}, and [build] platform is "
            f"'{builder.build_platform}'",
            hint=f'write platform = "{toolchain.platform}" in [build], or leave it out',
        )
    result = []
    for name in toolchain.with_extended(names):
        if name not in builder.toolsets:
            builder.toolsets[name] = _add_set(builder, toolchain, name)
        result.append(builder.toolsets[name])
    return tuple(result)
