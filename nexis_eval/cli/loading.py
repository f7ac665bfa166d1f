"""Loading the configuration alone, for the commands that need no evaluation."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.config.model import Config
    from nexis_eval.config.origin import Origins


def load_config_with_origins(arguments: argparse.Namespace) -> tuple[Config, Origins]:
    """The configuration that the arguments ask for, and who set what; raises ``ConfigErrors``."""
    # Imported on use: most commands recall an evaluation, and this takes longer than all of that.
    from nexis_eval.config.load import load_with_origins

    return load_with_origins(
        arguments.file, arch=arguments.arch, profiles=arguments.profile, overrides=arguments.overrides
    )
