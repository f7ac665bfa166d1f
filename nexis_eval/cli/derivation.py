"""Compare two derivations: 'derivation diff A B'."""

from __future__ import annotations

import argparse

from nexis_eval.cli import derivation_diff
from nexis_eval.cli.subcommands import add_subcommands, run_subcommand

SUBCOMMANDS = {"diff": (derivation_diff, "say in which field and which input two derivations differ")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_subcommands(parser, SUBCOMMANDS)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; returns the exit code."""
    return run_subcommand(args, SUBCOMMANDS)
