"""Print totals of the store: artifacts, roots, builds, and how much disk space sharing saves."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from nexis_store.cli.common import human_size, open_store, print_json
from nexis_store.queries import statistics

EXAMPLES = """\
examples:
  nexis-store stats
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes: nothing but what all take."""


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        found = statistics(store)
    if args.json:
        print_json(asdict(found))
        return 0
    saved = 1 - found.stored / found.apparent if found.apparent else 0.0
    print(f"artifacts     {found.artifacts} ({found.dead} of them kept by no root or artifact)")
    print(f"roots         {found.roots}")
    print(f"realisations  {found.realisations}")
    print(f"contents      {human_size(found.apparent)}")
    # Whole blocks may take more than the contents.
    print(f"on disk       {human_size(found.stored)}" + (f" ({saved:.0%} saved by sharing)" if saved > 0.005 else ""))
    print(f"database      {found.backend}")
    return 0
