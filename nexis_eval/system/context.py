"""What every part of the system is made with: the configuration, the platform, and how a part becomes a derivation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nexis_eval.config.model import Config
from nexis_eval.derivation import Derivation, Entry, Files
from nexis_eval.graph import GraphBuilder
from nexis_eval.platforms import Platform
from nexis_store.digest import DerivationId


@dataclass(frozen=True, slots=True)
class System:
    """One system being put together."""

    config: Config
    platform: Platform
    builder: GraphBuilder

    def files(self, name: str, entries: Iterable[Entry]) -> DerivationId:
        """A part that consists of literal files; its name is what conflicts and explanations call it."""
        return self.builder.add(
            Derivation(name, Files(tuple(sorted(entries, key=lambda each: each.path))), platform=self.platform.arch)
        )
