"""List artifacts and everything they refer to, nearest first."""

from __future__ import annotations

import argparse

from nexis_store.cli.common import open_store, print_artifacts

EXAMPLES = """\
examples:
  nexis-store closure desktop
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", nargs="+", metavar="ARTIFACT")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        print_artifacts(store, store.closure(store.find(each) for each in args.artifact), args.json)
    return 0
