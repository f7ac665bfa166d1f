"""Puts a system's parts together without building anything, and looks at their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexis_eval.config.model import Config
from nexis_eval.derivation import Entry, Files
from nexis_eval.graph import GraphBuilder
from nexis_eval.platforms import platform_named
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

FILE = Path("system.toml")


def configured(arch: str = "x86_64", **sections: Any) -> Config:
    """A configuration with just these sections."""
    return Config(file=FILE, files=(FILE,), arch=arch, **sections)


def system_of(config: Config) -> System:
    """``config`` about to be put together, with a builder of its own."""
    return System(config, platform_named(config.arch), GraphBuilder())


def entries_of(system: System, part: DerivationId | None) -> Mapping[str, Entry]:
    """The entries of a part by path."""
    assert part is not None
    builder = system.builder.finish().derivations[part].builder
    assert isinstance(builder, Files)
    return {entry.path: entry for entry in builder.entries}


def text_of(entries: Mapping[str, Entry], path: str) -> str:
    """The text of one file."""
    text = entries[path].text
    assert text is not None
    return text
