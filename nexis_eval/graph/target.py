"""What a person can name of a system: its packages, its parts and images, its tool sets."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from nexis_store.digest import DerivationId


class SystemPart(StrEnum):
    """What a system has beside its packages. A package cannot bear one of these names."""

    EXT2 = "ext2"
    IMAGES = "images"
    INITRAMFS = "initramfs"
    ISO = "iso"
    KERNEL = "kernel"
    ROOTFS = "rootfs"
    SQUASHFS = "squashfs"
    SYSTEM = "system"


_PARTS = {part.value: part for part in SystemPart}
RESERVED_NAMES = frozenset(_PARTS)
"""The names that no package can bear."""
_TOOLSET = "toolchain:"
"""What the name of a tool set's target begins with; a package's name has no colon."""


@dataclass(frozen=True, slots=True)
class PackageTarget:
    """A package, by its name."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class SystemTarget:
    """A part of the system, or an image of it."""

    part: SystemPart

    def __str__(self) -> str:
        return self.part.value


@dataclass(frozen=True, slots=True)
class ToolsetTarget:
    """A tool set, by its name in ``rules/toolchain.toml``."""

    name: str

    def __str__(self) -> str:
        return f"{_TOOLSET}{self.name}"


Target = PackageTarget | SystemTarget | ToolsetTarget


def parse_target(text: str) -> Target:
    """Return the target that a person writes as ``text``: the inverse of ``str``."""
    if text in _PARTS:
        return SystemTarget(_PARTS[text])
    if text.startswith(_TOOLSET):
        return ToolsetTarget(text.removeprefix(_TOOLSET))
    return PackageTarget(text)


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of a graph, and the derivations that they name."""

    packages: Mapping[str, DerivationId] = field(default_factory=dict)
    system: Mapping[SystemPart, DerivationId] = field(default_factory=dict)
    toolsets: Mapping[str, DerivationId] = field(default_factory=dict)

    @classmethod
    def of_names(cls, ids: Mapping[str, DerivationId]) -> Targets:
        """Return the targets whose names, as a person writes them, are the keys of ``ids``."""
        packages: dict[str, DerivationId] = {}
        system: dict[SystemPart, DerivationId] = {}
        toolsets: dict[str, DerivationId] = {}
        for name, identity in ids.items():
            match parse_target(name):
                case PackageTarget():
                    packages[name] = identity
                case SystemTarget(part):
                    system[part] = identity
                case ToolsetTarget(toolset):
                    toolsets[toolset] = identity
        return cls(packages, system, toolsets)

    def find(self, target: Target) -> DerivationId | None:
        """Return what ``target`` names, or ``None`` if the graph does not have it."""
        match target:
            case PackageTarget(name):
                return self.packages.get(name)
            case SystemTarget(part):
                return self.system.get(part)
            case ToolsetTarget(name):
                return self.toolsets.get(name)

    def __getitem__(self, target: Target) -> DerivationId:
        identity = self.find(target)
        if identity is None:
            raise KeyError(target)
        return identity

    def named(self, name: str) -> DerivationId | None:
        """Return what a person calls ``name``, or ``None`` if the graph does not have it."""
        return self.find(parse_target(name))

    def by_name(self) -> dict[str, DerivationId]:
        """Return all of them by the names that a person writes, sorted."""
        ids = {**self.packages}
        ids.update((part.value, identity) for part, identity in self.system.items())
        ids.update((str(ToolsetTarget(name)), identity) for name, identity in self.toolsets.items())
        return dict(sorted(ids.items()))

    def within(self, derivations: Container[DerivationId]) -> Targets:
        """Return those of them that name one of ``derivations``."""
        return Targets(
            {name: identity for name, identity in self.packages.items() if identity in derivations},
            {part: identity for part, identity in self.system.items() if identity in derivations},
            {name: identity for name, identity in self.toolsets.items() if identity in derivations},
        )

    def also(self, ids: Mapping[str, DerivationId]) -> Targets:
        """Return these and, under names that none of them has, the derivations ``ids``: steps that somebody named."""
        missing = {name: identity for name, identity in ids.items() if self.named(name) is None}
        return Targets({**self.packages, **missing}, self.system, self.toolsets)

    def __iter__(self) -> Iterator[DerivationId]:
        yield from self.packages.values()
        yield from self.system.values()
        yield from self.toolsets.values()

    def __len__(self) -> int:
        return len(self.packages) + len(self.system) + len(self.toolsets)
