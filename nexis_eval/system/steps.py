"""Steps that run a script of ``rules/system`` with tools of the pinned toolchain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nexis_eval.graph.dag import layers
from nexis_eval.graph.derivation import Derivation, Input, Script
from nexis_eval.system.context import System
from nexis_eval.system.templates import text
from nexis_eval.toolchain import Toolchain, toolsets
from nexis_store.digest import DerivationId

BASE = ("image",)
RECENT = ("image-riscv64",)
"""Debian trixie's tools: an mke2fs that reads archives (e2fsprogs 1.47.1 or later)."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Makes the steps of one system."""

    system: System
    toolchain: Toolchain

    def step(
        self,
        name: str,
        script: str,
        inputs: Iterable[Input],
        *,
        env: Mapping[str, str] | None = None,
        tools: tuple[str, ...] = BASE,
        as_root: bool = False,
    ) -> DerivationId:
        """A derivation that runs a script of ``rules/system``; what it leaves in ``/out`` lands as it is."""
        sets = toolsets(self.system.builder, self.toolchain, tools)
        return self.system.builder.add(
            Derivation(
                name,
                Script(text(script), tuple(sorted((env or {}).items())), as_root=as_root, normalise=False),
                platform=self.system.platform.arch,
                inputs=(*inputs, *layers(sets)),
            )
        )
