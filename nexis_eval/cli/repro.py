"""Prove that builds are reproducible, and say where and why two of them differ.

check builds again under varied conditions; record writes down what a system was built from and what came out; diff
compares two records, artifacts, stores, images or directories; rebuild builds what a record describes.

Exit codes: 0 everything is the same; 1 something differs; 2 something could not be compared.
"""

from __future__ import annotations

import argparse

from nexis_eval.cli import repro_check, repro_diff, repro_rebuild, repro_record
from nexis_eval.cli.subcommands import add_subcommands, run_subcommand
from nexis_eval.repro.report import EXIT_INCOMPARABLE
from nexis_store.errors import NexisError

SUBCOMMANDS = {
    "check": (repro_check, "build again, everything about the machine varied, and compare"),
    "record": (repro_record, "write a record of a build: graph, build keys, tree digests, environment"),
    "diff": (repro_diff, "compare two records, artifacts, stores, images, directories"),
    "rebuild": (repro_rebuild, "build again what a record describes, and compare"),
}
COMPARING = ("check", "diff", "rebuild")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_subcommands(parser, SUBCOMMANDS)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; returns the exit code."""
    try:
        return run_subcommand(args, SUBCOMMANDS)
    except NexisError as error:
        if args.subcommand in COMPARING:
            # Whatever kept us from comparing must not be taken for a difference, which is 1 like a failed build.
            vars(error)["exit_code"] = EXIT_INCOMPARABLE
        raise
