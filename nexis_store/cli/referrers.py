"""List which artifacts refer to an artifact directly."""

from __future__ import annotations

import argparse

from nexis_store.cli.common import open_store, print_artifacts

EXAMPLES = """\
examples:
  nexis-store referrers zlib-1.3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", metavar="ARTIFACT")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        digest = store.find(args.artifact)
        print_artifacts(store, store.referrers(digest), args.json)
    return 0
