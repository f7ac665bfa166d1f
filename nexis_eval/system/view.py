"""What a part of a system can see: the configuration, and of packages what is installed. It notes what was read.

Which packages there are and what they say changes all the time, and seldom matters to the system around them. What the
parts read of packages is noted attribute by attribute, so that an edit is known to matter, or not to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from nexis_eval.config.kernel import kernel_name
from nexis_eval.config.model import Config, LocalPath, Package, Sections
from nexis_eval.platforms import Platform, platform_named

VersionOf = Callable[[str], "str | None"]
"""The version of a package, installed or not; ``None`` where there is none of that name."""


class UnrecordedError(KeyError):
    """A part reads of packages what no part read when the record was made that it is shown."""


@dataclass(frozen=True, slots=True)
class Reads:
    """What the parts of a system read of packages, and the user's files that they read."""

    attributes: tuple[str, ...]
    """Read of installed packages, of one or another."""
    installed: Mapping[str, tuple[object, ...]]
    """The values of these, of each installed package."""
    versions: Mapping[str, str | None]
    """Of packages that were looked up by name, installed or not; ``None`` where there is none."""
    files: frozenset[str]

    def row(self, package: Package) -> tuple[object, ...] | None:
        """What ``installed`` has of a package; ``None`` if it is not installed."""
        return tuple(getattr(package, name) for name in self.attributes) if package.install else None


class _Noted:
    """A package that notes which of its attributes are read."""

    __slots__ = ("_notes", "_package", "name")

    def __init__(self, name: str, package: object, notes: set[str]) -> None:
        self.name, self._package, self._notes = name, package, notes

    def __getattr__(self, name: str) -> object:
        self._notes.add(name)
        return getattr(self._package, name)


class _Remembered:
    """A package of which only the attributes exist that were read."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> object:
        try:
            return self._values[name]
        except KeyError:
            raise UnrecordedError(name) from None


class SystemView:
    """The configuration of one system, as its parts see it."""

    def __init__(self, config: Sections, installed: Mapping[str, object], version_of: VersionOf) -> None:
        """``of`` and ``remembered`` are the ways in."""
        self.config = config
        self._version_of = version_of
        self._attributes: set[str] = set()
        self._looked_up: dict[str, str | None] = {}
        self._files: set[str] = set()
        self._installed = installed
        notes = self._attributes
        self.packages: Mapping[str, Package] = {
            name: cast("Package", _Noted(name, package, notes)) for name, package in installed.items()
        }
        """The installed ones, by name. Only what is read of them is known of a package after an edit."""

    @classmethod
    def of(cls, config: Config) -> SystemView:
        """The view of a whole configuration."""
        packages = config.packages
        installed = {name: package for name, package in packages.items() if package.install}
        return cls(config.sections(), installed, lambda name: packages[name].version if name in packages else None)

    @classmethod
    def remembered(cls, config: Sections, reads: Reads) -> SystemView:
        """The view of a configuration of whose packages that is known which was read before.

        Whatever asks for more raises ``UnrecordedError``.
        """
        installed = {
            name: _Remembered(dict(zip(reads.attributes, reads.installed[name], strict=True)))
            for name in sorted(reads.installed)
        }

        def version_of(name: str) -> str | None:
            if name not in reads.versions:
                raise UnrecordedError(name)
            return reads.versions[name]

        return cls(config, installed, version_of)

    def reads(self) -> Reads:
        """What was read until now."""
        names = tuple(sorted(self._attributes))
        rows = {name: tuple(getattr(package, key) for key in names) for name, package in self._installed.items()}
        return Reads(names, rows, dict(self._looked_up), frozenset(self._files))

    @property
    def platform(self) -> Platform:
        """What the system runs on."""
        return platform_named(self.config.arch)

    @cached_property
    def kernel(self) -> str | None:
        """The name of the package that provides the kernel, installed or not."""
        return kernel_name(self.config.system.kernel, self._version)

    @property
    def init(self) -> str:
        """Who is process 1: ``dinit`` or ``busybox``."""
        setting = self.config.system.init
        if setting == "auto":
            return "dinit" if self.installed("dinit") else "busybox"
        return setting

    def installed(self, *names: str) -> bool:
        """Whether the system has a package of one of these names, or one that unpacks a Debian package of it."""
        return not self._installed_names.isdisjoint(names)

    def read(self, file: LocalPath) -> bytes:
        """The content of a file of the user's; raises ``OSError``."""
        self._files.add(str(file.path))
        return file.path.read_bytes()

    @cached_property
    def _installed_names(self) -> frozenset[str]:
        debian = (each.partition("=")[0].partition(":")[0] for one in self.packages.values() for each in one.debian)
        return frozenset((*self.packages, *debian))

    def _version(self, name: str) -> str | None:
        version = self._looked_up[name] = self._version_of(name)
        return version
