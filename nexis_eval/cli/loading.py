"""Loading the configuration alone, for the commands that need no evaluation."""

from __future__ import annotations

import argparse
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.config.model import Config
    from nexis_eval.config.origin import Origins


def load_config(arguments: argparse.Namespace) -> Config:
    """The configuration that the arguments ask for; raises ``ConfigErrors``."""
    return load_config_with_origins(arguments)[0]


def load_config_with_origins(arguments: argparse.Namespace) -> tuple[Config, Origins]:
    """The same, and who set what."""
    # Imported on use: most commands recall an evaluation, and this takes longer than all of that.
    from nexis_eval.config.load import load_with_origins

    file: Path = arguments.file
    if file.is_dir() and (file / "system.toml").exists():
        file = file / "system.toml"
    return load_with_origins(file, arch=arguments.arch, profiles=arguments.profile, overrides=arguments.overrides)
