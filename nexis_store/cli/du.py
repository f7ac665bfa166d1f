"""Show what artifacts take on the disk: alone, and shared with others by hard links or reflinks."""

from __future__ import annotations

import argparse

from nexis_store.cli.common import human_size, open_store, print_json
from nexis_store.queries import usage

EXAMPLES = """\
examples:
  nexis-store du
  nexis-store du --closure desktop
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", nargs="*", metavar="ARTIFACT", help="default: all")
    parser.add_argument("--closure", action="store_true", help="with all they refer to")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        digests = [store.find(each) for each in args.artifact] or [each.digest for each in store.artifacts()]
        if args.closure:
            digests = store.closure(digests)
        found = sorted((usage(store, each) for each in digests), key=lambda each: -each.exclusive)
    if args.json:
        print_json(
            [
                {
                    "digest": str(each.digest),
                    "name": each.name,
                    "apparent_bytes": each.apparent,
                    "exclusive_bytes": each.exclusive,
                    "shared_bytes": each.shared,
                }
                for each in found
            ]
        )
        return 0
    print(f"{'exclusive':>10}  {'shared':>10}  {'contents':>10}")
    for each in found:
        sizes = "  ".join(f"{human_size(size):>10}" for size in (each.exclusive, each.shared, each.apparent))
        print(f"{sizes}  {each.name}")
    return 0
