"""Compare two derivations: 'derivation diff A B'."""

from __future__ import annotations

import argparse

from nexis_eval.cli import derivation_diff

SUBCOMMANDS = {"diff": (derivation_diff, "say in which field and which input two derivations differ")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    commands = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
    for name, (module, summary) in SUBCOMMANDS.items():
        sub = commands.add_parser(
            name, help=summary, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(sub)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; returns the exit code."""
    code: int = SUBCOMMANDS[args.subcommand][0].run(args)
    return code
