"""What the steps of a system are made with: the view of its configuration, and the graph that they are added to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nexis_eval.config.model import KeyPath, Sections
from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.graph.derivation import Derivation, Entry, Files
from nexis_eval.platforms import Platform
from nexis_eval.system.view import SystemView
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError


class MissingPackageError(NexisError):
    """A system needs a package that its configuration does not have.

    The message says which, and what asks for it. Declare the package, or drop the setting.
    """

    code = "E0408"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class System:
    """One system being put together."""

    view: SystemView
    builder: GraphBuilder

    @property
    def config(self) -> Sections:
        """The configuration without its packages."""
        return self.view.config

    @property
    def platform(self) -> Platform:
        """What the system runs on."""
        return self.view.platform

    def files(self, name: str, entries: Iterable[Entry], at: KeyPath | None = None) -> DerivationId:
        """A derivation of literal files; its name is what conflicts and explanations call it."""
        ordered = tuple(sorted(entries, key=lambda each: each.path))
        return self.builder.add(Derivation(name, Files(ordered), platform=self.platform.arch), at)
