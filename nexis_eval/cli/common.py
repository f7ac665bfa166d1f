"""What the commands that read a system share: their arguments, and loading it."""

from __future__ import annotations

import argparse
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.config.model import Config
    from nexis_eval.config.origin import Origins


def add_system_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the system file and what selects its variant."""
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=Path("system.toml"),
        help="the system.toml, or its directory (default: .)",
    )
    add_variant_arguments(parser)


def add_variant_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--arch``, ``--profile`` and ``--set`` alone."""
    parser.add_argument("--arch", default="x86_64", help="x86_64, aarch64 or riscv64 (default: x86_64)")
    parser.add_argument(
        "--profile", action="append", default=[], metavar="NAME", help="count the [profile.NAME] parts; may be repeated"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="set a value, stronger than every file (packages.zlib.version=1.3); may be repeated",
    )


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
