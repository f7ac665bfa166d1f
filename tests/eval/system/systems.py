"""Systems made of typed values, and a look at the files that their parts consist of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nexis_eval.config.model import Config, Package
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.assemble import contributions, system_layers
from nexis_eval.system.contribution import Contribution
from nexis_eval.system.view import SystemView


def make_system(arch: str = "x86_64", **sections: Any) -> SystemView:
    """The view of a system with the given sections of ``Config``."""
    config = Config(file=Path("system.toml"), files=(), arch=arch)
    return SystemView.of(dataclasses.replace(config, **sections))


def assembled(view: SystemView, part: str) -> list[Entry]:
    """The files of a part of a system, with what the other parts contribute to it."""
    found = [each for each in system_layers(view, contributions(view)) if each.name == f"system-{part}"]
    return [entry for layer in found for entry in layer.entries]


def files_of(part: Contribution | Iterable[Entry]) -> Mapping[str, Entry]:
    """The files of a part by path."""
    entries = part.files if isinstance(part, Contribution) else part
    return {entry.path: entry for entry in entries}


def text_of(part: Contribution | Iterable[Entry], path: str) -> str:
    """The text of one file of a part."""
    text = files_of(part)[path].text
    assert text is not None
    return text


def packages(*names: str) -> dict[str, Package]:
    """Packages that are nothing but a name."""
    return {name: Package(name) for name in names}
