"""The pinned toolchain: named sets of tools, each a union of unpacked Debian packages, as derivations.

``rules/toolchain.toml`` says what is in a set, ``rules/toolchain.lock`` pins it. Pure but for reading those two files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nexis_eval.graph.dag import GraphBuilder, layers
from nexis_eval.graph.derivation import Derivation, Entry, Fetch, Files, Input, Union, Unpack, Use
from nexis_eval.lock.model import LockedDeb, format_debs, format_releases, read_debs, read_releases
from nexis_eval.lock.reading import PinTable, read_pins
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError
from nexis_store.suggest import did_you_mean

DEFINITION = "toolchain.toml"
PINS = "toolchain.lock"
HEADER = "# Made by 'nexis-eval lock --toolchain'. The packages of each tool set of toolchain.toml.\n"


class ToolchainError(NexisError):
    """A tool set is not defined or not pinned.

    Tool sets are defined in ``rules/toolchain.toml`` and pinned in ``rules/toolchain.lock`` by ``nexis-eval lock
    --toolchain``. The names of a package's ``tools`` are those of its sets.
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


@dataclass(frozen=True, slots=True)
class Toolchain:
    """All sets and their pins."""

    sets: Mapping[str, Toolset]
    pins: Mapping[str, tuple[LockedDeb, ...]]
    exclude: tuple[str, ...] = ()
    releases: Mapping[str, str] = field(default_factory=dict)
    """When the package index of each suite was signed that the pins are from."""

    def set(self, name: str) -> Toolset:
        """One set; raises ``ToolchainError``."""
        try:
            return self.sets[name]
        except KeyError:
            has = f"rules/{DEFINITION} has: {', '.join(sorted(self.sets))}"
            raise ToolchainError(f"no tool set is called '{name}'", hint=did_you_mean(name, self.sets, has)) from None

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


def _toolset(name: str, table: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> Toolset:
    like = tables[table["like"]] if "like" in table else {}
    return Toolset(
        name=name,
        doc=table["doc"],
        suite=table["suite"],
        packages=tuple(table["packages"]),
        arch=table.get("arch", "amd64"),
        extends=tuple(table.get("extends", ())),
        closure=table.get("closure", True),
        links=table.get("links", like.get("links", {})),
        files={path: text.lstrip("\n") for path, text in table.get("files", like.get("files", {})).items()},
        directories=tuple(table.get("directories", like.get("directories", ()))),
    )


def load_toolchain(directory: Path) -> Toolchain:
    """Read both files from ``directory``; raises ``ToolchainError``."""
    import tomli

    definition = tomli.loads((directory / DEFINITION).read_text(encoding="utf-8"))
    tables = definition["toolset"]
    sets = {name: _toolset(name, table, tables) for name, table in tables.items()}
    path = directory / PINS
    try:
        pins, releases = parse_pins(path.read_text(encoding="utf-8"), str(path)) if path.exists() else ({}, {})
    except UnicodeDecodeError as error:
        raise ToolchainError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}", hint="run 'nexis-eval lock --toolchain'"
        ) from None
    return Toolchain(sets, pins, tuple(definition.get("exclude", ())), releases)


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
    for package in toolchain.set(name).packages:
        wanted, _, version = package.partition("=")
        if wanted not in versions or (version and versions[wanted] != version):
            raise ToolchainError(
                f"the pins of the tool set '{name}' are out of date: rules/{DEFINITION} names '{package}', and "
                f"rules/{PINS} has {versions.get(wanted, 'nothing of it')}",
                hint="run 'nexis-eval lock --toolchain'",
            )


def _add_set(builder: GraphBuilder, toolchain: Toolchain, name: str, build_platform: str) -> DerivationId:
    toolset = toolchain.set(name)
    if name not in toolchain.pins:
        raise ToolchainError(f"the tool set '{name}' is not pinned", hint="run 'nexis-eval lock --toolchain'")
    _check_that_pins_fit(toolchain, name)
    parts = []
    for deb in toolchain.pins[name]:
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
                    Unpack("deb", exclude=toolchain.exclude),
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


def toolsets(
    builder: GraphBuilder, toolchain: Toolchain, names: Iterable[str], build_platform: str
) -> tuple[DerivationId, ...]:
    """The sets called ``names`` and all they extend, topmost layer first; each is the target ``toolchain:NAME``."""
    result = []
    for name in toolchain.with_extended(names):
        if name not in builder.toolsets:
            builder.toolsets[name] = _add_set(builder, toolchain, name, build_platform)
        result.append(builder.toolsets[name])
    return tuple(result)
