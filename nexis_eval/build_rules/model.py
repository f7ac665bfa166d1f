"""What a rule is: how one build system is driven, and which options it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

TABLE_VALUES = ("string", "integer")
"""What the values of a table are, where its option does not say it."""


class Role(StrEnum):
    """What the engine needs a rule for where no package names one."""

    DEFAULT = "default"
    """For a package that has a source and no ``build_system``."""
    PREBUILT = "prebuilt"
    """For the archive of ``prebuilt``."""
    KERNEL = "kernel"
    """For ``[system] kernel_source``."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option that a rule accepts in ``options``."""

    name: str
    type: str
    doc: str
    default: Any = None
    choices: tuple[str, ...] = ()
    required: bool = False
    values: tuple[str, ...] = TABLE_VALUES
    """The types of the values of a table."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One build system: a file of a directory of rules with all that it extends worked in."""

    name: str
    summary: str
    doc: str = ""
    extends: str | None = None
    abstract: bool = False
    """Only there to be extended."""
    toolsets: tuple[str, ...] = ()
    cross: bool | str | Mapping[str, str] = True
    """Whether it can build for another architecture; a string is the reason why not, a table the reason for each."""
    cross_toolsets: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    cross_env: Mapping[str, str] = field(default_factory=dict)
    prelude: str = ""
    """Shell text ahead of all phases."""
    order: tuple[str, ...] = ()
    phases: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[Role, ...] = ()
    files: tuple[str, ...] = ()
    """Its own file, the last, and those of what it extends."""

    def obstacle(self, arch: str) -> str | None:
        """Why it cannot build for ``arch`` on another architecture; ``None`` where it can."""
        reason = self.cross.get(arch, True) if isinstance(self.cross, Mapping) else self.cross
        return None if reason is True else reason or "it cannot do that"
