"""Which tool sets the image steps see, and how such a step is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nexis_eval.derivation import Derivation, Input, Script
from nexis_eval.graph import layers
from nexis_eval.system.context import System
from nexis_eval.toolchain import Toolchain, toolsets
from nexis_store.digest import DerivationId

BUILD_PLATFORM = "x86_64"

PROLOGUE = """\
set -euo pipefail
trap 'echo "nexis: failed: $BASH_COMMAND" >&2' ERR
"""

TOOLSETS = {"x86_64": ("image",), "aarch64": ("image-aarch64", "image"), "riscv64": ("grub-riscv64", "image-riscv64")}
"""The image tools by target; riscv64 needs a GRUB that only trixie has, and so trixie's root as a whole."""


@dataclass(frozen=True, slots=True)
class ImageTools:
    """Makes image steps of one system."""

    system: System
    toolchain: Toolchain

    def step(
        self, name: str, script: str, inputs: Iterable[Input], *, outputs: tuple[str, ...] = ("out",)
    ) -> DerivationId:
        """A derivation that runs ``script`` with the image tools and lands what it leaves in ``/out`` as it is."""
        platform = self.system.platform.arch
        tools = toolsets(self.system.builder, self.toolchain, TOOLSETS[platform], BUILD_PLATFORM)
        return self.system.builder.add(
            Derivation(
                name,
                Script(PROLOGUE + script, as_root=True, normalise=False),
                platform=platform,
                inputs=(*inputs, *layers(tools)),
                outputs=outputs,
            )
        )
