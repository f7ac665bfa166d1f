"""Systems made of typed values, and a look at the files that their parts consist of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexis_eval.config.model import Config, Package
from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.graph.derivation import Entry, Files
from nexis_eval.platforms import platform_named
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId


def make_system(arch: str = "x86_64", **sections: Any) -> System:
    """A system with the given sections of ``Config``."""
    config = Config(file=Path("system.toml"), files=(), arch=arch)
    return System(dataclasses.replace(config, **sections), platform_named(arch), GraphBuilder())


def files_of(system: System, part: DerivationId | None) -> Mapping[str, Entry]:
    """The entries of a part by path."""
    assert part is not None
    builder = system.builder[part].builder
    assert isinstance(builder, Files)
    return {entry.path: entry for entry in builder.entries}


def text_of(system: System, part: DerivationId | None, path: str) -> str:
    """The text of one file of a part."""
    text = files_of(system, part)[path].text
    assert text is not None
    return text


def packages(*names: str) -> dict[str, Package]:
    """Packages that are nothing but a name."""
    return {name: Package(name) for name in names}
