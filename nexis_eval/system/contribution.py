"""What one section of the configuration gives to a system: data, which the assemblers put together with all others'."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from nexis_eval.config.model import KeyPath, Service, User
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.view import SystemView
from nexis_store.errors import NexisError, Place


@dataclass(frozen=True, slots=True)
class Layer:
    """Files that are one derivation, whose name is what conflicts and explanations call it."""

    name: str
    entries: tuple[Entry, ...]
    at: KeyPath | None = None
    """The key that asked for it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A script of ``rules/system`` that makes files out of databases."""

    name: str
    script: str
    env: tuple[tuple[str, str], ...]
    tools: tuple[str, ...]
    """Tool sets of the pinned toolchain."""


@dataclass(frozen=True, slots=True)
class Need:
    """A package that the system must have."""

    packages: tuple[str, ...]
    """Names, any of which does; the first is the one to propose."""
    why: str
    """What the package does, after "which"."""
    hint: str
    place: Place | None
    by_name: bool = False
    """Whether it must be a package of that very name, and not one that unpacks a Debian package of it."""

    def met(self, view: SystemView) -> bool:
        """Whether a system has it."""
        if self.by_name:
            return not view.packages.keys().isdisjoint(self.packages)
        return view.installed(*self.packages)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that the configuration names by its path."""

    path: str
    key: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of fstab(5)."""

    source: str
    path: str
    type: str
    options: str = "defaults"


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that exists at every start."""

    path: str
    mode: str = "0755"
    """``-`` leaves a directory that exists as it is."""
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """All that one section gives. Every field is a tuple, so that those of all sections can be added up."""

    files: tuple[Entry, ...] = ()
    """They become one derivation, named after the part."""
    layers: tuple[Layer, ...] = ()
    """Files that are derivations of their own."""
    steps: tuple[Step, ...] = ()
    services: tuple[Service, ...] = ()
    """A service of the configuration replaces one of the same name; what one depends on may be missing."""
    required_modules: tuple[str, ...] = ()
    """Kernel modules without which there is no system."""
    optional_modules: tuple[str, ...] = ()
    """Kernel modules for the root file system, if the kernel has them."""
    early_modules: tuple[str, ...] = ()
    """Kernel modules for initramfs and root file system, if the kernel has them."""
    needs: tuple[Need, ...] = ()
    programs: tuple[Program, ...] = ()
    mounts: tuple[Mount, ...] = ()
    accounts: tuple[User, ...] = ()
    """A user of the configuration replaces one of the same name."""
    groups: tuple[str, ...] = ()
    """Groups that must exist."""
    directories: tuple[Directory, ...] = ()
    shells: tuple[str, ...] = ()
    errors: tuple[NexisError, ...] = ()
    """What is wrong, beside what is contributed."""


def combined(contributions: Iterable[Contribution]) -> Contribution:
    """All contributions as one, in their order."""
    everything = list(contributions)
    return Contribution(
        **{each.name: sum((getattr(one, each.name) for one in everything), ()) for each in fields(Contribution)}
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the configuration, or a few that belong together."""

    name: str
    """Its files are the derivation ``system-NAME``."""
    contribute: Callable[[SystemView], Contribution]
    assemble: Callable[[SystemView, Contribution], Iterable[Entry]] | None = None
    """The files that consist of what all parts contribute."""
