"""Commands that have commands of their own: ``repro check``, ``derivation diff``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import ModuleType

Subcommands = Mapping[str, tuple[ModuleType, str]]
"""By name: the module, which has ``add_arguments`` and ``run``, and one line about it."""


def add_subcommands(parser: argparse.ArgumentParser, subcommands: Subcommands) -> None:
    """Declare the command lines of all."""
    commands = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
    for name, (module, summary) in subcommands.items():
        sub = commands.add_parser(
            name, help=summary, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(sub)


def run_subcommand(args: argparse.Namespace, subcommands: Subcommands) -> int:
    """Run the one that was asked for; returns its exit code."""
    code: int = subcommands[args.subcommand][0].run(args)
    return code
