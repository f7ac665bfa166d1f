"""What every part of the system is made with: the configuration, the platform, and how a part becomes a derivation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nexis_eval.config.model import Config, KeyPath
from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.graph.derivation import Derivation, Entry, Files
from nexis_eval.platforms import Platform
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError


class MissingPackageError(NexisError):
    """A system needs a package that its configuration does not have.

    The message says which, and what asks for it. Declare the package, or drop the setting.
    """

    code = "E0408"
    exit_code = 2


def installed(config: Config, *names: str) -> bool:
    """Whether a system has a package of one of these names, or one that unpacks a Debian package of it."""
    for package in config.packages.values():
        debian = (each.partition("=")[0].partition(":")[0] for each in package.debian)
        if package.install and (package.name in names or any(each in names for each in debian)):
            return True
    return False


@dataclass(frozen=True, slots=True)
class System:
    """One system being put together."""

    config: Config
    platform: Platform
    builder: GraphBuilder
    entries: dict[DerivationId, tuple[Entry, ...]] = field(default_factory=dict)
    """What the parts that consist of literal files have in them."""

    def installed(self, *names: str) -> bool:
        """Whether the system has a package of one of these names, or one that unpacks a Debian package of it."""
        return installed(self.config, *names)

    @property
    def init(self) -> str:
        """Who is process 1: ``dinit`` or ``busybox``."""
        wanted = self.config.system.init
        if wanted == "auto":
            return "dinit" if self.installed("dinit") else "busybox"
        return wanted

    def files(self, name: str, entries: Iterable[Entry], at: KeyPath | None = None) -> DerivationId:
        """A part that consists of literal files; its name is what conflicts and explanations call it."""
        ordered = tuple(sorted(entries, key=lambda each: each.path))
        part = self.builder.add(Derivation(name, Files(ordered), platform=self.platform.arch), at)
        self.entries[part] = ordered
        return part
