"""What varying a build needs, as derivations: the preload library and a locale, made with the pinned toolchain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nexis_eval.graph.dag import DerivationGraph, GraphBuilder, layers
from nexis_eval.graph.derivation import Derivation, Entry, Files, Input, Script, Use
from nexis_eval.repro.vary import VARIED_LOCALE
from nexis_eval.toolchain import Toolchain, toolsets
from nexis_store.digest import DerivationId

SHIM_SOURCE = Path(__file__).with_name("shim") / "vary.c"
SHIM_FILE = "shim.so"

_COMPILE = f"gcc -O2 -fPIC -shared -Wall -Werror -o /out/{SHIM_FILE} /in/source/vary.c\n"
_LOCALE = "localedef -i et_EE -f UTF-8 --no-archive /out/et_EE.utf8\n"


@dataclass(frozen=True, slots=True)
class ToolGraph:
    """The graph that makes the tools, and which of its steps is which."""

    graph: DerivationGraph
    shim: DerivationId
    locale: DerivationId


def tool_graph(toolchain: Toolchain) -> ToolGraph:
    """Derivations of the preload library and of the locale that varied builds run in."""
    builder = GraphBuilder(toolchain.platform)
    source = builder.add(
        Derivation(
            "repro-source", Files((Entry("vary.c", text=SHIM_SOURCE.read_text(encoding="utf-8")),)), toolchain.platform
        )
    )
    shim = builder.add(
        Derivation(
            "repro-shim",
            Script(_COMPILE),
            toolchain.platform,
            inputs=(
                *layers(toolsets(builder, toolchain, ["c"])),
                Input(source, Use.BIND, "/in/source"),
            ),
        )
    )
    locale = builder.add(
        Derivation(
            f"repro-locale-{VARIED_LOCALE.partition('.')[0]}",
            Script(_LOCALE, normalise=False),
            toolchain.platform,
            inputs=tuple(layers(toolsets(builder, toolchain, ["locale"]))),
        )
    )
    return ToolGraph(builder.finish(), shim, locale)
